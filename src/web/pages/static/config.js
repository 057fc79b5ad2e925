// The editor of the configuration: problems of a text as it is typed, whom it would affect, and
// saving it.
import { announce, make } from "./app.js";
import { send } from "./admin.js";

function diff(text) {
  if (!text) return make("p", { class: "unknown" }, "Nothing has changed.");
  const kinds = { "+": "add", "-": "del", "@": "at" };
  const lines = text.replace(/\n$/, "").split("\n").map((line) => {
    const kind = /^(---|\+\+\+) /.test(line) ? "" : kinds[line[0]];
    return kind ? make("span", { class: kind }, `${line}\n`) : `${line}\n`;
  });
  return make("pre", { class: "diff", tabindex: "0", role: "region", "aria-label": "Changes" }, ...lines);
}

function whom(callers, note) {
  const names = (models) => make("td", { class: "wrap" }, ...models.flatMap((model) => [make("code", {}, model), " "]));
  const head = ["Who", "Role", "Gains", "Loses"].map((name) => make("th", { scope: "col" }, name));
  const rows = callers.map((one) => make("tr", {},
    make("th", { scope: "row" }, one.caller),
    make("td", {}, one.role_before === one.role_after
      ? one.role_after ?? "none" : `${one.role_before ?? "none"} → ${one.role_after ?? "none"}`),
    names(one.gains), names(one.loses)));
  const table = callers.length
    ? make("div", { class: "table", role: "region", "aria-label": "Who is affected", tabindex: "0" },
      make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)))
    : make("p", {}, "Nobody gains or loses anything.");
  return make("section", {}, make("h2", {}, "Who is affected"), table,
    note ? make("p", { class: "under" }, note) : "");
}

const takes = (keys) => `${keys.join(", ")} ${keys.length === 1 ? "takes" : "take"} effect at the next restart`;

/** What to know before a save: which access it takes away, and what takes effect only after a restart. */
function consequences({ findings = [], loses_admin: losesAdmin, restart = [] }) {
  const notice = (tone, ...words) => make("p", { class: `notice ${tone}`, role: "note" }, ...words);
  const lockout = findings.find((one) => one.severity === "error" && one.path === "grants");
  return [
    ...(losesAdmin ? [notice("bad", make("strong", {}, "A save will be refused: "), `${lockout?.message ?? "it would take the role admin from you"}. `,
      "Keep a grant that makes you an admin, or edit the file on the machine itself.")] : []),
    ...findings.filter((one) => one !== lockout && one.severity !== "note")
      .map((one) => notice(one.severity === "error" ? "bad" : "warn", one.line ? `Line ${one.line}: ` : "", one.message)),
    ...(restart.length ? [notice("", `${takes(restart)}; everything else at once.`)] : []),
  ];
}

/** Asks before a save that takes something from the reader. */
function agrees({ warnings = [] }) {
  return !warnings.length || confirm(`${warnings.join("\n\n")}\n\nSave it all the same?`);
}

function editor(box) {
  const text = box.querySelector("textarea");
  const lines = box.querySelector("[data-lines]");
  const state = box.querySelector("[data-state]");
  const findings = box.querySelector("[data-findings]");
  const result = box.querySelector("[data-result]");
  const review = box.querySelector("[data-review]");
  const save = box.querySelector("[data-save]");
  let saved = text.value;
  let tag = box.dataset.tag;
  let timer;
  let running;
  let checked = {};

  let numbered = 0;
  // Most changes add no line: ten thousand numbers are not written and laid out for each of them.
  const number = () => {
    let count = 1;
    for (let at = text.value.indexOf("\n"); at >= 0; at = text.value.indexOf("\n", at + 1)) count += 1;
    if (count === numbered) return;
    numbered = count;
    lines.textContent = Array.from({ length: count }, (_, nth) => nth + 1).join("\n");
    lines.scrollTop = text.scrollTop;
  };
  const show = (words, bad = false) => {
    state.textContent = words;
    state.className = bad ? "bad" : "note";
  };
  const goTo = (line) => {
    const before = text.value.split("\n").slice(0, line - 1).join("\n").length;
    text.focus();
    text.setSelectionRange(before + (line > 1 ? 1 : 0), before + (line > 1 ? 1 : 0));
  };
  const list = (errors) => {
    findings.replaceChildren(...errors.map((error) => {
      const line = /\bline (\d+)|^(\d+):/.exec(error);
      const item = make("li", {}, error);
      if (line) {
        const button = make("button", { type: "button", class: "quiet" }, "Show");
        button.addEventListener("click", () => goTo(Number(line[1] ?? line[2])));
        item.append(" ", button);
      }
      return item;
    }));
  };
  const validate = async () => {
    const mine = new AbortController();
    running = mine;
    let answer;
    try {
      answer = await send("POST", "/aperture/config:validate", { config: text.value }, {}, mine.signal);
    } catch (error) {
      // A later change has overtaken this check.
      if (mine.signal.aborted) return;
      answer = { ok: false, why: `The check failed: ${error.message}` };
    }
    if (mine.signal.aborted) return;
    const { ok, read, why } = answer;
    if (!ok) {
      show(why, true);
      return;
    }
    checked = read;
    const changed = text.value !== saved;
    list([...(read.errors ?? []), ...(changed ? read.warnings ?? [] : [])]);
    const count = read.errors?.length ?? 0;
    if (!read.valid) show(`${count} ${count === 1 ? "problem" : "problems"}`, true);
    else if (changed && read.loses_admin) show("Valid, but you would no longer be an admin: it can't be saved", true);
    else show(changed ? "Valid; not saved yet" : "Valid");
    save.disabled = !read.valid || !changed || read.loses_admin;
    review.disabled = !changed;
  };
  text.addEventListener("input", () => {
    number();
    save.disabled = true;
    show("Checking…");
    running?.abort();
    clearTimeout(timer);
    timer = setTimeout(validate, 400);
  });
  text.addEventListener("scroll", () => { lines.scrollTop = text.scrollTop; });
  text.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "s") {
      event.preventDefault();
      if (!save.disabled) save.click();
    }
  });
  review.addEventListener("click", async () => {
    const { ok, read, why } = await send("POST", "/api/config/dry-run", { config: text.value });
    if (!ok) {
      show(why, true);
      return;
    }
    result.replaceChildren(
      ...consequences(read),
      make("section", {}, make("h2", {}, "Changes"), diff(read.diff)),
      read.valid || read.loses_admin ? whom(read.callers, read.note) : "",
    );
    announce("The changes are below the editor");
  });
  save.addEventListener("click", async () => {
    if (!agrees(checked)) return;
    save.disabled = true;
    const wanted = text.value;
    const answer = await send("PUT", "/aperture/config", { config: wanted }, { "if-match": `"${tag}"` });
    if (answer.ok) {
      // Secrets that were typed are placeholders from now on.
      text.value = answer.read.config;
      saved = text.value;
      tag = answer.tag.replace(/^W\//, "").replaceAll('"', "");
      result.replaceChildren();
      findings.replaceChildren();
      number();
      review.disabled = true;
      const { restart = [] } = answer.read;
      show(restart.length ? `Saved. ${takes(restart)}; everything else is in force.` : "Saved, and in force");
      return;
    }
    save.disabled = false;
    show(answer.status === 412
      ? "Someone else has saved a change since you opened this page. Copy what you need, then reload the page."
      : answer.why, true);
  });
  addEventListener("beforeunload", (event) => {
    if (text.value !== saved) event.preventDefault();
  });
  number();
  validate();
}

function rollback(box) {
  box.hidden = false;
  const state = box.querySelector("[data-state]");
  const button = box.querySelector("button");
  button.addEventListener("click", async () => {
    const version = document.querySelector("[data-version]").textContent;
    const { read: checked } = await send("POST", "/aperture/config:validate", { config: version });
    const { warnings = [], restart = [] } = checked;
    const words = ["Go back to this version? Secrets stay those of the file as it is now.", ...warnings,
      ...(restart.length ? [`${takes(restart)}.`] : [])];
    if (!confirm(words.join("\n\n"))) return;
    button.disabled = true;
    const { ok, why } = await send("POST", "/api/config/rollback", { id: box.dataset.rollback, hash: box.dataset.tag });
    if (ok) {
      location.assign("/ui/config");
      return;
    }
    button.disabled = false;
    state.textContent = why;
    state.className = "bad";
  });
}

for (const box of document.querySelectorAll("[data-config]")) editor(box);
for (const box of document.querySelectorAll("[data-rollback]")) rollback(box);
