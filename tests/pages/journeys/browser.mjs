// What every journey needs: a browser, the two gateways, and a list of what went wrong.
import { chromium } from "playwright-core";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const ADMIN = process.env.ADMIN;
export const USER = process.env.USER_GATEWAY;
export const PLANTED = process.env.PLANTED;
export const PICTURES = process.env.PICTURES;
export const PROVIDER = process.env.PROVIDER;

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const failures = [];

export function fail(what) {
  failures.push(what);
  console.error(`  ✗ ${what}`);
}

export function check(holds, what) {
  if (!holds) fail(what);
}

export function equal(found, wanted, what) {
  if (found !== wanted) fail(`${what}: ${JSON.stringify(found)} is not ${JSON.stringify(wanted)}`);
}

/** A picture of a page, to be looked at. */
export async function picture(page, name) {
  await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
}

/** The figure of a card. */
export async function figure(page, name) {
  const text = await page.locator(`.card:has(dt:text-is("${name}")) .figure`).textContent();
  return Number(text.replace(/[^0-9.]/g, ""));
}

export async function json(address, options) {
  const answer = await fetch(address, options);
  if (!answer.ok) throw new Error(`${address}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** A fresh browser with a profile of its own; `proxy` is the way to the network that it takes. */
async function launch(args, proxy) {
  const profile = mkdtempSync(join(tmpdir(), "iris-browser-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.BROWSER,
    headless: true,
    viewport: { width: 1280, height: 900 },
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
      "--disable-background-networking", "--disable-component-update",
      ...(proxy ? [`--proxy-server=socks5://${proxy}`] : []), ...args,
    ],
  });
  context.setDefaultTimeout(15000);
  return context;
}

/** Runs a journey in a fresh browser for each proxy, and ends the process by how it went. */
export async function journey(run, args = [], proxies = [process.env.PROXY]) {
  const contexts = await Promise.all(proxies.map((proxy) => launch(args, proxy)));
  try {
    await run(...contexts);
  } catch (error) {
    fail(error.stack);
  } finally {
    await Promise.all(contexts.map((context) => context.close()));
  }
  process.exit(failures.length ? 1 : 0);
}

/** A page that reports errors of scripts, of the console and of the content policy. */
export async function open(context, allowed = []) {
  const page = await context.newPage();
  const report = (text) => {
    if (!allowed.some((pattern) => pattern.test(text))) fail(`${page.url()}: ${text}`);
  };
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) report(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => report(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    if (dialog.type() === "alert") report(`dialog: ${dialog.message()}`);
    dialog.accept();
  });
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => {
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  return page;
}

/** What axe finds. It is put into a world of its own, which the page's policy does not bind. */
export async function axe(page, what) {
  // A colour that is on its way is nobody's.
  await page.waitForTimeout(150);
  const session = await page.context().newCDPSession(page);
  const { frameTree } = await session.send("Page.getFrameTree");
  const { executionContextId } = await session.send("Page.createIsolatedWorld", {
    frameId: frameTree.frame.id, worldName: "axe",
  });
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", {
      expression, contextId: executionContextId, awaitPromise: true, returnByValue: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  await evaluate(`${axeSource}; true`);
  const found = await evaluate(`axe.run(document, { resultTypes: ["violations"] }).then((results) =>
    results.violations.map((one) => one.id + ": " + one.nodes.slice(0, 3).map((node) =>
      node.html.slice(0, 160) + " (" + (node.any[0]?.message ?? node.failureSummary ?? "") + ")").join(" | ")))`);
  for (const one of found) fail(`${what}: axe ${one}`);
  await session.detach();
}
