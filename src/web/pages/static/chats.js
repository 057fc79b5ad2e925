// Where conversations are kept: in this browser, or by the gateway. Each has an id, a title and
// messages; of those that the gateway keeps, the messages come once they are asked for. Several
// tabs may write to one conversation: a save names the version that it follows, and what another
// tab has written meanwhile is merged.
import { keyed, merge } from "./merge.js";

const MOST = 50;
const TRIES = 8;

const copied = (value) => JSON.parse(JSON.stringify(value));

export function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function titleOf(chat) {
  const first = chat.messages?.find((message) => message.role === "user")?.text;
  return (first ?? chat.title ?? "New chat").replace(/\s+/g, " ").slice(0, 80);
}

/** A conversation as it is stored. */
function bodyOf({ model, system, messages }) {
  return copied({ model, system, messages });
}

/** Takes over what was stored, as the version that the next save follows. */
function takeOver(chat, body, version) {
  const messages = keyed(body.messages);
  Object.assign(chat, { model: body.model, system: body.system, messages, version, base: bodyOf({ ...body, messages }) });
  return chat;
}

/**
 * Makes a conversation follow what another tab has stored. Returns what to tell the reader of:
 * `merged`, or `forked` where it goes on as a conversation of its own.
 */
function follow(chat, body, version) {
  const messages = keyed(body.messages);
  const both = merge(chat.base?.messages ?? [], chat.messages, messages);
  if (!both) {
    Object.assign(chat, { id: `chat-${random()}`, version: undefined, base: undefined });
    return "forked";
  }
  if (chat.system === chat.base?.system) chat.system = body.system;
  // The array may be in use.
  chat.messages.splice(0, chat.messages.length, ...both);
  Object.assign(chat, { version, base: bodyOf({ ...body, messages }) });
  return "merged";
}

/** Whether a conversation has more than it had when it was last stored. */
function hasMore(chat) {
  const known = new Map((chat.base?.messages ?? []).map((message) => [message.key, message.text]));
  return chat.messages.some((message) => known.get(message.key) !== message.text);
}

/** One that another tab has deleted: it is stored once more only if something was added. */
function deletedElsewhere(chat) {
  const again = hasMore(chat);
  Object.assign(chat, again ? { version: undefined, base: undefined } : { isGone: true });
  return again ? "returned" : "deleted";
}

/**
 * Keeps conversations in `place`, which reads one, replaces one of a version, and deletes one of
 * a version.
 */
function keeper(caller, pause, place) {
  const draftKey = `iris-draft:${encodeURIComponent(caller)}`;
  const save = async (chat) => {
    let what;
    for (let tries = 0; tries < TRIES; tries += 1) {
      const body = bodyOf(chat);
      const version = await place.put(chat, body);
      if (version) {
        Object.assign(chat, { version, base: body });
        return what;
      }
      const stored = await place.get(chat.id);
      what = stored ? follow(chat, stored.body, stored.version) : deletedElsewhere(chat);
      if (what === "deleted") return what;
    }
    throw new Error("other tabs change it all the time");
  };
  // One after the other; a save that waits takes what there is by then.
  let last = Promise.resolve();
  const waiting = new Map();
  return {
    pause,
    list: place.list,
    async whole(chat) {
      const stored = await place.get(chat.id);
      return stored ? takeOver(chat, stored.body, stored.version) : null;
    },
    keep(chat) {
      const queued = waiting.get(chat);
      if (queued) return queued;
      const done = last.catch(() => {}).then(() => {
        waiting.delete(chat);
        return save(chat);
      });
      waiting.set(chat, done);
      last = done;
      return done;
    },
    /** The page is being left: what is here is held by the tab for its reload, and stored if there is time. */
    leave(chat) {
      const body = bodyOf(chat);
      try {
        sessionStorage.setItem(draftKey, JSON.stringify({ id: chat.id, version: chat.version, ...body }));
      } catch {
        // Then what was saved last has to do.
      }
      place.put(chat, body, true).catch(() => {});
    },
    /** What this tab was writing when its page was left. */
    draft() {
      const found = parsed(sessionStorage.getItem(draftKey));
      return found && Array.isArray(found.messages) ? found : null;
    },
    /** It is stored. */
    forget: () => sessionStorage.removeItem(draftKey),
    async remove(chat) {
      await last.catch(() => {});
      for (let tries = 0; tries < TRIES; tries += 1) {
        // Exactly what is held here for an undo is deleted.
        if (await place.remove(chat)) return;
        const stored = await place.get(chat.id);
        if (!stored) return;
        takeOver(chat, stored.body, stored.version);
      }
      throw new Error("other tabs change it all the time");
    },
  };
}

function parsed(text) {
  try {
    return JSON.parse(text ?? "null");
  } catch {
    return null;
  }
}

/** The database of this browser; what two tabs do to it is done one after the other. */
function database() {
  return new Promise((done, failed) => {
    const request = indexedDB.open("iris-chats", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("chats", { keyPath: "key" });
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(new Error("this browser keeps nothing for this page"));
  });
}

/** In the browser; another person at the same one has conversations of their own. */
export function inBrowser(caller) {
  const prefix = `${encodeURIComponent(caller)}:`;
  const mine = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
  let opened;
  // Runs `work` in one transaction, which nothing else comes into; resolves with what it returns.
  const run = async (mode, work) => {
    opened ??= database();
    const transaction = (await opened).transaction("chats", mode);
    const ended = new Promise((done, failed) => {
      transaction.oncomplete = done;
      transaction.onabort = () => failed(transaction.error ?? new Error("it was not stored"));
    });
    const asked = (request) => new Promise((done, failed) => {
      request.onsuccess = () => done(request.result);
      request.onerror = () => failed(request.error);
    });
    const result = await work(transaction.objectStore("chats"), asked);
    await ended;
    return result;
  };
  const put = async (chat, body) => {
    const version = random();
    return run("readwrite", async (store, asked) => {
      const key = prefix + chat.id;
      const stored = await asked(store.get(key));
      if (stored?.version !== chat.version) return null;
      store.put({ key, id: chat.id, updated: Date.now(), version, body });
      const all = (await asked(store.getAll(mine))).sort((a, b) => b.updated - a.updated);
      for (const old of all.slice(MOST)) store.delete(old.key);
      return version;
    });
  };
  const dropOldest = () => run("readwrite", async (store, asked) => {
    const all = (await asked(store.getAll(mine))).sort((a, b) => b.updated - a.updated);
    if (all.length > 1) store.delete(all.at(-1).key);
    return all.length > 1;
  });
  return keeper(caller, 700, {
    async list() {
      const all = await run("readonly", (store, asked) => asked(store.getAll(mine)));
      return all.sort((a, b) => b.updated - a.updated)
        .map(({ id, body, version }) => takeOver({ id, title: titleOf(body) }, body, version));
    },
    get: (id) => run("readonly", (store, asked) => asked(store.get(prefix + id))),
    async put(chat, body) {
      for (;;) {
        try {
          return await put(chat, body);
        } catch (error) {
          // A full store gives up the oldest.
          if (error?.name !== "QuotaExceededError") throw error;
          if (!(await dropOldest())) throw new Error("this browser's storage is full");
        }
      }
    },
    remove: (chat) => run("readwrite", async (store, asked) => {
      const stored = await asked(store.get(prefix + chat.id));
      if (stored && stored.version !== chat.version) return false;
      store.delete(prefix + chat.id);
      return true;
    }),
  });
}

// What a browser still sends for a page that is gone.
const LAST_WORDS = 60_000;

/** At the gateway, which shows them to nobody else. */
export function atGateway(caller) {
  const address = (id) => `/api/chats/${encodeURIComponent(id)}`;
  const asked = async (method, path, body, headers = {}, keepalive = false) => {
    const type = body ? { "content-type": "application/json" } : {};
    const answer = await fetch(path, { method, headers: { ...type, ...headers }, body, keepalive });
    const read = await answer.json().catch(() => ({}));
    const why = read.error?.message ?? read.error ?? `the gateway answered with ${answer.status}`;
    return { ok: answer.ok, status: answer.status, read, why };
  };
  const orThrow = (answer) => {
    if (!answer.ok) throw new Error(answer.why);
    return answer.read;
  };
  const condition = (chat) => (chat.version ? { "if-match": `"${chat.version}"` } : { "if-none-match": "*" });
  return keeper(caller, 2000, {
    list: async () => orThrow(await asked("GET", "/api/chats")).chats,
    async get(id) {
      const answer = await asked("GET", address(id));
      return answer.status === 404 ? null : orThrow(answer);
    },
    async put(chat, body, isLast = false) {
      const text = JSON.stringify({ title: titleOf(chat), body });
      if (isLast && text.length > LAST_WORDS) return null;
      const answer = await asked("PUT", address(chat.id), text, condition(chat), isLast);
      return answer.status === 412 ? null : orThrow(answer).version;
    },
    async remove(chat) {
      const answer = await asked("DELETE", address(chat.id), undefined, chat.version ? { "if-match": `"${chat.version}"` } : {});
      if (answer.status === 412) return false;
      if (answer.status !== 404) orThrow(answer);
      return true;
    },
  });
}
