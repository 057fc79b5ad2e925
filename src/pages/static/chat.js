// The chat: conversations, each turn asked of the gateway as any client would, and what it took and
// cost as the gateway's record has it.
import { announce, copy, make } from "./app.js";
import { atGateway, inBrowser, titleOf } from "./chats.js";
import { render } from "./markdown.js";
import { ask } from "./wire.js";

const box = document.getElementById("chat");
const { login, kept } = JSON.parse(box.dataset.known);

const $ = (selector) => box.querySelector(selector);
const picker = document.getElementById("chat-model");
const system = document.getElementById("chat-system");
const input = document.getElementById("chat-input");
const [history, list, composer, stopButton, total] =
  ["[data-history]", "[data-messages]", "[data-composer]", "[data-stop]", "[data-total]"].map($);

const keeper = kept ? atGateway() : inBrowser(login);
const keptNote = $("[data-kept]");
const keptWhere = keptNote.textContent;

let chats = [];
let chat = fresh();
let running = null;
let opening = null;

/** Keeps a conversation, and puts it first. */
function store(one = chat) {
  if (!one.messages.length || one.isGone) return;
  chats = [one, ...chats.filter((other) => other.id !== one.id)];
  keeper.keep(one, chats.filter((other) => other.messages?.length || other.title)).then(
    () => {
      keptNote.classList.remove("bad");
      keptNote.textContent = keptWhere;
    },
    (error) => {
      keptNote.classList.add("bad");
      keptNote.textContent = `This conversation is not kept: ${error.message}`;
      announce(keptNote.textContent);
    },
  );
}

function name() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `chat-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function fresh() {
  return { id: name(), model: picker.value, system: "", messages: [] };
}

function dollars(nano) {
  if (nano === 0) return "$0";
  const amount = nano / 1e9;
  return `$${amount >= 1 ? amount.toFixed(2) : amount >= 0.01 ? amount.toFixed(4) : amount.toFixed(6)}`;
}

function showHistory() {
  const items = chats.map((one) => {
    const open = make("button", { type: "button", class: "quiet open" }, titleOf(one));
    if (one.id === chat.id) open.setAttribute("aria-current", "true");
    open.addEventListener("click", () => show(one));
    const remove = make("button", { type: "button", class: "quiet", "aria-label": `Delete ${titleOf(one)}` }, "×");
    remove.addEventListener("click", () => {
      one.isGone = true;
      chats = chats.filter((other) => other.id !== one.id);
      keeper.remove(one, chats).catch((error) => announce(`It was not deleted: ${error.message}`));
      if (one.id === chat.id) show(fresh());
      else showHistory();
    });
    return make("li", {}, open, remove);
  });
  history.replaceChildren(...items);
}

function button(text, run, label = text) {
  const made = make("button", { type: "button", class: "quiet", "aria-label": label }, text);
  made.addEventListener("click", run);
  return made;
}

function usage(message) {
  const { record } = message;
  const parts = [message.model];
  if (record) {
    const { input_tokens: sent, output_tokens: got } = record.usage;
    if (sent !== null || got !== null) parts.push(`${sent ?? "?"} in, ${got ?? "?"} out`);
    parts.push(record.cost === null ? "no known price" : dollars(record.cost));
    parts.push(`${(record.duration_ms / 1000).toFixed(1)} s`);
  }
  if (message.ended && !["stop", "end_turn", "completed", "STOP"].includes(message.ended)) parts.push(message.ended);
  const line = make("p", { class: "usage" }, parts.filter(Boolean).join(" · "));
  if (message.id) line.append(" · ", make("a", { href: `/ui/requests/${encodeURIComponent(message.id)}` }, "record"));
  return line;
}

function item(message, nth) {
  const body = make("div", { class: "said" });
  const foot = make("div", { class: "message-foot" });
  const element = make("li", { class: `message ${message.role}` },
    make("p", { class: "hidden" }, message.role === "user" ? "You" : "The model"), body, foot);
  element.fill = () => {
    const nodes = [];
    if (message.thought) {
      nodes.push(make("details", { class: "thought" }, make("summary", {}, "Reasoning"), make("div", { class: "plain" }, message.thought)));
    }
    if (message.role === "user") nodes.push(make("div", { class: "plain" }, message.text));
    else nodes.push(...render(message.text));
    if (message.error) nodes.push(make("p", { class: "notice bad", role: "alert" }, message.error));
    body.replaceChildren(...nodes);
  };
  element.finish = () => {
    element.fill();
    const actions = message.role === "user"
      ? [button("Edit", () => edit(element, message, nth), "Edit this message")]
      : [button("Retry", () => retry(nth), "Retry this turn"),
        button("Copy", async (event) => {
          const done = await copy(message.text, body).catch(() => false);
          event.target.textContent = done ? "Copied" : "Press Ctrl C";
        }, "Copy this answer")];
    foot.replaceChildren(...(message.role === "user" ? [] : [usage(message)]), make("div", { class: "row-actions" }, ...actions));
  };
  element.finish();
  return element;
}

function edit(element, message, nth) {
  if (running) return;
  const area = make("textarea", { rows: "3", "aria-label": "Your message" });
  area.value = message.text;
  const form = make("form", { class: "edit-form" }, area,
    make("div", { class: "row-actions" }, make("button", { class: "primary", type: "submit" }, "Send again"),
      button("Cancel", () => element.finish())));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!area.value.trim()) return;
    chat.messages.length = nth;
    send(area.value.trim());
  });
  element.querySelector(".said").replaceChildren(form);
  element.querySelector(".message-foot").replaceChildren();
  area.focus();
}

function retry(nth) {
  if (running) return;
  chat.messages.length = nth;
  answer();
}

async function show(one) {
  running?.abort();
  opening = one;
  try {
    const whole = await keeper.whole(one);
    // Another one was asked for meanwhile.
    if (opening !== one) return;
    chat = whole;
  } catch (error) {
    announce(`The conversation can't be read: ${error.message}`);
    return;
  }
  system.value = chat.system ?? "";
  const known = [...picker.options].some((option) => option.value === chat.model);
  if (known) picker.value = chat.model;
  showMessages();
  showHistory();
  input.focus();
}

function showMessages() {
  list.replaceChildren(...chat.messages.map(item));
  if (!chat.messages.length) {
    list.append(make("li", { class: "nothing" }, make("p", { class: "lead" }, "Ask something."),
      make("p", {}, `You are ${login}. What you ask counts towards your usage and budgets.`)));
  }
  showTotal();
  list.scrollTop = list.scrollHeight;
}

function showTotal() {
  const costs = chat.messages.map((message) => message.record?.cost).filter((cost) => typeof cost === "number");
  const sum = costs.reduce((all, cost) => all + cost, 0);
  total.textContent = costs.length ? `This conversation: ${dollars(sum)}` : "";
}

/** The record is written when the answer has ended; that takes a moment. */
async function record(id) {
  for (const wait of [50, 150, 400, 1000, 2000]) {
    await new Promise((done) => setTimeout(done, wait));
    const found = await fetch(`/api/requests/${encodeURIComponent(id)}`);
    if (found.ok) return found.json();
  }
  return null;
}

async function answer() {
  const option = picker.selectedOptions[0];
  chat.model = picker.value;
  chat.system = system.value.trim();
  const mine = chat;
  const sent = mine.messages.filter((message) => !message.error || message.text).map(({ role, text }) => ({ role, text }));
  const message = { role: "assistant", text: "", model: option.textContent };
  mine.messages.push(message);
  showMessages();
  const element = list.lastElementChild;
  element.classList.add("running");
  running = new AbortController();
  const { signal } = running;
  stopButton.hidden = false;
  let frame = 0;
  const paint = () => {
    frame = 0;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    element.fill();
    if (atEnd) list.scrollTop = list.scrollHeight;
  };
  try {
    message.ended = await ask({
      format: option.dataset.format, model: option.value, messages: sent, system: mine.system, session: mine.id, signal,
      onId: (id) => { message.id = id; },
      onPiece: ({ text, thought }) => {
        message.text += text ?? "";
        if (thought) message.thought = (message.thought ?? "") + thought;
        frame ||= requestAnimationFrame(paint);
      },
    });
  } catch (error) {
    if (signal.aborted) message.ended = "stopped";
    else message.error = error.message;
  }
  cancelAnimationFrame(frame);
  element.classList.remove("running");
  stopButton.hidden = true;
  running = null;
  element.finish();
  announce(message.error ? `It failed: ${message.error}` : "The answer is there");
  store(mine);
  showHistory();
  if (!message.id) return;
  const found = await record(message.id).catch(() => null);
  if (!found) return;
  message.record = { usage: found.usage, cost: found.cost, duration_ms: found.duration_ms };
  element.finish();
  store(mine);
  if (chat === mine) {
    showTotal();
    list.scrollTop = list.scrollHeight;
  }
}

function send(text) {
  // Loaded again, the page goes on with this conversation.
  window.history.replaceState(null, "", "/ui/chat");
  chat.messages.push({ role: "user", text });
  store();
  answer();
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (!text || running) return;
  input.value = "";
  send(text);
});
input.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    composer.requestSubmit();
  }
});
stopButton.addEventListener("click", () => running?.abort());
box.querySelector("[data-new]").addEventListener("click", () => show(fresh()));

box.hidden = false;
const wanted = new URLSearchParams(location.search).has("model");
show(chat);
keeper.list().then((all) => {
  // Something may have been asked meanwhile.
  const known = new Set(chats.map((one) => one.id));
  chats = [...chats, ...all.filter((one) => !known.has(one.id))];
  if (chats.length && !wanted && !chat.messages.length && !input.value) show(chats[0]);
  else showHistory();
}, (error) => announce(`Conversations can't be read: ${error.message}`));
