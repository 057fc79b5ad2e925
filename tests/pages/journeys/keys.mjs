// Pages for those who have no mouse, no scripts, no wish for motion, or a printer.
import { ADMIN, USER, check, equal, fail, journey, json, open } from "./browser.mjs";
import { chromium } from "playwright-core";

const { requests: [request] } = await json(`${ADMIN}/api/requests?provider=anthropic&limit=1`);
const PAGES = [
  [USER, "/ui/"], [USER, "/ui/chat"], [USER, "/ui/models"], [USER, "/ui/setup"], [USER, "/ui/requests"],
  [ADMIN, "/ui/overview?days=7"], [ADMIN, `/ui/requests/${request.id}`], [ADMIN, "/ui/config"], [ADMIN, "/ui/budgets"],
  [ADMIN, "/ui/grants"], [ADMIN, "/ui/audit"],
];

/** What can be operated and is to be seen, marked; returns how much that is. */
const mark = () => {
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")];
  const reachable = all.filter((one) => one.checkVisibility({ visibilityProperty: true })
    && !one.disabled && one.tabIndex >= 0 && one.type !== "hidden");
  reachable.forEach((one) => one.setAttribute("data-to-reach", ""));
  return reachable.length;
};

/** What has the focus: which it is, and whether one sees that it has. */
const focused = () => {
  const one = document.activeElement;
  one.removeAttribute("data-to-reach");
  const style = getComputedStyle(one);
  const around = one.closest(":focus-within:not(:focus)") && getComputedStyle(one.parentElement);
  const box = one.getBoundingClientRect();
  const ring = (style) => style && ((style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1));
  const framed = [...(function* up(node) { for (let at = node.parentElement; at; at = at.parentElement) yield at; })(one)]
    .some((at) => at.matches(".composer, .edit"));
  return {
    what: `${one.tagName} ${(one.textContent || one.name || one.id).trim().slice(0, 30)}`,
    isBody: one === document.body,
    seen: box.width > 0 && box.height > 0 && (ring(style) || ring(around) || framed),
  };
};

await journey(async (context) => {
  const page = await open(context);
  for (const [origin, path] of PAGES) {
    await page.goto(origin + path, { waitUntil: "networkidle" });
    await page.evaluate(() => document.activeElement.blur());
    const count = await page.evaluate(mark);
    // Once around: a page may have put the focus somewhere.
    let ends = 0;
    for (let nth = 0; nth < 2 * count + 40 && ends < 2; nth += 1) {
      await page.keyboard.press("Tab");
      const { what, isBody, seen } = await page.evaluate(focused);
      if (isBody) ends += 1;
      else check(seen, `${path}: one does not see that ${what} has the focus`);
    }
    const missed = await page.evaluate(() => [...document.querySelectorAll("[data-to-reach]")].map((one) => one.outerHTML.slice(0, 120)));
    equal(missed.length, 0, `${path}: the keyboard does not reach ${missed}`);
  }

  // The palette takes the focus and gives it back.
  await page.goto(`${USER}/ui/`);
  const link = page.locator("nav.menu").getByRole("link", { name: "Models", exact: true });
  await link.focus();
  await page.keyboard.press("Control+k");
  check(await page.evaluate(() => document.activeElement.closest("dialog")), "the palette has the focus");
  await page.keyboard.press("Tab");
  check(await page.evaluate(() => document.activeElement.closest("dialog") || document.activeElement === document.body), "the focus stays in the palette");
  await page.keyboard.press("Escape");
  check(await link.evaluate((one) => document.activeElement === one), "the focus is where it was");

  // Nothing moves for those who want that.
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.goto(`${ADMIN}/ui/overview`);
  const moving = await page.evaluate(() => [...document.querySelectorAll("*")].filter((one) => {
    const { transitionDuration, animationName } = getComputedStyle(one);
    return animationName !== "none" || transitionDuration.split(",").some((time) => parseFloat(time) > 0);
  }).length);
  equal(moving, 0, "elements that move all the same");

  // Paper has the figures and not the menu.
  await page.emulateMedia({ media: "print" });
  check(!(await page.locator("nav.menu").isVisible()), "no menu on paper");
  check(await page.locator("main > .table table").isVisible(), "the figures on paper");
  await page.emulateMedia({ media: null, reducedMotion: null });

  // Without scripts, everything that is read is there, and filters work.
  const browser = await chromium.launch({ executablePath: process.env.BROWSER, args: ["--no-sandbox", "--disable-gpu"] });
  const plain = await browser.newContext({ javaScriptEnabled: false, viewport: { width: 390, height: 800 } });
  const quiet = await plain.newPage();
  quiet.on("console", (message) => { if (message.type() === "error") fail(`without scripts: ${message.text()}`); });
  await quiet.goto(`${ADMIN}/ui/overview`);
  check(await quiet.locator(".chart svg rect").count(), "the chart without scripts");
  await quiet.getByText("Filter", { exact: true }).click();
  await quiet.getByLabel("Agent").selectOption("codex");
  await quiet.getByRole("button", { name: "Apply" }).click();
  equal(new URL(quiet.url()).searchParams.get("agent"), "codex", "the filter without scripts");
  await quiet.getByRole("link", { name: "Menu" }).click();
  await quiet.getByRole("link", { name: "Set up", exact: true }).click();
  check((await quiet.locator(".code pre").first().textContent()).includes(ADMIN), "the settings without scripts");
  await quiet.goto(`${ADMIN}/ui/requests/${request.id}?view=conversation`);
  check(await quiet.locator(".turn.answer").count(), "the conversation without scripts");
  await quiet.goto(`${ADMIN}/ui/chat`);
  check(/JavaScript/i.test(await quiet.locator("main").innerText()), "the chat says what it needs");
  await browser.close();
});
