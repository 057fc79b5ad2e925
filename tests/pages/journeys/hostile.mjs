// What others wrote stays text on every page that shows it.
import { ADMIN, PLANTED, check, equal, journey, json, open } from "./browser.mjs";

const { requests } = await json(`${ADMIN}/api/requests?limit=1000`);
const evil = requests.find((request) => request.session === PLANTED);
const session = new URLSearchParams({ login: evil.login, session: evil.session });
const filter = new URLSearchParams({ model: PLANTED, agent: PLANTED, provider: PLANTED, header: `x-team:${PLANTED}` });
const PAGES = [
  "/ui/", "/ui/overview", "/ui/overview?by=model", "/ui/overview?by=agent", "/ui/overview?by=provider",
  `/ui/overview?${filter}`, "/ui/sessions", `/ui/sessions/one?${session}`, "/ui/requests", `/ui/requests?${filter}`,
  ...["story", "conversation", "request", "response", "raw"].map((view) => `/ui/requests/${evil.id}?view=${view}`),
  "/ui/tools", "/ui/agents", "/ui/providers", `/ui/users/${encodeURIComponent(PLANTED)}`,
  `/ui/requests/${encodeURIComponent(PLANTED)}`, `/ui/${encodeURIComponent(PLANTED)}`,
  `/ui/grants?login=${encodeURIComponent(PLANTED)}&model=${encodeURIComponent(PLANTED)}&api=openai_chat`,
  `/ui/audit?actor=${encodeURIComponent(PLANTED)}`, `/ui/setup?for=${encodeURIComponent(PLANTED)}`,
  `/ui/models?q=${encodeURIComponent(PLANTED)}`, `/ui/chat?model=${encodeURIComponent(PLANTED)}`,
];

await journey(async (context) => {
  const page = await open(context, [/status of 404/]);
  const foreign = [];
  page.on("request", (request) => { if (!request.url().startsWith(ADMIN)) foreign.push(request.url()); });
  let seen = 0;
  for (const path of PAGES) {
    await page.goto(ADMIN + path, { waitUntil: "networkidle" });
    equal(await page.evaluate(() => window.planted), undefined, `${path}: what was planted ran`);
    const made = await page.evaluate(() => [...document.querySelectorAll("script, img, [onerror], [onload]")]
      .filter((one) => !one.src?.includes("/ui/assets/")).map((one) => one.outerHTML));
    equal(made.length, 0, `${path}: elements that nobody made: ${made}`);
    // Shown, or the page would prove nothing.
    if ((await page.evaluate(() => document.body.innerText)).includes("<script>window.planted=1</script>")) seen += 1;
  }
  check(seen >= 16, `what was planted is shown as text on ${seen} pages only`);
  equal(foreign.length, 0, `requests to others: ${foreign}`);

  // The palette as well.
  await page.goto(`${ADMIN}/ui/`);
  await page.keyboard.press("Control+k");
  await page.keyboard.type("planted");
  await page.locator("dialog").getByRole("option", { name: /planted/ }).first().waitFor();
  equal(await page.evaluate(() => window.planted), undefined, "the palette: what was planted ran");
});
