// The chat: streams, stops, edits, asks again, remembers, and shows what it took.
import { PICTURES, USER, axe, check, equal, journey, json, open } from "./browser.mjs";
import { join } from "node:path";

await journey(async (context) => {
  const page = await open(context);
  const ask = async (text) => {
    await page.getByLabel("Message", { exact: true }).fill(text);
    await page.keyboard.press("Enter");
  };
  const answers = page.locator(".message.assistant:not(.running)");
  await page.goto(`${USER}/ui/chat?model=demo%2Fdemo`);
  equal(await page.getByLabel("Model", { exact: true }).inputValue(), "demo/demo", "the model of the address");

  await ask("one two three");
  await page.locator(".message.running").waitFor();
  const early = await page.locator(".message.running .said").textContent();
  await answers.first().waitFor();
  check((await answers.first().textContent()).includes("You said: one two three"), "the whole answer");
  check(early.length < (await answers.first().locator(".said").textContent()).length, "it came bit by bit");

  // Usage and cost are those of the record.
  await page.locator(".usage", { hasText: "in," }).waitFor();
  const [record] = (await json(`${USER}/api/requests?limit=1&agent=browser`)).requests;
  const usage = await page.locator(".usage").first().textContent();
  check(usage.includes(`${record.usage.input_tokens} in, ${record.usage.output_tokens} out`), `${usage} has the record's tokens`);
  check(usage.includes("$"), `${usage} has a cost`);
  check(record.session.startsWith("chat-"), "the session is the conversation's");

  // The next turn has the one before in it, and is of the same session.
  await ask("four");
  await answers.nth(1).waitFor();
  const [second] = (await json(`${USER}/api/requests?limit=1&agent=browser`)).requests;
  equal(second.session, record.session, "the session of the second turn");
  check(second.usage.input_tokens > record.usage.input_tokens, "the second turn has the first in it");

  // Stopped in the middle: what came stays.
  await ask("word ".repeat(200));
  await page.waitForFunction(() => document.querySelector(".message.running .said")?.textContent.length > 60);
  await page.getByRole("button", { name: "Stop" }).click();
  await answers.nth(2).waitFor();
  check((await answers.nth(2).locator(".usage").textContent()).includes("stopped"), "a stopped turn says so");
  const stopped = (await answers.nth(2).locator(".said").textContent()).length;
  check(stopped > 60 && stopped < 900, `what came stays (${stopped} characters)`);

  // Edited, and asked again.
  await page.getByRole("button", { name: "Edit this message" }).nth(1).click();
  await page.getByLabel("Your message").fill("five");
  await page.getByRole("button", { name: "Send again" }).click();
  await page.getByText("You said: five").waitFor();
  equal(await page.locator(".message").count(), 4, "what followed the edited message is gone");
  await page.locator(".message.running").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Retry this turn" }).last().click();
  await page.locator(".message.running").waitFor();
  await page.locator(".message.running").waitFor({ state: "detached" });
  equal(await page.locator(".message").count(), 4, "asking again replaces the answer");

  // Kept in the browser.
  await page.reload();
  await page.locator(".messages", { hasText: "You said: five" }).waitFor();
  await page.getByRole("button", { name: "New chat" }).click();
  equal(await page.locator(".message").count(), 0, "a new chat is empty");

  // Markdown is shown as such, and markup as text.
  await page.getByLabel("Model", { exact: true }).selectOption("lab/qwen3-coder");
  await ask("show me");
  await page.locator(".message.assistant:not(.running) .said h2", { hasText: "A heading" }).waitFor();
  const said = page.locator(".message.assistant .said").last();
  equal(await said.locator("strong").textContent(), "strong", "strong words");
  equal(await said.locator("ul > li").count(), 2, "a list");
  equal(await said.locator("td").count(), 2, "a table");
  check((await said.locator("pre").textContent()).includes("<script>"), "code stays code");
  equal(await said.locator("a").count(), 1, "one link of two is one");
  equal(await said.locator("a").getAttribute("href"), "https://example.com/", "and it leads where it says");
  equal(await said.locator("script, img, svg, iframe").count(), 0, "elements made of markup");
  equal(await page.evaluate(() => window.planted), undefined, "what was planted ran");
  await axe(page, "a conversation");
  await page.screenshot({ path: join(PICTURES, "user-conversation-light-1280.png") });
  await page.emulateMedia({ colorScheme: "dark" });
  await axe(page, "a conversation in the dark");
  await page.setViewportSize({ width: 390, height: 800 });
  await page.screenshot({ path: join(PICTURES, "user-conversation-dark-390.png") });

  // Another format.
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.getByRole("button", { name: "New chat" }).click();
  await page.getByLabel("Model", { exact: true }).selectOption("anthropic/claude-haiku-4-5");
  await ask("hello");
  await page.getByText("Hello from Claude's stand-in.").waitFor();
  await page.locator(".usage", { hasText: "12 in, 9 out" }).waitFor();

  // A failure is told, as text.
  const failing = await open(context, [/status of 50[0-9]/]);
  await failing.goto(`${USER}/ui/chat?model=lab%2Ffailing`);
  await failing.getByLabel("Message", { exact: true }).fill("fail");
  await failing.keyboard.press("Enter");
  await failing.locator(".notice.bad").waitFor();
  check((await failing.locator(".notice.bad").textContent()).includes("<script>"), "the provider's words");
  equal(await failing.evaluate(() => window.planted), undefined, "what the provider planted ran");
});
