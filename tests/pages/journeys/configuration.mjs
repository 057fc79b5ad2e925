// The configuration in the browser: what is wrong is said as it is typed, changes and whom they
// change are shown, it is saved, and taken back. It changes the gateway, and so runs last.
import { ADMIN, check, equal, journey, json, open } from "./browser.mjs";

await journey(async (context) => {
  const page = await open(context, [/status of 4[0-9][0-9]/]);
  await page.goto(`${ADMIN}/ui/config`);
  const text = page.getByLabel("Configuration", { exact: true });
  const state = page.locator("[data-config] [data-state]");
  const before = await text.inputValue();
  check(!before.includes("a-key-that-no-page-may-show"), "a secret is shown");
  await state.getByText("Valid", { exact: true }).waitFor();
  const save = page.getByRole("button", { name: "Save", exact: true });
  check(await save.isDisabled(), "nothing is there to be saved");

  // What is wrong is said, and can't be saved.
  await text.fill(before.replace('"models"', '"modles"'));
  await page.locator("[data-findings] li").first().waitFor();
  check(await save.isDisabled(), "what is wrong can't be saved");
  await text.fill("{");
  await state.getByText("1 problem").waitFor();

  // Whom it would change.
  await text.fill(before.replace('"lab/qwen*"', '"demo/**"'));
  await state.getByText("Valid; not saved yet").waitFor();
  await page.getByRole("button", { name: "Review changes" }).click();
  const ada = page.locator("tr", { hasText: "ada@example.com" });
  await ada.waitFor();
  check((await ada.textContent()).includes("demo/demo"), "who gains is told");
  check((await ada.textContent()).includes("lab/qwen3-coder"), "who loses is told");
  check(await page.locator(".diff .add").count(), "the changes are shown");

  // It is saved, in force at once, and holds the secret still.
  await save.click();
  await state.getByText("Saved, and in force").waitFor();
  const explained = await json(`${ADMIN}/api/explain?login=ada%40example.com&model=demo`);
  check(explained.allowed, "the new grant is in force");
  const shown = await page.getByLabel("Configuration", { exact: true }).inputValue();
  check(shown.includes("demo/**") && !shown.includes("a-key-that-no-page-may-show"), "the text after saving");

  // Another admin has saved meanwhile.
  const other = await open(context, [/status of 412/]);
  await other.goto(`${ADMIN}/ui/config`);
  const theirs = other.getByLabel("Configuration", { exact: true });
  await theirs.fill((await theirs.inputValue()) + "\n// theirs\n");
  await other.locator("[data-config] [data-state]").getByText("Valid; not saved yet").waitFor();
  await text.fill(shown + "\n// mine\n");
  await state.getByText("Valid; not saved yet").waitFor();
  await save.click();
  await state.getByText("Saved, and in force").waitFor();
  await other.getByRole("button", { name: "Save", exact: true }).click();
  await other.getByText("Someone else has saved a change").waitFor();
  await other.close({ runBeforeUnload: false });

  // What savers would take from themselves is said before, by the check and by the review.
  const edit = async (from, to, words) => {
    const now = await text.inputValue();
    check(now.includes(from), `the text has ${from}`);
    await text.fill(now.replace(from, to));
    await state.getByText(words).waitFor();
    return now;
  };
  let now = await edit('"(loopback)"', '"boss@example.com"', "you would no longer be an admin");
  check(await save.isDisabled(), "a save that takes the role from whoever saves is not offered");
  await page.getByRole("button", { name: "Review changes" }).click();
  await page.locator("[data-result] .notice.bad", { hasText: "A save will be refused" }).waitFor();
  check((await page.locator("tr", { hasText: "(loopback)" }).textContent()).includes("admin → none"), "who loses the role is told");
  await text.fill(now);

  // What waits for a restart is not said to be in force; losing the way in is asked about.
  const dialogs = [];
  page.on("dialog", (dialog) => dialogs.push(dialog.message()));
  now = await edit('"loopback": "127.0.0.1:0"', '"loopback": "127.0.0.1:7"', "Valid; not saved yet");
  await page.getByRole("button", { name: "Review changes" }).click();
  await page.locator("[data-result] .notice", { hasText: "listen.loopback takes effect at the next restart" }).waitFor();
  await save.click();
  await state.getByText("Saved. listen.loopback takes effect at the next restart").waitFor();
  check(dialogs.some((words) => words.includes("local callers are served at 127.0.0.1:7")), `asked before: ${dialogs}`);
  const waits = async () => (await json(`${ADMIN}/api/status`)).warnings.filter((one) => one.kind === "restart_needed");
  check((await waits())[0]?.message.includes("listen.loopback"), "the restart that is needed is a warning");
  await other.close().catch(() => {});
  const overview = await open(context);
  await overview.goto(`${ADMIN}/ui/overview`);
  await overview.getByText("takes effect at the next restart").waitFor();
  await overview.close();
  await text.fill(now);
  await state.getByText("Valid; not saved yet").waitFor();
  await save.click();
  await state.getByText("Saved, and in force").waitFor();
  equal((await waits()).length, 0, "taken back, nothing waits");

  // The way back.
  const { versions } = await json(`${ADMIN}/api/config/history`);
  equal(versions.length, 5, "versions");
  await page.goto(`${ADMIN}/ui/config/history`);
  await page.locator("tbody th a").last().click();
  check(await page.locator(".diff .add").count(), "what going back would change is shown");
  await page.getByRole("button", { name: "Go back to this version" }).click();
  await page.waitForURL(`${ADMIN}/ui/config`);
  equal(await page.getByLabel("Configuration", { exact: true }).inputValue(), before, "the text is as it was");
  const { audit } = await json(`${ADMIN}/api/audit`);
  check(audit.some((row) => row.kind === "config_rolled_back"), "it is in the audit log");

  // A budget is refilled.
  await page.goto(`${ADMIN}/ui/budgets`);
  await page.getByLabel("Amount for monthly").fill("$1.00");
  await page.locator("[data-refill=monthly] button").click();
  await page.waitForLoadState();
  const noted = async () => (await json(`${ADMIN}/api/audit?kind=quota_refilled`)).audit.length;
  for (let tries = 0; tries < 50 && !(await noted()); tries += 1) await page.waitForTimeout(50);
  equal(await noted(), 1, "the refill is in the audit log");
});
