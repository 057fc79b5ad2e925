// Keeps a page up to date: when the gateway tells that there are new records, the page is asked for
// once more and its content takes the place of the old one.
import { announce, make } from "./app.js";

const PAUSE = 3000;
// A page that takes long to make is asked for seldom.
const REST = 10;
const main = document.querySelector("main[data-live]");
let source = null;
let timer = 0;
let asked = 0;
let pause = PAUSE;

/** A page as a document; nothing in it runs. */
function load(address) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("GET", address);
    request.responseType = "document";
    request.onload = () => (request.status === 200 ? done(request.responseXML) : failed(new Error(String(request.status))));
    request.onerror = () => failed(new Error("no answer"));
    request.send();
  });
}

function marked(element) {
  for (const details of element.querySelectorAll("details")) details.dataset.was = details.open;
}

/** Whether the page is being read or written to, and should not be replaced. */
function inUse() {
  const selection = getSelection();
  return (main.contains(document.activeElement) && document.activeElement !== main)
    || (!selection.isCollapsed && main.contains(selection.anchorNode))
    || [...main.querySelectorAll("details")].some((details) => String(details.open) !== details.dataset.was);
}

async function update() {
  const begun = Date.now();
  const page = await load(location.href).catch(() => null);
  pause = Math.max(PAUSE, REST * (Date.now() - begun));
  const next = page?.querySelector("main[data-live]");
  if (!next) return;
  const sideways = [...main.querySelectorAll("*")].filter((element) => element.scrollLeft > 0).length;
  if (sideways) return offer();
  main.replaceChildren(...[...next.childNodes].map((node) => document.importNode(node, true)));
  marked(main);
  main.dispatchEvent(new CustomEvent("renewed", { bubbles: true }));
}

function offer() {
  if (main.querySelector("[data-renew]")) return;
  const button = make("button", { type: "button", "data-renew": "" }, "Show what is new");
  button.addEventListener("click", () => { location.reload(); });
  main.querySelector(".actions").append(button);
  announce("There is something new");
}

function soon() {
  if (timer) return;
  timer = setTimeout(() => {
    timer = 0;
    asked = Date.now();
    if (inUse()) offer();
    else update();
  }, Math.max(0, asked + pause - Date.now()));
}

// A browser has few connections to one gateway: a page that nobody sees holds none.
function follow() {
  if (document.hidden) {
    source?.close();
    source = null;
  } else if (!source) {
    const isBack = asked > 0;
    asked = Date.now();
    source = new EventSource("/api/events");
    source.addEventListener("records", soon);
    if (isBack) soon();
  }
}

if (main) {
  marked(main);
  document.addEventListener("visibilitychange", follow);
  follow();
}
