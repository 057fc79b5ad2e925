// Pages that follow what happens: new records come by themselves, and take nothing out of the hands
// of who reads.
import { ADMIN, USER, check, equal, figure, journey, open } from "./browser.mjs";

async function ask(gateway) {
  const answer = await fetch(`${gateway}/v1/chat/completions`, {
    method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "demo", messages: [{ role: "user", content: "hello" }] }),
  });
  await answer.text();
}

await journey(async (context) => {
  const page = await open(context);
  const heard = page.waitForRequest(`${USER}/api/events`);
  await page.goto(`${USER}/ui/`);
  await heard;
  await page.evaluate(() => { window.mark = "this page"; });
  const before = await figure(page, "Requests");
  await ask(USER);
  await page.waitForFunction((before) => {
    const card = [...document.querySelectorAll(".card")].find((one) => one.querySelector("dt").textContent === "Requests");
    return Number(card.querySelector(".figure").textContent.replace(/[^0-9.]/g, "")) > before;
  }, before);
  equal(await page.evaluate(() => window.mark), "this page", "it was not loaded anew");
  check(await page.locator("main svg").count(), "charts are there");

  // The visitor is choosing a filter.
  await page.goto(`${USER}/ui/requests`);
  const newest = () => document.querySelector("main tbody a").href;
  const rows = await page.evaluate(newest);
  await page.locator("details.filter summary").click();
  await ask(USER);
  await page.getByRole("button", { name: "Show what is new" }).waitFor();
  equal(await page.evaluate(newest), rows, "nothing was replaced");
  check(await page.locator("details.filter").evaluate((details) => details.open), "the filter stays open");
  await page.getByRole("button", { name: "Show what is new" }).click();
  await page.waitForFunction((rows) => document.querySelector("main tbody a").href !== rows, rows);

  // Requests of other users are not announced.
  await page.goto(`${USER}/ui/`);
  let asked = 0;
  page.on("request", (request) => { if (request.url() === `${USER}/ui/`) asked += 1; });
  await ask(ADMIN);
  await page.waitForTimeout(5000);
  equal(asked, 0, "pages asked for");
});
