// Where conversations are kept: in this browser, or by the gateway. Each has an id, a title and
// messages; of those that the gateway keeps, the messages come once they are asked for.
const MOST = 50;

export function titleOf(chat) {
  const first = chat.messages?.find((message) => message.role === "user")?.text;
  return (first ?? chat.title ?? "New chat").replace(/\s+/g, " ").slice(0, 80);
}

/** In the browser; another person at the same one has conversations of their own. */
export function inBrowser(login) {
  const key = `iris-chats:${login}`;
  const put = (chats) => localStorage.setItem(key, JSON.stringify(chats));
  const read = () => {
    try {
      const all = JSON.parse(localStorage.getItem(key) ?? "[]");
      return Array.isArray(all) ? all.filter((one) => one && Array.isArray(one.messages)) : [];
    } catch {
      return [];
    }
  };
  return {
    list: async () => read(),
    whole: async (chat) => chat,
    async keep(chat, chats) {
      const all = chats.slice(0, MOST);
      // A full store gives up the oldest.
      for (let count = all.length; count > 0; count -= 1) {
        try {
          put(all.slice(0, count));
          return;
        } catch {
          // Tried again with one less.
        }
      }
    },
    async remove(chat, chats) {
      put(chats);
    },
  };
}

/** At the gateway, which shows them to nobody else. */
export function atGateway() {
  const address = (id) => `/api/chats/${encodeURIComponent(id)}`;
  const asked = async (method, path, body) => {
    const answer = await fetch(path, {
      method, ...(body ? { headers: { "content-type": "application/json" }, body: JSON.stringify(body) } : {}),
    });
    const read = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(read.error?.message ?? read.error ?? `the gateway answered with ${answer.status}`);
    return read;
  };
  // One after the other, so that what was kept last is what stays.
  let last = Promise.resolve();
  return {
    list: async () => (await asked("GET", "/api/chats")).chats,
    async whole(chat) {
      if (chat.messages) return chat;
      const { body } = await asked("GET", address(chat.id));
      const { model, system, messages } = body;
      return Object.assign(chat, { model, system, messages: Array.isArray(messages) ? messages : [] });
    },
    keep(chat) {
      const { id, model, system, messages } = chat;
      const body = { title: titleOf(chat), body: JSON.parse(JSON.stringify({ model, system, messages })) };
      last = last.catch(() => {}).then(() => asked("PUT", address(id), body));
      return last;
    },
    remove: (chat) => asked("DELETE", address(chat.id)),
  };
}
