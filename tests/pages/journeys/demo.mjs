// The demo's two dashboards, each at its own loopback address: one as alice, who is the admin, and one as bob.
import { check, equal, journey, open, picture } from "./browser.mjs";

const { ALICE, BOB } = process.env;

await journey(async (browser) => {
  const alice = await open(browser);
  await alice.goto(`${ALICE}/`);
  equal(alice.url(), `${ALICE}/ui/`, "alice stays at her own address");
  check((await alice.locator(".who").textContent()).includes("alice@example.com"), "the page knows alice");
  await alice.goto(`${ALICE}/ui/overview`);
  const overview = await alice.locator("main").textContent();
  check(overview.includes("alice@example.com") && overview.includes("bob@example.com"), "the admin sees both people");
  await picture(alice, "demo-overview");

  // What a page's own script sends gets through the door: its Origin is the door's.
  await alice.goto(`${ALICE}/ui/chat`);
  await alice.getByLabel("Message", { exact: true }).fill("Does this stream?");
  await alice.keyboard.press("Enter");
  const answer = alice.locator(".message.assistant:not(.running)");
  await answer.first().waitFor({ timeout: 60000 });
  check((await answer.first().locator(".said").textContent()).includes("Does this stream?"), "the chat answers");
  await picture(alice, "demo-chat");

  // What is to be copied works from here, where nothing is called http://ai.
  await alice.goto(`${ALICE}/ui/setup`);
  const setup = await alice.locator("main").textContent();
  check(setup.includes(ALICE) && !/http:\/\/ai(?![\w.-])/.test(setup), `the settings have the address of this door: ${setup}`);
  check(!/(?<![A-Z_])MODEL(?![A-Z_])/.test(setup), "the settings name a model");

  const bob = await open(browser, [/status of 403/]);
  await bob.goto(`${BOB}/`);
  check((await bob.locator(".who").textContent()).includes("bob@example.com"), "the page knows bob");
  const refused = await bob.goto(`${BOB}/ui/overview`);
  equal(refused.status(), 403, "bob is no admin");
  await bob.goto(`${BOB}/ui/requests`);
  const requests = await bob.locator("main").textContent();
  check(requests.includes("demo") && !requests.includes("alice"), "bob sees his own requests alone");
  await picture(bob, "demo-bob");
});
