// An admin: from the sum of all to one request, filters that agree with the API, budgets, grants,
// the configuration and back.
import { ADMIN, check, equal, figure, journey, json, open } from "./browser.mjs";

const number = (text) => Number(text.replace(/[^0-9.]/g, ""));

await journey(async (context) => {
  const page = await open(context, [/status of 400/]);

  // Browsers are led to the pages; programs get their greeting.
  await page.goto(ADMIN + "/");
  equal(new URL(page.url()).pathname, "/ui/", "a browser at /");
  check((await (await fetch(ADMIN + "/")).text()).startsWith("Iris"), "a program at / gets text");

  // All that comes over the wire for a page, and for the next one: the files are kept, so that it
  // paints with what its own answer brings.
  const weight = () => page.evaluate(() => {
    const all = performance.getEntriesByType("navigation").concat(performance.getEntriesByType("resource"));
    return all.map((one) => [new URL(one.name).pathname, one.transferSize]);
  });
  for (const path of ["/ui/chat", "/ui/config", "/ui/overview"]) {
    await page.goto(ADMIN + path, { waitUntil: "networkidle" });
    const bytes = (await weight()).reduce((sum, [, size]) => sum + size, 0);
    check(bytes > 0 && bytes < 150 << 10, `${path}: ${bytes} bytes over the wire`);
  }
  await page.goto(`${ADMIN}/ui/users`);
  const again = (await weight()).filter(([path, size]) => path.startsWith("/ui/assets/") && size > 0);
  equal(again.length, 0, `files that are asked for again: ${again}`);

  // The figures of the overview are those of the API, with and without filters.
  const from = (days) => new Date(Math.floor(Date.now() / 864e5 - days + 1) * 864e5).toISOString();
  for (const filters of [{}, { agent: "claude-code" }, { model: "qwen3-coder", status: "200" }, { login: "ada@example.com", outcome: "failed" }, { header: "x-team:red" }]) {
    const query = new URLSearchParams(filters);
    await page.goto(`${ADMIN}/ui/overview?days=7&column=requests&column=input&column=output&${query}`);
    const api = await json(`${ADMIN}/api/usage?by=login&from=${from(7)}&${query}`);
    const what = `overview of ${query || "all"}`;
    equal(await figure(page, "Requests"), api.totals.requests, `${what}: requests`);
    equal(await figure(page, "Errors"), api.totals.errors, `${what}: errors`);
    const rows = await page.locator("main > .table tbody tr").evaluateAll((rows) =>
      rows.map((row) => [row.children[0].innerText.trim(), row.children[1].innerText, row.children[2].innerText, row.children[3].innerText]));
    equal(rows.length, api.rows.length, `${what}: rows`);
    for (const [login, requests, input, output] of rows) {
      const row = api.rows.find((one) => one.login === login);
      check(row, `${what}: ${login} is in the API's answer`);
      equal(number(requests), row?.requests, `${what}: requests of ${login}`);
      equal(number(input), row?.input_tokens, `${what}: input of ${login}`);
      equal(number(output), row?.output_tokens, `${what}: output of ${login}`);
    }
    const [charted] = await page.locator(".chart svg").evaluateAll((all) => all.map((svg) => svg.getAttribute("aria-label")));
    check(api.totals.requests === 0 || charted?.includes("Tokens"), `${what}: the chart has a text`);
  }

  // The filter form does what its address says.
  await page.goto(`${ADMIN}/ui/overview`);
  await page.getByText("Filter", { exact: true }).click();
  await page.getByLabel("Agent").selectOption("codex");
  await page.getByRole("button", { name: "Apply" }).click();
  equal(new URL(page.url()).searchParams.get("agent"), "codex", "the form sets the filter");
  await page.getByRole("link", { name: "Remove the filter Agent codex" }).click();
  equal(new URL(page.url()).searchParams.get("agent"), null, "the chip takes it away");

  // Columns are chosen, and stay chosen when the table is sorted by one.
  await page.getByText("Columns", { exact: true }).click();
  for (const box of await page.locator("details.select input[type=checkbox]").all()) await box.uncheck();
  await page.getByLabel("Output", { exact: true }).check();
  await page.getByLabel("Errors", { exact: true }).check();
  await page.getByRole("button", { name: "Show" }).click();
  const heads = async () => (await page.locator("main > .table thead th").allInnerTexts()).join(", ");
  equal(await heads(), "User, Output, Errors", "the columns");
  await page.getByRole("link", { name: "Errors", exact: true }).click();
  equal(await heads(), "User, Output, Errors", "the columns of the sorted table");

  // Down to one request.
  await page.goto(`${ADMIN}/ui/overview`);
  await page.getByRole("link", { name: "ada@example.com" }).click();
  equal(await page.locator("h1").textContent(), "ada@example.com", "the page of a user");
  await page.locator("table", { hasText: "Last request" }).locator("tbody th a").first().click();
  equal(await page.locator("h1").textContent(), "Session", "the page of a session");
  await page.locator("tbody th a").first().click();
  equal(await page.locator("h1").textContent(), "Request", "the page of a request");
  const id = new URL(page.url()).pathname.split("/").pop();
  const record = await json(`${ADMIN}/api/requests/${id}`);
  for (const reason of record.reasons) check(await page.getByText(reason).count(), `the story has ${reason}`);
  const audited = async () => (await json(`${ADMIN}/api/audit?kind=capture_read`)).audit.filter((row) => row.subject === id).length;
  equal(await audited(), 0, "the story reads nothing that was said");
  await page.getByRole("link", { name: "Conversation" }).click();
  check(await page.locator(".turn.answer").count(), "the conversation has an answer");
  equal(await audited(), 1, "what an admin reads of another is noted");
  await page.getByRole("link", { name: "Request", exact: true }).click();
  check(await page.locator("pre.json .k").count(), "the body is told apart");
  await page.goto(`${ADMIN}/ui/audit`);
  check(await page.getByText(id).count(), "the audit log has it");

  // CSV.
  await page.goto(`${ADMIN}/ui/overview`);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download as CSV" }).click()]);
  equal(download.suggestedFilename(), "usage.csv", "the CSV");

  // A budget is refilled. It is full already, and stays so.
  await page.goto(`${ADMIN}/ui/budgets`);
  await page.getByLabel("Amount for monthly").fill("nonsense");
  await page.locator("[data-refill=monthly] button").click();
  await page.locator("td .bad", { hasText: "for this bucket, which holds up to" }).waitFor();
});
