// What may happen to a conversation: turns that are refused, two tabs, a reload in the middle, a
// reader who selects while an answer comes, a deletion that was a mistake. Where the gateway keeps
// conversations and where the browser does.
import { ADMIN, USER, axe, check, equal, journey, json, open } from "./browser.mjs";

const asked = (page, text) => page.getByLabel("Message", { exact: true }).fill(text).then(() => page.keyboard.press("Enter"));
const settled = async (page, text) => {
  await page.locator(".message.assistant:not(.running)", { hasText: text }).waitFor();
  await page.locator(".message.running").waitFor({ state: "detached" });
};
const messages = (page) => page.locator(".message .said").allTextContents();
const titles = (page) => page.locator("[data-history] .open").allTextContents();
const sent = async (gateway) => {
  const [{ id }] = (await json(`${gateway}/api/requests?limit=1&agent=browser`)).requests;
  return (await json(`${gateway}/api/requests/${id}/capture`)).request.body;
};

async function blocked(context) {
  const page = await open(context, [/status of [45]0[0-9]/]);
  await page.goto(`${USER}/ui/chat?model=demo%2Fdemo`);
  await asked(page, "first");
  await settled(page, "You said: first");
  await asked(page, "this is forbidden-stuff");
  await page.locator(".notice.bad").waitFor();
  await page.getByText("Left out of later messages", { exact: true }).waitFor();
  await asked(page, "second");
  await settled(page, "You said: second");
  await page.locator(".usage", { hasText: "in," }).nth(1).waitFor();
  const body = await sent(USER);
  check(body.includes("first") && body.includes("second"), "the turns that were answered are sent again");
  check(!body.includes("forbidden"), "the blocked turn is not");

  // It is so after a reload, and until the reader says otherwise.
  await page.reload();
  await page.getByText("Left out of later messages", { exact: true }).waitFor();
  await axe(page, "a conversation with a turn that is left out");
  await page.getByRole("button", { name: "Include this turn again" }).click();
  await asked(page, "third");
  await page.locator(".notice.bad").nth(1).waitFor();
  await page.getByRole("button", { name: "Leave out this turn" }).nth(1).click();
  await page.getByRole("button", { name: "Retry this turn" }).last().click();
  await settled(page, "You said: third");

  // Edited and sent again, it replaces what followed.
  await page.getByRole("button", { name: "Edit and resend" }).first().click();
  await page.getByLabel("Your message").fill("this is allowed");
  await page.getByRole("button", { name: "Send again" }).click();
  await settled(page, "You said: this is allowed");
  equal(await page.getByText("Left out of later messages", { exact: true }).count(), 0, "nothing is left out any more");

  // A turn that failed at the provider doesn't get in the way either.
  await page.getByLabel("Model", { exact: true }).selectOption("lab/failing");
  await asked(page, "this fails");
  await page.locator(".notice.bad").waitFor();
  await page.getByLabel("Model", { exact: true }).selectOption("demo/demo");
  await asked(page, "and after");
  await settled(page, "You said: and after");
  await page.locator(".usage", { hasText: "in," }).last().waitFor();
  check(!(await sent(USER)).includes("this fails"), "the failed turn is not sent again");
  await page.close();
}

async function reading(context) {
  const page = await open(context);
  await page.goto(`${USER}/ui/chat?model=lab%2Fthinking`);
  await asked(page, "think");
  const running = page.locator(".message.running");
  await running.locator("summary").click();
  await page.waitForFunction(() => document.querySelector(".message.running .thought .plain")?.textContent.includes("thought 5"));
  await page.evaluate(() => {
    const text = document.querySelector(".message.running .thought .plain").firstChild;
    getSelection().setBaseAndExtent(text, 0, text, 10);
    document.querySelector(".message.running .thought").mark = "the same";
  });
  await page.waitForFunction(() => document.querySelector(".message.running .reply")?.textContent.includes("word40"));
  equal(await page.evaluate(() => getSelection().toString()), "thought 0.", "what was selected stays so while more comes");
  check(await running.locator("details").evaluate((details) => details.open && details.mark), "what was opened stays open");
  await page.evaluate(() => {
    const text = document.querySelector(".message.running .reply p").firstChild;
    getSelection().setBaseAndExtent(text, 0, text, 6);
  });
  await settled(page, "word59");
  await page.locator(".usage", { hasText: "60 out" }).waitFor();
  equal(await page.evaluate(() => getSelection().toString()), "word30", "so it does at the end");
  check(await page.locator("details.thought").evaluate((details) => details.open), "and what was opened");
  // Nor does the next turn take it.
  await asked(page, "again");
  await page.locator(".message.running .thought").waitFor();
  check(await page.locator("details.thought").first().evaluate((details) => details.open), "in the next turn too");
  await page.getByRole("button", { name: "Stop" }).click();
  await page.close();
}

async function twoTabs(context, gateway) {
  const one = await open(context, [/status of 4(04|12)/]);
  await one.goto(`${gateway}/ui/chat?model=demo%2Fdemo`);
  await asked(one, "begun together");
  await settled(one, "You said: begun together");
  const two = await open(context, [/status of 4(04|12)/]);
  await two.goto(`${gateway}/ui/chat`);
  await settled(two, "You said: begun together");
  // Both ask before either has heard of the other.
  await Promise.all([asked(one, "from the first tab"), asked(two, "from the second tab")]);
  await Promise.all([settled(one, "You said: from the first tab"), settled(two, "You said: from the second tab")]);
  await Promise.all([one, two].map((page) => page.locator(".usage", { hasText: "in," }).nth(1).waitFor()));
  await one.waitForTimeout(1500);
  const wanted = ["begun together", "from the first tab", "from the second tab"];
  for (const page of [one, two]) {
    await page.reload();
    await settled(page, "You said: begun together");
    const all = await messages(page);
    equal(all.length, 6, `messages at ${gateway}: ${all}`);
    for (const text of wanted) {
      const nth = all.findIndex((said) => said === text);
      check(nth >= 0 && all[nth + 1]?.includes(`You said: ${text}`), `${text} is followed by its answer: ${all}`);
    }
  }
  // One tab takes back what the other goes on from: both versions stay.
  // The first tab hears of it only as it saves.
  await two.evaluate(() => { BroadcastChannel.prototype.postMessage = () => {}; });
  await one.evaluate(() => addEventListener("visibilitychange", (event) => event.stopImmediatePropagation(), true));
  await two.getByRole("button", { name: "Edit this message" }).nth(1).click();
  await two.getByLabel("Your message").fill("quite another thing");
  await two.getByRole("button", { name: "Send again" }).click();
  await settled(two, "quite another thing");
  await two.locator(".usage", { hasText: "in," }).nth(1).waitFor();
  await two.waitForTimeout(500);
  await one.getByRole("button", { name: "Edit this message" }).nth(0).click();
  await one.getByLabel("Your message").fill("begun anew elsewhere");
  await one.getByRole("button", { name: "Send again" }).click();
  await settled(one, "You said: begun anew elsewhere");
  await one.locator("[data-note]", { hasText: "Your version goes on here" }).waitFor();
  const list = await titles(one);
  check(list.includes("begun together") && list.includes("begun anew elsewhere"), `both are in the list: ${list}`);

  // Deleted in one tab, it does not come back because the other is open; and it can be undone.
  await one.reload();
  await settled(one, "You said: begun anew elsewhere");
  await two.reload();
  await two.getByRole("button", { name: "Delete begun anew elsewhere" }).click();
  await one.locator("[data-note]", { hasText: "was deleted in another tab" }).waitFor();
  check(!(await titles(one)).includes("begun anew elsewhere"), "it leaves the other tab's list");
  await two.getByRole("button", { name: "Undo deleting begun anew elsewhere" }).click();
  await two.locator("[data-history] .open", { hasText: "begun anew elsewhere" }).waitFor();
  await two.reload();
  await two.locator("[data-history] .open", { hasText: "begun anew elsewhere" }).click();
  await settled(two, "You said: begun anew elsewhere");
  // A page that is closed before the time for undoing is over has deleted all the same.
  await two.getByRole("button", { name: "Delete begun anew elsewhere" }).click();
  await two.getByRole("button", { name: "Undo deleting begun anew elsewhere" }).waitFor();
  await two.close();
  await one.reload();
  await one.locator("[data-history] .open", { hasText: "begun together" }).first().waitFor();
  check(!(await titles(one)).includes("begun anew elsewhere"), "the deletion stands");
  await one.close();
}

async function interrupted(context, gateway) {
  const page = await open(context);
  await page.goto(`${gateway}/ui/chat?model=lab%2Fthinking`);
  await asked(page, "a long story");
  await page.waitForFunction(() => document.querySelector(".message.running .reply")?.textContent.includes("word40"));
  await page.reload();
  await page.getByText("Interrupted: the page was closed before the answer was complete.").waitFor();
  const [question, reply] = await messages(page);
  equal(question, "a long story", "the question is there");
  check(reply.includes("thought 5") && reply.includes("word40"), `so is what had come: ${reply}`);
  check(!reply.includes("word59"), "it was cut");
  await page.locator(".usage a", { hasText: "record" }).waitFor();
  // It stays, and can be gone on with.
  await page.reload();
  await page.getByText("Interrupted:").waitFor();
  check((await messages(page))[1].includes("word40"), "it stays after another reload");
  await page.getByLabel("Model", { exact: true }).selectOption("demo/demo");
  await page.getByRole("button", { name: "Continue this answer" }).click();
  await settled(page, "Continue where you stopped.");
  await page.locator(".usage", { hasText: "in," }).last().waitFor();
  const body = await sent(gateway);
  check(body.includes("a long story") && body.includes("word40"), "what had come is sent along");
  await page.getByRole("button", { name: "Retry this turn" }).first().click();
  await page.locator(".message.running").waitFor();
  equal(await page.locator(".message").count(), 2, "asking again replaces the interrupted answer");
  await page.getByRole("button", { name: "Stop" }).click();
  await page.locator(".message.running").waitFor({ state: "detached" });

  // Left before anything came.
  await page.getByRole("button", { name: "New chat" }).click();
  await page.getByLabel("Model", { exact: true }).selectOption("lab/thinking");
  await asked(page, "left at once");
  await page.locator(".message.running").waitFor();
  await page.reload();
  await page.getByText("Interrupted:").waitFor();
  equal((await messages(page))[0], "left at once", "the question of a page that was left at once");

  // Closed, not loaded again: what was saved while it came is there, in any tab.
  await page.getByRole("button", { name: "New chat" }).click();
  await asked(page, "closed early");
  await page.waitForFunction(() => document.querySelector(".message.running .reply")?.textContent.includes("word55"));
  await page.close();
  const later = await open(context);
  await later.goto(`${gateway}/ui/chat`);
  await later.locator("[data-history] .open", { hasText: "closed early" }).click();
  await later.getByText("Interrupted:").waitFor({ timeout: 30000 });
  check((await messages(later))[1].includes("thought 5"), "what had come before the page was closed");
  await later.close();
}

await journey(async (context) => {
  await blocked(context);
  await reading(context);
  for (const gateway of [USER, ADMIN]) {
    await twoTabs(context, gateway);
    await interrupted(context, gateway);
  }
});
