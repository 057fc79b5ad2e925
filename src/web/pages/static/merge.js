// Two versions of a conversation that began as one: what each tab has added stays, in an order
// that can be read.

const text = (value) => JSON.stringify(value);

/** Gives every message a name; those of older versions are called by their place. */
export function keyed(messages) {
  return (Array.isArray(messages) ? messages : []).filter((one) => one && typeof one === "object")
    .map((message, nth) => ({ ...message, key: String(message.key ?? `m${nth}`), text: String(message.text ?? "") }));
}

/** Puts a message where it belongs: an answer stands under its question. */
function place(all, message) {
  const question = message.to ? all.findIndex((other) => other.key === message.to) : -1;
  if (question < 0) all.push(message);
  else all.splice(question + 1, 0, message);
}

/**
 * The messages of `mine` and `theirs`, which both began as `base`. Messages of `mine` stay the
 * objects that they are. `null` where one side has taken back what the other went on from: then
 * both versions have to be kept.
 */
export function merge(base, mine, theirs) {
  const before = new Map(base.map((message) => [message.key, text(message)]));
  const own = new Map(mine.map((message) => [message.key, message]));
  const taken = base.some((message) => !own.has(message.key));
  const seen = new Set(theirs.map((message) => message.key));
  if (taken) {
    const same = theirs.length === base.length && base.every((message) => seen.has(message.key));
    return same ? mine : null;
  }
  const all = theirs.map((their) => {
    const message = own.get(their.key);
    if (!message) return their;
    // What only they have changed is theirs.
    if (text(message) === before.get(their.key)) {
      for (const name of Object.keys(message)) delete message[name];
      Object.assign(message, their);
    }
    return message;
  });
  // A message of the base that they have taken back stays away.
  for (const message of mine) {
    if (!seen.has(message.key) && !before.has(message.key)) place(all, message);
  }
  return all;
}

/** What was being written when a page was left, and what is stored: the longer of each message. */
export function union(stored, draft) {
  const own = new Map(draft.map((message) => [message.key, message]));
  const all = stored.map((message) => {
    const other = own.get(message.key);
    return other && (other.text ?? "").length >= (message.text ?? "").length ? other : message;
  });
  const seen = new Set(stored.map((message) => message.key));
  for (const message of draft) if (!seen.has(message.key)) place(all, message);
  return all;
}
