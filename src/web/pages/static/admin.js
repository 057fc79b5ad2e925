// What admins do from a page: sent through the API as JSON, as a program would.
import { announce, make } from "./app.js";

/** Sends JSON; the answer's own words where it refuses. */
export async function send(method, address, body, headers = {}, signal = undefined) {
  const answer = await fetch(address, {
    method, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body), signal,
  });
  const text = await answer.text();
  let read = {};
  try {
    read = JSON.parse(text);
  } catch {
    // Not every refusal is JSON.
  }
  const why = read.detail ?? read.error?.message ?? read.error ?? `${answer.status} ${text.slice(0, 300)}`;
  return { ok: answer.ok, status: answer.status, read, why, tag: answer.headers.get("etag") };
}

for (const form of document.querySelectorAll("[data-refill]")) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const amount = new FormData(form).get("amount");
    const { ok, why } = await send("POST", "/api/quotas/refill", { bucket: form.dataset.refill, amount });
    if (ok) {
      location.reload();
      return;
    }
    form.querySelector(".bad")?.remove();
    form.append(make("p", { class: "bad" }, why));
    announce(why);
  });
}

for (const box of document.querySelectorAll("[data-add-provider]")) {
  const button = box.querySelector("button");
  const state = box.querySelector("[data-state]");
  box.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    state.textContent = "Adding…";
    const { ok, read, why } = await send("POST", "/api/discover", { baseurl: box.dataset.addProvider },
      { "if-match": `"${box.dataset.tag}"` });
    state.className = ok ? "good" : "bad";
    state.textContent = ok ? `added as ${read.provider}` : why;
    button.hidden = ok;
    button.disabled = false;
    announce(state.textContent);
    if (!ok) return;
    // The next one changes what this one has saved.
    for (const other of document.querySelectorAll("[data-add-provider]")) other.dataset.tag = read.hash;
  });
}
