// Other sites: what their pages can do with a visitor who may use the gateway. Nothing.
import { ADMIN, check, equal, journey, json } from "./browser.mjs";
import { createServer } from "node:http";

const port = new URL(ADMIN).port;
const before = await json(`${ADMIN}/api/usage`);
const config = await json(`${ADMIN}/api/config`);

// Each page tries one thing and says how it went by its title.
const ATTACKS = {
  form: `<form method="post" enctype="text/plain" action="${ADMIN}/v1/chat/completions"><input name='{"model":"demo","messages":[],"x":"' value='"}'></form><script>document.forms[0].submit()</script>`,
  simple: `<script>fetch("${ADMIN}/v1/chat/completions",{method:"POST",mode:"no-cors",headers:{"content-type":"text/plain"},body:JSON.stringify({model:"demo",messages:[{role:"user",content:"x"}]})}).finally(()=>document.title="done")</script>`,
  json: `<script>fetch("${ADMIN}/v1/chat/completions",{method:"POST",headers:{"content-type":"application/json"},body:JSON.stringify({model:"demo",messages:[{role:"user",content:"x"}]})}).then(()=>document.title="read").catch(()=>document.title="done")</script>`,
  beacon: `<script>navigator.sendBeacon("${ADMIN}/v1/chat/completions",JSON.stringify({model:"demo",messages:[{role:"user",content:"x"}]}));document.title="done"</script>`,
  config: `<script>fetch("${ADMIN}/api/config",{method:"PUT",headers:{"content-type":"application/json"},body:JSON.stringify({config:"{}",hash:${JSON.stringify(config.hash)}})}).then(()=>document.title="read").catch(()=>document.title="done")</script>`,
  refill: `<script>fetch("${ADMIN}/api/quotas/refill",{method:"POST",mode:"no-cors",body:'{"bucket":"monthly","amount":"$1.00"}'}).finally(()=>document.title="done")</script>`,
  read: `<script>fetch("${ADMIN}/ui/").then((a)=>a.text()).then(()=>document.title="read").catch(()=>document.title="done")</script>`,
  frame: `<iframe src="${ADMIN}/ui/" onload="try{document.title=frames[0].document.body.innerText.includes('My usage')?'read':'done'}catch{document.title='done'}"></iframe>`,
  script: `<script type="module">import("${ADMIN}/ui/overview").then(()=>document.title="read",()=>document.title="done")</script>`,
  events: `<script>new EventSource("${ADMIN}/api/requests").onerror=()=>document.title="done"</script>`,
  socket: `<script>const s=new WebSocket("${ADMIN.replace("http", "ws")}/v1/responses");s.onopen=()=>document.title="read";s.onerror=()=>document.title="done"</script>`,
  opener: `<script>const w=open("${ADMIN}/ui/");setTimeout(()=>{try{document.title=w&&w.document.title?'read':'done'}catch{document.title='done'}},700)</script>`,
};

const server = createServer((request, answer) => {
  answer.setHeader("content-type", "text/html");
  answer.end(`<!doctype html><title>?</title>${ATTACKS[request.url.slice(1)] ?? ""}`);
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));

await journey(async (context) => {
  // The attacker's name leads to another port of this machine, and one that was rebound to the
  // gateway's own.
  const attacker = `http://attacker.example:${server.address().port}`;
  for (const name of Object.keys(ATTACKS)) {
    const page = await context.newPage();
    await page.goto(`${attacker}/${name}`, { waitUntil: "commit" });
    if (name === "form") {
      await page.waitForURL(`${ADMIN}/**`).catch(() => {});
      check((await page.content()).includes("other sites"), "the form's answer says why");
    } else {
      await page.waitForFunction(() => document.title !== "?").catch(() => {});
      equal(await page.title(), "done", `${name} from another site`);
    }
    if (name === "frame") {
      const framed = page.frames()[1];
      check(!(await framed.content().catch(() => "")).includes("My usage"), "the page is in a frame");
    }
    await page.close();
  }
  const rebound = await context.newPage();
  for (const path of ["/ui/", "/ui/overview", "/api/usage", "/"]) {
    const answer = await rebound.goto(`http://attacker.example:${port}${path}`);
    equal(answer.status(), 421, `a rebound name at ${path}`);
    check(!(await rebound.content()).includes("ada@example.com"), `a rebound name reads ${path}`);
  }
  await rebound.close();

  const after = await json(`${ADMIN}/api/usage`);
  equal(after.totals.requests, before.totals.requests, "requests that the sites have made");
  equal((await json(`${ADMIN}/api/config`)).hash, config.hash, "the configuration");

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
  await page.goto(`${ADMIN}/ui/overview`);
  const inline = await page.evaluate(() => [...document.querySelectorAll("*")].filter((one) =>
    [...one.attributes].some(({ name }) => name === "style" || name.startsWith("on"))
    || ["STYLE"].includes(one.tagName) || (one.tagName === "SCRIPT" && !one.src)).length);
  equal(inline, 0, "handlers, styles and scripts in the markup");
  const asset = /\/ui\/assets\/[0-9a-f]+\/app\.css/.exec(html)[0];
  const file = await fetch(ADMIN + asset);
  check(file.headers.get("cache-control").includes("immutable"), "files are kept");
  server.close();
}, [`--host-resolver-rules=MAP attacker.example 127.0.0.1`]);
