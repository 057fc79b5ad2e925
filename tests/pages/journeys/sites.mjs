// Other sites: what their pages can do with a visitor who may use the gateway. Nothing: five
// origins try ten ways on every route, have no effect and read nothing.
//
// GATEWAY is the gateway as the browser reaches it, ADMIN as this script does.
import { ADMIN, check, equal, fail, journey, json } from "./browser.mjs";
import { createServer } from "node:http";
import { connect, createServer as createListener } from "node:net";
import { createServer as createSecure } from "node:https";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const GATEWAY = process.env.GATEWAY ?? ADMIN;
const { hostname, port } = new URL(GATEWAY);

// Every route that there is: those of the API describe themselves, and pages are in the menu.
const { requests: [known] } = await json(`${ADMIN}/api/requests?limit=1`);
const config = await json(`${ADMIN}/api/config`);
const routes = [];
for (const description of ["/api/openapi.json", "/aperture/openapi.json"]) {
  const { paths, servers } = await json(ADMIN + description);
  const base = servers?.[0]?.url.replace(/\/$/, "") ?? "";
  for (const [path, methods] of Object.entries(paths)) {
    for (const method of Object.keys(methods)) {
      // An id that nobody could guess is not theirs to know.
      routes.push({ method: method.toUpperCase(), path: base + path.replace(/\{[^}]*\}/g, "x") });
    }
  }
}
const menu = await (await fetch(`${ADMIN}/ui/`, { headers: { accept: "text/html" } })).text();
const pages = [...menu.matchAll(/href="(\/ui\/[a-z]*)"/g)].map(([, path]) => path);
for (const path of new Set([...pages, "/ui/users/x", "/ui/config/history", "/ui/sessions/one?login=x&session=x"])) {
  routes.push({ method: "GET", path });
}
const MODELS = [
  "/v1/chat/completions", "/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings", "/v1/messages",
  "/v1/messages/count_tokens", "/v1/images/generations", "/v1/audio/transcriptions", "/v1/moderations", "/v1/rerank",
  "/v1beta/models/demo:generateContent", "/v1/models/demo:streamGenerateContent", "/bedrock/model/demo/converse",
  "/bedrock/model/demo/invoke", "/v1/projects/p/locations/l/publishers/google/models/demo:generateContent",
];
for (const path of MODELS) routes.push({ method: "POST", path });

/** All that an attack could have changed. */
async function state() {
  const audit = (await json(`${ADMIN}/api/audit?limit=1000`)).audit;
  return JSON.stringify({
    requests: (await json(`${ADMIN}/api/usage?from=2000-01-01`)).totals.requests,
    config: (await json(`${ADMIN}/api/config`)).hash,
    versions: (await json(`${ADMIN}/api/config/history`)).versions.length,
    done: audit.filter((row) => row.kind !== "refused").length,
    buckets: (await json(`${ADMIN}/api/quotas`)).quotas?.map(({ bucket, balance }) => [bucket, balance]),
    chats: await (await fetch(`${ADMIN}/api/chats`)).text(),
  });
}

const script = readFileSync(new URL("./attack.js", import.meta.url), "utf8");
const secrets = { config: "{}", hash: config.hash, bucket: "monthly", amount: "$1.00", baseurl: "http://127.0.0.1:11434", id: known.id };
const arms = `<!doctype html><title>an attack</title><body><script>${script}
addEventListener("message", (event) => { window.outcome = event.data; });
attack(${JSON.stringify(GATEWAY)}, ${JSON.stringify(routes)}, ${JSON.stringify(secrets)});</script>`;
const answers = (request, answer) => {
  answer.setHeader("content-type", "text/html");
  if (request.url === "/attack") {
    answer.end(arms);
  } else if (request.url === "/sandbox") {
    answer.end(`<!doctype html><body><script>addEventListener("message", (event) => { window.outcome = event.data; });</script>
      <iframe sandbox="allow-scripts allow-forms" src="/attack"></iframe>`);
  } else {
    answer.end(`<!doctype html><body><a href="${GATEWAY}${decodeURIComponent(request.url.slice(2))}">there</a>`);
  }
};
const fixtures = process.env.FIXTURES;
const [plain, secure] = [createServer(answers), createSecure({
  key: readFileSync(join(fixtures, "ai.tail.test.key")), cert: readFileSync(join(fixtures, "ai.tail.test.crt")),
}, answers)];
for (const server of [plain, secure]) await new Promise((done) => server.listen(0, "127.0.0.1", done));

// A name that is the attacker's when their page comes, and the gateway's from then on.
let armed = false;
const sockets = new Set();
const rebound = createListener((socket) => {
  sockets.add(socket);
  socket.on("error", () => {});
  if (armed) {
    const gateway = connect(Number(port || 80), hostname);
    gateway.on("error", () => socket.destroy());
    socket.pipe(gateway).pipe(socket);
    return;
  }
  socket.once("data", () => {
    armed = true;
    const page = arms.replace(JSON.stringify(GATEWAY), "location.origin");
    socket.end(`HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(page)}\r\n\r\n${page}`);
  });
});
if (!process.env.PROXY) await new Promise((done) => rebound.listen(Number(port || 80), "127.0.0.2", done));
const foreign = `http://attacker.example:${plain.address().port}`;
// Over a proxy, names are the proxy's to resolve.
const ORIGINS = {
  "another site": `${foreign}/attack`,
  "another site over HTTPS": `https://attacker.example:${secure.address().port}/attack`,
  "another port of the same host": `http://${hostname}:${plain.address().port}/attack`,
  "no origin": `${foreign}/sandbox`,
  ...(!process.env.PROXY && { "a rebound name": `http://rebound.example:${port || 80}/attack` }),
};

await journey(async (context) => {
  const before = await state();
  let tried = 0;
  // Side by side: a browser makes those wait whose WebSockets fail.
  await Promise.all(Object.entries(ORIGINS).map(async ([origin, address]) => {
    const page = await context.newPage();
    await page.goto(address, { waitUntil: "commit" });
    await page.waitForFunction(() => window.outcome, null, { timeout: 420000 });
    const outcome = await page.evaluate(() => window.outcome);
    equal(outcome.tried, outcome.vectors * routes.length, `${origin}: tries`);
    tried += outcome.tried;
    for (const read of outcome.readable) fail(`${origin} reads by ${read}`);
    await page.close();
  }));
  equal(await state(), before, "what other sites have changed");
  console.log(`  ${tried} tries: ${Object.keys(ORIGINS).length} origins on ${routes.length} routes`);

  // A window that was opened can't be reached, and can't be talked into anything.
  const opener = await context.newPage();
  await opener.goto(`${foreign}/?/ui/`);
  const [opened] = await Promise.all([
    context.waitForEvent("page"), opener.evaluate((there) => { window.opened = open(there); }, `${GATEWAY}/ui/`),
  ]);
  await opened.waitForLoadState();
  const reached = await opener.evaluate(() => {
    const all = [];
    for (const look of [(w) => w.document.title, (w) => w.location.href, (w) => w.frames.length || null]) {
      try {
        const found = look(window.opened);
        if (found) all.push(String(found));
      } catch {
        // As it should be.
      }
    }
    window.opened.postMessage({ config: "{}" }, "*");
    return all;
  });
  equal(reached.join(), "", "what an opener reads of a page");
  // Over plain HTTP browsers leave the two together, though neither can look at the other.
  if (hostname === "127.0.0.1") equal(await opened.evaluate(() => window.opener), null, "the opener, for the page");
  await Promise.all([opener.close(), opened.close()]);

  // A link leads to a page, which shows nothing that looking at is noted.
  const link = async (path) => {
    const page = await context.newPage();
    await page.goto(`${foreign}/?${encodeURIComponent(path)}`);
    const [answer] = await Promise.all([page.waitForNavigation(), page.click("a")]);
    const text = await page.content();
    await page.close();
    return { status: answer.status(), text };
  };
  const led = await link("/ui/overview?days=7");
  equal(led.status, 200, "a link to a page");
  check(led.text.includes("<h1>Overview"), "the page that a link leads to");
  if (hostname === "127.0.0.1") {
    // Browsers say where a request comes from to hosts that they trust: HTTPS, and this machine.
    equal((await link("/api/usage")).status, 403, "a link to the API");
    const told = await link(`/ui/requests/${known.id}?view=conversation`);
    check(told.text.includes("What happened"), "a link to what was said shows the story");
    equal(await state(), before, "what links have changed");
  }

  // What browsers are told about each page and file.
  const answer = await fetch(`${ADMIN}/ui/`, { headers: { accept: "text/html" } });
  const headers = answer.headers;
  const policy = headers.get("content-security-policy");
  for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", "require-trusted-types-for 'script'"]) {
    check(policy.includes(rule), `the policy has ${rule}`);
  }
  equal(headers.get("cache-control"), "no-store", "pages are not kept");
  equal(headers.get("x-content-type-options"), "nosniff", "types are not guessed");
  equal(headers.get("referrer-policy"), "no-referrer", "links tell nothing");
  equal(headers.get("cross-origin-opener-policy"), "same-origin", "openers are cut off");
  equal(headers.get("cross-origin-resource-policy"), "same-origin", "others can't embed");
  const html = await answer.text();
  const page = await context.newPage();
  await page.goto(`${GATEWAY}/ui/overview`);
  const inline = await page.evaluate(() => [...document.querySelectorAll("*")].filter((one) =>
    [...one.attributes].some(({ name }) => name === "style" || name.startsWith("on"))
    || ["STYLE"].includes(one.tagName) || (one.tagName === "SCRIPT" && !one.src)).length);
  equal(inline, 0, "handlers, styles and scripts in the markup");
  const asset = /\/ui\/assets\/[0-9a-f]+\/app\.css/.exec(html)[0];
  const file = await fetch(ADMIN + asset);
  check(file.headers.get("cache-control").includes("immutable"), "files are kept");
  for (const server of [plain, secure]) {
    server.closeAllConnections();
    server.close();
  }
  for (const socket of sockets) socket.destroy();
  rebound.close();
}, [
  "--host-resolver-rules=MAP attacker.example 127.0.0.1, MAP rebound.example 127.0.0.2", "--ignore-certificate-errors",
  // Newer browsers ask before a site may reach this machine. Not all are new.
  "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights",
]);
