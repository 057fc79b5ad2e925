// The chat: conversations, each turn asked of the gateway as any client would, and what it took and
// cost as the gateway's record has it.
import { announce, make } from "./app.js";
import { atGateway, inBrowser, random, titleOf } from "./chats.js";
import { union } from "./merge.js";
import { button, dollars, element, isWrittenElsewhere, settle, spoken } from "./message.js";
import { ask } from "./wire.js";

const box = document.getElementById("chat");
const { login, caller, kept } = JSON.parse(box.dataset.known);

const $ = (selector) => box.querySelector(selector);
const picker = document.getElementById("chat-model");
const system = document.getElementById("chat-system");
const input = document.getElementById("chat-input");
const [history, list, composer, stopButton, total, note, undos] =
  ["[data-history]", "[data-messages]", "[data-composer]", "[data-stop]", "[data-total]", "[data-note]", "[data-undo]"].map($);

const keeper = kept ? atGateway(caller) : inBrowser(caller);
const keptNote = $("[data-kept]");
const keptWhere = keptNote.textContent;
// Other tabs of this browser hear of what is saved, and are heard.
const tabs = new BroadcastChannel(`iris-chats:${caller}`);
// How long a deletion can be undone.
const UNDO = 10_000;
// Before a message that another tab writes is looked for again.
const LOOK = 3000;

let chats = [];
let chat = fresh();
let running = null;
let opening = null;
let leaving = false;

const TOLD = {
  merged: "This conversation was changed in another tab as well; its messages are shown together.",
  forked: "This conversation was changed in another tab as well. Your version goes on here; the other one is in the list.",
  deleted: "This conversation was deleted in another tab.",
  returned: "This conversation had been deleted in another tab. It is kept again, because you went on with it.",
};

function tell(words) {
  note.textContent = words;
  note.hidden = !words;
}

/** Keeps a conversation, and puts it first. */
async function store(one = chat) {
  if (!one.messages.length || one.isGone) return;
  chats = [one, ...chats.filter((other) => other.id !== one.id)];
  one.unsaved = true;
  one.saving = keeper.keep(one);
  try {
    const what = await one.saving;
    one.unsaved = false;
    keptNote.classList.remove("bad");
    keptNote.textContent = keptWhere;
    tabs.postMessage({ id: one.id });
    if (what) await changedElsewhere(one, what);
  } catch (error) {
    keptNote.classList.add("bad");
    keptNote.textContent = `This conversation is not kept: ${error.message}`;
    announce(keptNote.textContent);
  }
}

/** A save has met what another tab did. */
async function changedElsewhere(one, what) {
  if (what === "deleted") chats = chats.filter((other) => other !== one);
  if (what === "forked") await refresh();
  if (one === chat) {
    tell(TOLD[what]);
    if (what === "deleted" && !running) await show(fresh(), TOLD[what]);
    else showMessages(false);
  }
  showHistory();
}

function fresh() {
  return { id: `chat-${random()}`, model: picker.value, system: "", messages: [] };
}

async function remove(one) {
  if (one === chat) running?.abort();
  try {
    // All of it is held here, so that it can be put back.
    await one.saving?.catch(() => {});
    if (!one.messages && !(await keeper.whole(one))) throw new Error("it is not there any more");
    one.isGone = true;
    await keeper.remove(one);
  } catch (error) {
    one.isGone = false;
    tell(`“${titleOf(one)}” was not deleted: ${error.message}`);
    return;
  }
  chats = chats.filter((other) => other.id !== one.id);
  tabs.postMessage({ id: one.id });
  if (one === chat) await show(fresh());
  else showHistory();
  offerUndo(one);
}

function offerUndo(one) {
  const bar = make("p", { class: "undo" }, make("span", {}, `Deleted “${titleOf(one)}”`));
  const back = button("Undo", async () => {
    clearTimeout(timer);
    bar.remove();
    Object.assign(one, { isGone: false, version: undefined, base: undefined });
    await store(one);
    if (chat.messages.length) showHistory();
    else await show(one);
  }, `Undo deleting ${titleOf(one)}`);
  bar.append(back);
  undos.append(bar);
  announce(`Deleted ${titleOf(one)}. Undo is possible for ${UNDO / 1000} seconds.`);
  const timer = setTimeout(() => bar.remove(), UNDO);
}

function showHistory() {
  const items = chats.map((one) => {
    const open = make("button", { type: "button", class: "quiet open", title: titleOf(one) }, titleOf(one));
    if (one.id === chat.id) open.setAttribute("aria-current", "true");
    open.addEventListener("click", () => show(one));
    const gone = button("×", () => remove(one), `Delete ${titleOf(one)}`);
    return make("li", {}, open, gone);
  });
  history.replaceChildren(...items);
}

/** What the buttons of a message do. */
const what = {
  chat: () => chat,
  isBusy: () => Boolean(running),
  isWriting: (message) => running?.message === message,
  send,
  replace(message, text) {
    cutAt(message);
    send(text);
  },
  retry(message) {
    if (running) return;
    cutAt(message);
    const question = chat.messages.at(-1);
    if (question?.role !== "user") return;
    delete question.out;
    answer();
    store();
  },
  leaveOut(message, isOut) {
    message.out = isOut;
    showMessages(false);
    store();
  },
};

function cutAt(message) {
  const nth = chat.messages.findIndex((other) => other.key === message.key);
  if (nth >= 0) chat.messages.length = nth;
}

async function show(one, words = "") {
  if (running?.mine === one) return;
  running?.abort();
  opening = one;
  try {
    await one.saving?.catch(() => {});
    const isKept = one.version || !one.messages;
    const found = isKept && !one.unsaved ? await keeper.whole(one) : one;
    // Another one was asked for meanwhile.
    if (opening !== one) return;
    if (!found) {
      chats = chats.filter((other) => other !== one);
      showHistory();
      tell(TOLD.deleted);
      return;
    }
    chat = found;
  } catch (error) {
    tell(`The conversation can't be read: ${error.message}`);
    return;
  }
  tell(words);
  system.value = chat.system ?? "";
  const known = [...picker.options].some((option) => option.value === chat.model);
  if (known) picker.value = chat.model;
  elements.clear();
  list.replaceChildren();
  showMessages();
  showHistory();
  complete();
  input.focus();
}

/** The element of each message that is shown, by the message's key. */
const elements = new Map();

/** Shows the messages; those that are there already stay as a reader has them. */
function showMessages(toEnd = true) {
  if (!running) chat.messages.forEach(settle);
  const known = new Set(chat.messages.map((message) => message.key));
  for (const [key, one] of elements) {
    if (known.has(key)) continue;
    one.remove();
    elements.delete(key);
  }
  list.querySelector(".nothing")?.remove();
  let next = list.firstElementChild;
  for (const message of chat.messages) {
    let one = elements.get(message.key);
    if (!one) {
      one = element(message, what);
      elements.set(message.key, one);
    }
    if (next === one) next = one.nextElementSibling;
    else list.insertBefore(one, next);
    if (running?.message === message) {
      one.message = message;
      one.fill();
    } else {
      one.update(message);
    }
  }
  if (!chat.messages.length) {
    list.append(make("li", { class: "nothing" }, make("p", { class: "lead" }, "Ask something."),
      make("p", {}, `You are ${login}. What you ask counts towards your usage and budgets.`)));
  }
  showTotal();
  if (toEnd) list.scrollTop = list.scrollHeight;
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

/** Adds what a message took and cost. */
async function addRecord(mine, message) {
  if (!message.id || message.record) return;
  const found = await record(message.id).catch(() => null);
  // It may have been taken over from another tab meanwhile.
  const now = mine.messages.find((other) => other.key === message.key);
  if (!found || !now || now.record) return;
  now.record = { usage: found.usage, cost: found.cost, duration_ms: found.duration_ms };
  store(mine);
  if (chat !== mine) return;
  const atEnd = isAtEnd();
  showMessages(atEnd);
}

/** Of an answer that was interrupted, the record; one that another tab writes is waited for. */
function complete() {
  const mine = chat;
  const last = mine.messages.at(-1);
  if (last?.ended === "interrupted") addRecord(mine, last);
  if (!last || !isWrittenElsewhere(last)) return;
  setTimeout(() => { if (chat === mine && !running) look(mine); }, LOOK);
}

/** Takes over what another tab has saved of the conversation that is shown. */
async function look(mine) {
  const { version } = mine;
  if (mine.unsaved || running || !version) return;
  const found = await keeper.whole({ id: mine.id }).catch(() => mine);
  if (chat !== mine || running || mine.unsaved || mine.version !== version || found === mine) return;
  if (!found) {
    chats = chats.filter((other) => other !== mine);
    await show(fresh(), TOLD.deleted);
    return;
  }
  Object.assign(mine, found);
  showMessages(isAtEnd());
  complete();
}

const isAtEnd = () => list.scrollHeight - list.scrollTop - list.clientHeight < 80;

async function answer() {
  const option = picker.selectedOptions[0];
  chat.model = picker.value;
  chat.system = system.value.trim();
  tell("");
  const mine = chat;
  const sent = spoken(mine.messages);
  const question = mine.messages.at(-1);
  const message = { key: random(), to: question.key, role: "assistant", text: "", model: option.textContent, at: Date.now() };
  mine.messages.push(message);
  const control = new AbortController();
  const { signal } = control;
  running = { mine, message, abort: () => control.abort() };
  const me = running;
  showMessages();
  const shown = elements.get(message.key);
  shown.classList.add("running");
  stopButton.hidden = false;
  let frame = 0;
  let saved = Date.now();
  const paint = () => {
    frame = 0;
    const atEnd = isAtEnd();
    shown.fill();
    if (atEnd) list.scrollTop = list.scrollHeight;
    // What has come is kept, in case the page is left.
    if (Date.now() - saved > keeper.pause) {
      saved = Date.now();
      message.at = saved;
      store(mine);
    }
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
    if (leaving) return;
    if (signal.aborted) message.ended = "stopped";
    else message.error = error.message;
  }
  cancelAnimationFrame(frame);
  delete message.at;
  shown.classList.remove("running");
  if (running === me) {
    running = null;
    stopButton.hidden = true;
  }
  if (chat === mine) showMessages(isAtEnd());
  announce(message.error ? `It failed: ${message.error}` : "The answer is there");
  await store(mine);
  showHistory();
  await addRecord(mine, message);
}

function send(text) {
  if (running) return;
  // Loaded again, the page goes on with this conversation.
  window.history.replaceState(null, "", "/ui/chat");
  chat.messages.push({ key: random(), role: "user", text });
  answer();
  store();
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

// A page that is left while an answer comes: what has come is kept, as interrupted.
addEventListener("pagehide", () => {
  if (!running) return;
  leaving = true;
  const { mine, message } = running;
  delete message.at;
  message.ended = "interrupted";
  keeper.leave(mine);
});
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

/** The list as it is stored; conversations that are open here stay the objects that they are. */
async function refresh() {
  const all = await keeper.list();
  const here = new Map(chats.map((one) => [one.id, one]));
  const listed = new Set(all.map((one) => one.id));
  const unsaved = chats.filter((one) => one.unsaved && !listed.has(one.id));
  chats = [...unsaved, ...all.map((one) => {
    const mine = here.get(one.id);
    if (!mine) return one;
    if (mine !== chat && !mine.unsaved) Object.assign(mine, one);
    return mine;
  })];
  showHistory();
}

tabs.addEventListener("message", () => {
  refresh().catch(() => {});
  look(chat);
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  refresh().catch(() => {});
  look(chat);
});

/** What this tab was writing when its page was left. */
async function restored() {
  const draft = keeper.draft();
  if (!draft) return null;
  const stored = await keeper.whole({ id: draft.id });
  if (!stored) return { ...draft, version: undefined };
  stored.messages = union(stored.messages, draft.messages);
  return stored;
}

async function begin() {
  const wanted = new URLSearchParams(location.search).has("model");
  await show(chat);
  const draft = await restored().catch(() => null);
  await refresh();
  if (draft) {
    await store(draft);
    if (!draft.unsaved) keeper.forget();
    showHistory();
  }
  // Something may have been asked meanwhile.
  if (wanted || chat.messages.length || input.value) return;
  if (chats.length) await show(chats[0]);
}

box.hidden = false;
begin().catch((error) => tell(`Conversations can't be read: ${error.message}`));
