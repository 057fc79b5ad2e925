// Every page in light and dark at three widths: pictures in target/pages to look at, and what axe
// finds.
import { ADMIN, PICTURES, USER, axe, check, fail, journey, json, open } from "./browser.mjs";
import { join } from "node:path";

const WIDTHS = [390, 900, 1440];
const only = process.env.ONLY;

const { requests } = await json(`${ADMIN}/api/requests?provider=anthropic&limit=1`);
const [request] = requests;
// Something for the audit log, and for the history.
await json(`${ADMIN}/api/requests/${request.id}/capture`);
await fetch(`${USER}/api/audit`);
const { versions: [version] } = await json(`${ADMIN}/api/config/history`);
const session = new URLSearchParams({ login: request.login, session: request.session });

const ADMIN_PAGES = {
  mine: "/ui/",
  chat: "/ui/chat",
  models: "/ui/models",
  setup: "/ui/setup",
  "setup-codex": "/ui/setup?for=codex",
  overview: "/ui/overview",
  filtered: "/ui/overview?days=7&by=model&metric=cost&agent=claude-code&status=200",
  users: "/ui/users?window=4of7",
  person: "/ui/users/ada%40example.com?days=7",
  agents: "/ui/agents",
  providers: "/ui/providers",
  discover: "/ui/providers/discover?look=now",
  tools: "/ui/tools",
  tool: "/ui/tools?tool=Bash",
  grants: "/ui/grants",
  explained: "/ui/grants?login=ada%40example.com&model=claude-opus-4-5&api=anthropic_messages",
  guardrails: "/ui/guardrails",
  budgets: "/ui/budgets",
  config: "/ui/config",
  history: "/ui/config/history",
  version: `/ui/config/history/${version.id}`,
  audit: "/ui/audit",
  exports: "/ui/exports",
  connection: "/ui/connection",
  api: "/ui/api",
  sessions: "/ui/sessions",
  session: `/ui/sessions/one?${session}`,
  requests: "/ui/requests?outcome=complete",
  story: `/ui/requests/${request.id}`,
  conversation: `/ui/requests/${request.id}?view=conversation`,
  body: `/ui/requests/${request.id}?view=request`,
  missing: "/ui/requests/req_0",
};

const { requests: [own] } = await json(`${USER}/api/requests?limit=1`);
const USER_PAGES = {
  mine: "/ui/",
  chat: "/ui/chat",
  models: "/ui/models",
  setup: "/ui/setup",
  sessions: "/ui/sessions",
  session: `/ui/sessions/one?${new URLSearchParams({ login: own.login, session: own.session })}`,
  requests: "/ui/requests",
  request: `/ui/requests/${own.id}`,
  budgets: "/ui/budgets",
  empty: "/ui/requests?model=nothing",
  refused: "/ui/overview",
};

const left = [[ADMIN, ADMIN_PAGES, "admin"], [USER, USER_PAGES, "user"]].flatMap(([origin, pages, role]) =>
  Object.entries(pages).filter(([name]) => !only || name.includes(only)).map(([name, path]) => ({ origin, role, name, path })));

/** Looks at pages until all were. */
async function look(context) {
  const page = await open(context, [/status of 40[34]/]);
  for (let next = left.shift(); next; next = left.shift()) {
    const { origin, role, name, path } = next;
    for (const theme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: theme });
      await page.goto(origin + path, { waitUntil: "networkidle" });
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 900 });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        check(wide <= 0, `${name} at ${width}: the page is ${wide} pixels wider than the window`);
        await page.screenshot({ path: join(PICTURES, `${role}-${name}-${theme}-${width}.png`), fullPage: true });
        // Between the two, colours are the same.
        if (width !== 900 || theme === "light") await axe(page, `${name} ${theme} ${width}`);
      }
    }
  }
}

// Side by side, because each page waits more than it works.
await journey(async (context) => {
  await Promise.all([look(context), look(context), look(context)]);
});
