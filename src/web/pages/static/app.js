// What every page has: the switch of the theme, buttons that copy, and the command palette.
// Text from anywhere becomes text: nodes are made one by one.

/** An element with properties and children, of which strings are text. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") element.className = value;
    else if (key in element && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** Says something to those who don't see it happen. */
export function announce(text) {
  let live = document.getElementById("live");
  if (!live) {
    live = make("div", { id: "live", class: "hidden", "aria-live": "polite" });
    document.body.append(live);
  }
  live.textContent = text;
}

function themeSwitch() {
  const button = document.querySelector("[data-theme-switch]");
  if (!button) return;
  const root = document.documentElement;
  const names = ["system", "light", "dark"];
  const shown = () => {
    const theme = root.dataset.theme ?? "system";
    button.textContent = `Theme: ${theme}`;
    return theme;
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = names[(names.indexOf(shown()) + 1) % names.length];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("iris-theme", next);
    } catch {
      // Then it holds for this page.
    }
    announce(`Theme: ${shown()}`);
  });
  shown();
}

/** Copies where the clipboard may be used; over plain HTTP only selecting is left. */
export async function copy(text, source) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return true;
  }
  const selection = getSelection();
  selection.selectAllChildren(source);
  const done = document.execCommand("copy");
  if (done) selection.removeAllRanges();
  return done;
}

function copyButtons() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const code = button.closest(".code").querySelector("pre code, pre");
    const done = await copy(code.textContent, code).catch(() => false);
    const before = button.firstChild.textContent;
    button.firstChild.textContent = done ? "Copied" : "Press Ctrl C";
    announce(done ? "Copied" : "Selected");
    setTimeout(() => { button.firstChild.textContent = before; }, 1500);
  });
}

function palette() {
  const opener = document.querySelector("[data-palette]");
  if (!opener) return;
  const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent);
  opener.querySelector("[data-palette-key]").textContent = isMac ? "⌘ K" : "Ctrl K";
  opener.hidden = false;
  const pages = [...document.querySelectorAll("nav.menu li a")].map((link) => ({
    name: link.textContent.trim(), kind: "Page", address: link.getAttribute("href"),
  }));
  let found = pages;
  let dialog;
  let chosen = 0;
  let shown = [];

  const load = async () => {
    const json = async (address) => {
      const answer = await fetch(address, { headers: { accept: "application/json" } });
      return answer.ok ? answer.json() : {};
    };
    const [models, sessions] = await Promise.all([
      json("/v1/models"), json("/api/sessions?limit=50"),
    ]);
    const query = (pairs) => new URLSearchParams(pairs).toString();
    found = [
      ...pages,
      ...(models.data ?? []).map((model) => ({
        name: `${model.owned_by}/${model.id}`, kind: "Model",
        address: `/ui/requests?${query({ model: model.id, provider: model.owned_by })}`,
      })),
      ...(sessions.sessions ?? []).map((session) => ({
        name: [session.login, session.agent, session.id].filter(Boolean).join(" · "), kind: "Session",
        address: `/ui/sessions/one?${query({ login: session.login, session: session.id })}`,
      })),
    ];
  };

  const go = (entry) => { if (entry) location.assign(entry.address); };

  const build = () => {
    const list = make("ul", { id: "palette-list", role: "listbox", "aria-label": "Where to go" });
    const input = make("input", {
      type: "text", role: "combobox", "aria-label": "Go to a page, a model or a session",
      "aria-controls": "palette-list", "aria-expanded": "true", "aria-autocomplete": "list",
      placeholder: "Go to a page, a model or a session", autocomplete: "off", spellcheck: "false",
    });
    const none = make("p", {}, "Nothing has this name.");
    const mark = () => {
      [...list.children].forEach((item, nth) => {
        item.setAttribute("aria-selected", String(nth === chosen));
        if (nth === chosen) {
          input.setAttribute("aria-activedescendant", item.id);
          item.scrollIntoView({ block: "nearest" });
        }
      });
    };
    const fill = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      shown = found.filter((entry) => {
        const text = `${entry.name} ${entry.kind}`.toLowerCase();
        return words.every((word) => text.includes(word));
      }).slice(0, 40);
      chosen = 0;
      list.replaceChildren(...shown.map((entry, nth) => {
        const item = make("li", { id: `palette-${nth}`, role: "option" },
          make("span", {}, entry.name), make("span", { class: "kind" }, entry.kind));
        item.addEventListener("click", () => go(entry));
        return item;
      }));
      none.hidden = shown.length > 0;
      mark();
    };
    input.addEventListener("input", fill);
    input.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step && shown.length) {
        chosen = (chosen + step + shown.length) % shown.length;
        mark();
        event.preventDefault();
      } else if (event.key === "Enter") {
        go(shown[chosen]);
        event.preventDefault();
      }
    });
    dialog = make("dialog", { class: "palette-box", "aria-label": "Go to" }, input, list, none);
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    document.body.append(dialog);
    return { input, fill };
  };

  let parts;
  const open = () => {
    parts ??= build();
    parts.input.value = "";
    parts.fill();
    dialog.showModal();
    parts.input.focus();
    load().then(() => { if (dialog.open) parts.fill(); }, () => {});
  };
  opener.addEventListener("click", open);
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      if (dialog?.open) dialog.close();
      else open();
    }
  });
}

/** Addresses of this gateway, as this browser reaches it: a proxy or a forwarded port has another. */
function ownAddress() {
  const told = document.body.dataset.origin;
  if (!told || told === location.origin) return;
  const name = new RegExp(`${told.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?![\\w.:-])`, "g");
  for (const code of document.querySelectorAll("main code")) {
    const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) walker.currentNode.data = walker.currentNode.data.replace(name, () => location.origin);
  }
}

themeSwitch();
ownAddress();
document.addEventListener("renewed", ownAddress);
copyButtons();
palette();
