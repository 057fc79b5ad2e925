// Tells when a request of the program that is being set up has come.
import { make } from "./app.js";

const panel = document.querySelector("[data-agent]");
const since = Date.now();
const EVERY = 3000;
// A page that is left open asks no longer than this.
const PATIENCE = 30 * 60 * 1000;

async function newest() {
  const query = new URLSearchParams({ limit: "20", login: panel.dataset.login, from: new Date(since).toISOString() });
  const answer = await fetch(`/api/requests?${query}`);
  if (!answer.ok) return [];
  return (await answer.json()).requests;
}

function tell(request) {
  const wanted = panel.dataset.agent;
  const who = request.agent === wanted ? "" : ` It came from ${request.agent || "an unknown program"}.`;
  const good = request.outcome === "complete" && request.status < 400;
  panel.classList.add(good ? "done" : "failed");
  panel.querySelector("p").replaceChildren(
    make("span", { class: good ? "badge good" : "badge bad" }, good ? "✓ It works" : `✗ ${request.status}`),
    ` We have seen your request for ${request.model || request.model_requested || "a model"}. `,
    make("a", { href: `/ui/requests/${encodeURIComponent(request.id)}` }, "What happened to it"),
    `.${who}`,
  );
}

async function look() {
  if (Date.now() - since > PATIENCE) return;
  if (!document.hidden) {
    const requests = await newest().catch(() => []);
    const own = requests.find((request) => request.agent === panel.dataset.agent) ?? requests[0];
    if (own) tell(own);
    if (own?.agent === panel.dataset.agent && own.status < 400) return;
  }
  setTimeout(look, EVERY);
}

if (panel) {
  panel.querySelector("p").replaceChildren(make("span", { class: "dot" }), " Waiting for your first request…");
  look();
}
