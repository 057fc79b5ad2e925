// Two people on a tailnet, each on a node of their own, at http://ai: nothing but the network says
// who they are. USER_PROXY and ADMIN_PROXY lead through their nodes.
import { check, equal, figure, journey, open, picture } from "./browser.mjs";

const GATEWAY = process.env.GATEWAY;
const { USER, ADMIN, MODEL } = process.env;

await journey(async (users, admins) => {
  // A first visit.
  const page = await open(users, [/status of 403/]);
  await page.goto(`${GATEWAY}/`);
  equal(page.url(), `${GATEWAY}/ui/`, "a browser at the bare name");
  check((await page.locator(".who").textContent()).includes(USER), "the page knows who looks");
  check(!(await page.locator("nav.menu").textContent()).includes("Overview"), "a user's menu has no pages of admins");
  await page.goto(`${GATEWAY}/ui/models`);
  check((await page.locator("main").textContent()).includes(MODEL), "the model that the policy grants");
  await page.goto(`${GATEWAY}/ui/setup?for=claude-code`);
  check((await page.locator("main").textContent()).includes(GATEWAY), "the settings have the name by which one came");

  // A conversation with a real model, bit by bit.
  await page.goto(`${GATEWAY}/ui/chat`);
  await page.getByLabel("Message", { exact: true }).fill("Where is the nearest star?");
  await page.keyboard.press("Enter");
  const answer = page.locator(".message.assistant:not(.running)");
  await answer.first().waitFor({ timeout: 60000 });
  check((await answer.first().locator(".said").textContent()).trim().length > 0, "an answer");
  await page.locator(".usage", { hasText: " in, " }).waitFor();
  await picture(page, "tailnet-chat");

  // Their own usage, down to each message, and nothing of other users.
  await page.goto(`${GATEWAY}/ui/`);
  check(await figure(page, "Requests") >= 1, "one's own requests");
  await page.goto(`${GATEWAY}/ui/sessions`);
  await page.locator("tbody th a").first().click();
  equal(await page.locator("h1").textContent(), "Session", "a session");
  await page.locator("tbody th a").first().click();
  await page.getByRole("link", { name: "Conversation" }).click();
  check((await page.locator(".turns").textContent()).includes("nearest star"), "what one said oneself");
  const request = new URL(page.url()).pathname;
  const refused = await page.goto(`${GATEWAY}/ui/overview`);
  equal(refused.status(), 403, "a page of admins");
  await picture(page, "tailnet-user");

  // An admin, on another node, sees it, and that is noted.
  const admin = await open(admins);
  await admin.goto(`${GATEWAY}/ui/overview`);
  check((await admin.locator(".who").textContent()).includes(ADMIN), "the page knows the admin");
  await admin.locator("main").getByRole("link", { name: USER, exact: true }).click();
  equal(await admin.locator("h1").textContent(), USER, "the page of the user");
  await admin.goto(GATEWAY + request);
  check((await admin.locator("main").textContent()).includes("tailnet policy"), "the story names the policy");
  await admin.getByRole("link", { name: "Conversation" }).click();
  check((await admin.locator(".turns").textContent()).includes("nearest star"), "what the user said");
  await admin.goto(`${GATEWAY}/ui/audit`);
  const row = admin.locator("tbody tr").first();
  check((await row.textContent()).includes(request.split("/").pop()), "the audit log has the look");
  check((await row.textContent()).includes(ADMIN), "and who looked");
  await admin.goto(`${GATEWAY}/ui/connection`);
  check((await admin.locator("main").textContent()).includes("ai.tail.test"), "the node and its name");
  await picture(admin, "tailnet-connection");

  // Model servers are found on the nodes that providers name, through the node.
  await admin.goto(`${GATEWAY}/ui/providers/discover?look=now`);
  check((await admin.locator("main").textContent()).includes(MODEL), "the server on the other node");

  // The admin changes the configuration, and it is in force for the user at once.
  await admin.goto(`${GATEWAY}/ui/config`);
  const text = admin.getByLabel("Configuration", { exact: true });
  const state = admin.locator("[data-config] [data-state]");
  const before = await text.inputValue();
  await text.fill(before.replace('"grants": [', `"grants": [
    { "src": ["${USER}"], "app": { "${process.env.CAPABILITY}": [{ "enable_chat_ui": false }] } },`));
  await state.getByText("Valid; not saved yet").waitFor();
  await admin.getByRole("button", { name: "Save", exact: true }).click();
  await state.getByText("Saved, and in force").waitFor();
  equal((await page.goto(`${GATEWAY}/ui/chat`)).status(), 403, "the chat that was taken away");
  await admin.goto(`${GATEWAY}/ui/audit`);
  check((await admin.locator("tbody tr").first().textContent()).includes(ADMIN), "the save is noted");
}, [], [process.env.USER_PROXY, process.env.ADMIN_PROXY]);
