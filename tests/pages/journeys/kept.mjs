// Conversations that the gateway keeps: they are there in another browser, and gone once deleted.
import { ADMIN, check, equal, journey, json, open } from "./browser.mjs";
import { chromium } from "playwright-core";

const titles = (page) => page.locator("[data-history] .open").allTextContents();

await journey(async (context) => {
  const page = await open(context);
  const ask = async (text) => {
    await page.getByLabel("Message", { exact: true }).fill(text);
    await page.keyboard.press("Enter");
    await page.locator(".message.assistant:not(.running)", { hasText: `You said: ${text}` }).waitFor();
    await page.locator(".usage", { hasText: "in," }).last().waitFor();
  };
  await page.goto(`${ADMIN}/ui/chat?model=demo%2Fdemo`);
  check(await page.getByText("Kept by this gateway").count(), "it says where conversations are");
  await ask("the first one");
  await page.getByRole("button", { name: "New chat" }).click();
  await ask("the second one");
  await page.waitForTimeout(500);
  equal((await titles(page)).join(), "the second one,the first one", "both are listed");
  equal(await page.evaluate(() => localStorage.length), 0, "nothing is in the browser");

  // Another browser of the same person.
  const browser = await chromium.launch({ executablePath: process.env.BROWSER, args: ["--no-sandbox"] });
  const other = await open(await browser.newContext());
  await other.goto(`${ADMIN}/ui/chat`);
  await other.locator(".message.assistant", { hasText: "You said: the second one" }).waitFor();
  await other.locator("[data-history] .open", { hasText: "the first one" }).click();
  await other.locator(".message.assistant", { hasText: "You said: the first one" }).waitFor();
  await other.getByRole("button", { name: "Delete the first one" }).click();
  await other.waitForFunction(async () => (await (await fetch("/api/chats")).json()).chats.length === 1);
  await other.locator("[data-history] .open", { hasText: "the first one" }).waitFor({ state: "detached" });
  equal((await titles(other)).join(), "the second one", "one is left");
  await browser.close();

  const { chats } = await json(`${ADMIN}/api/chats`);
  equal(chats.map((one) => one.title).join(), "the second one", "as the API has them");
  await page.goto(`${ADMIN}/ui/chat`);
  await page.locator(".message.assistant", { hasText: "You said: the second one" }).waitFor();
  equal((await titles(page)).join(), "the second one", "after the page was loaded again");
});
