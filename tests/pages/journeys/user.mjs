// A user: their own and nobody else's, set-up, and the command palette by keyboard alone.
import { ADMIN, USER, check, equal, figure, journey, json, open } from "./browser.mjs";

await journey(async (context) => {
  const page = await open(context, [/status of 40[34]/]);
  await page.goto(`${USER}/ui/`);
  equal(await page.locator("h1").textContent(), "My usage", "the first page");
  const names = await page.locator("nav.menu li a").allTextContents();
  equal(names.join(", "), "My usage, Chat, Models, Set up, Sessions, Requests, Budgets", "the menu of a user");
  check(!(await page.content()).includes("ada@example.com"), "another user is on the page");

  // Not even by their address.
  for (const path of ["/ui/overview", "/ui/users", "/ui/users/ada%40example.com", "/ui/config", "/ui/config/history", "/ui/audit", "/ui/grants?login=x&model=y", "/ui/providers", "/ui/connection", "/ui/exports", "/ui/tools", "/ui/agents", "/ui/api"]) {
    const answer = await page.goto(USER + path);
    equal(answer.status(), 403, path);
    check(!(await page.content()).includes("ada@example.com") || path.includes("ada"), `${path} tells of others`);
  }
  const { requests: [theirs] } = await json(`${ADMIN}/api/requests?login=ada%40example.com&limit=1`);
  const session = new URLSearchParams({ login: theirs.login, session: theirs.session });
  for (const path of ["/ui/requests?login=ada%40example.com", "/ui/sessions?login=ada%40example.com", "/ui/?login=ada%40example.com", `/ui/sessions/one?${session}`, `/ui/requests/${theirs.id}?view=request`]) {
    await page.goto(USER + path);
    const links = await page.locator("main a").evaluateAll((all) => all.map((link) => link.href));
    check(!links.some((link) => link.includes("ada%40")), `${path} leads to another's`);
    check(!(await page.locator("main").innerText()).includes(theirs.node_name), `${path} tells of another's device`);
  }
  const own = await json(`${USER}/api/usage`);
  await page.goto(`${USER}/ui/`);
  equal(await figure(page, "Requests"), own.totals.requests, "own requests");

  // Set-up: the settings name this gateway, are copied, and the first request is seen.
  await page.goto(`${USER}/ui/setup?for=curl`);
  const text = await page.locator(".code pre").last().textContent();
  check(text.includes(USER), "the settings have the gateway's name");
  await page.getByRole("button", { name: /Copy/ }).last().click();
  await page.getByRole("button", { name: /Copied|Press Ctrl C/ }).waitFor();
  check(await page.getByText("Waiting for your first request").count(), "it waits for a request");
  await fetch(`${USER}/v1/chat/completions`, {
    method: "POST", headers: { "content-type": "application/json", "user-agent": "curl/8.5" },
    body: JSON.stringify({ model: "demo", messages: [{ role: "user", content: "hello" }] }),
  });
  await page.getByText("It works").waitFor({ timeout: 10000 });

  // The palette, by keyboard.
  await page.goto(`${USER}/ui/`);
  await page.keyboard.press("Control+k");
  await page.keyboard.type("qwen");
  await page.getByRole("option", { name: /lab\/qwen3-coder/ }).waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL(/model=qwen3-coder/);
  await page.keyboard.press("Control+k");
  await page.keyboard.type("set up");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/ui\/setup/);
  await page.keyboard.press("Control+k");
  await page.keyboard.press("Escape");
  equal(await page.locator("dialog[open]").count(), 0, "Escape closes the palette");

  // The first thing that the keyboard reaches leads to the content.
  await page.goto(`${USER}/ui/`);
  await page.keyboard.press("Tab");
  equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content", "the first stop");
  await page.keyboard.press("Enter");
  equal(await page.evaluate(() => document.activeElement.id), "main", "it leads to the content");

  // The theme stays.
  await page.getByRole("button", { name: /^Theme/ }).click();
  await page.getByRole("button", { name: "Theme: light" }).click();
  await page.reload();
  equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark", "the theme after a reload");
});
