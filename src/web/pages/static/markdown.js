// Markdown as nodes. Text becomes text nodes and nothing else; what is no Markdown that is known
// here, HTML above all, stays as it was written.
import { make } from "./app.js";

// A list in a list in a list: no model needs more, and a hostile text would go on.
const DEEPEST = 6;
const SAFE = /^(https?:\/\/|mailto:)[^\s]+$/i;

function link(text, address, depth) {
  if (!SAFE.test(address)) return document.createTextNode(`${text} (${address})`);
  const anchor = make("a", { rel: "noreferrer noopener nofollow", target: "_blank" });
  anchor.setAttribute("href", address);
  anchor.append(...inline(text, depth + 1));
  return anchor;
}

// What opens each kind of span, and how its inside is made.
const SPANS = [
  ["**", (inside, depth) => make("strong", {}, ...inline(inside, depth + 1))],
  ["__", (inside, depth) => make("strong", {}, ...inline(inside, depth + 1))],
  ["~~", (inside, depth) => make("del", {}, ...inline(inside, depth + 1))],
  ["*", (inside, depth) => make("em", {}, ...inline(inside, depth + 1))],
  ["_", (inside, depth) => make("em", {}, ...inline(inside, depth + 1))],
];

function span(text, at, depth) {
  if (text[at] === "`") {
    const ticks = /^`+/.exec(text.slice(at))[0];
    const end = text.indexOf(ticks, at + ticks.length);
    if (end < 0) return null;
    return [make("code", {}, text.slice(at + ticks.length, end).trim()), end + ticks.length];
  }
  if (text[at] === "[" || (text[at] === "!" && text[at + 1] === "[")) {
    // Pictures are not fetched: they are links.
    const found = /^!?\[([^\]\n]{0,500})\]\(([^()\s]{1,2000})\)/.exec(text.slice(at, at + 2600));
    if (!found) return null;
    return [link(found[1] || found[2], found[2], depth), at + found[0].length];
  }
  if (text.startsWith("http://", at) || text.startsWith("https://", at)) {
    const [found] = /^https?:\/\/[^\s<>"'`)\]]*/.exec(text.slice(at, at + 2000));
    const address = found.replace(/[.,;:!?]+$/, "");
    return [link(address, address, DEEPEST), at + address.length];
  }
  for (const [mark, build] of SPANS) {
    if (!text.startsWith(mark, at)) continue;
    const start = at + mark.length;
    const inWord = mark[0] === "_" && /\w/.test(text[at - 1] ?? "");
    if (inWord || /\s/.test(text[start] ?? " ")) continue;
    const end = text.indexOf(mark, start);
    if (end <= start || /\s/.test(text[end - 1]) || text.slice(start, end).includes("\n\n")) continue;
    return [build(text.slice(start, end), depth), end + mark.length];
  }
  return null;
}

function inline(text, depth = 0) {
  if (depth >= DEEPEST) return [text];
  const nodes = [];
  let plain = "";
  let at = 0;
  while (at < text.length) {
    if (text[at] === "\\" && /[\\`*_{}[\]()#+\-.!~|]/.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
      continue;
    }
    const found = "`*_~[!h".includes(text[at]) ? span(text, at, depth) : null;
    if (found) {
      if (plain) nodes.push(plain);
      plain = "";
      nodes.push(found[0]);
      at = found[1];
    } else {
      plain += text[at];
      at += 1;
    }
  }
  if (plain) nodes.push(plain);
  return nodes;
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
}

function table(lines) {
  const row = (line, name) => make("tr", {}, ...cells(line).map((cell) => make(name, {}, ...inline(cell))));
  return make("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" },
    make("table", {}, make("thead", {}, row(lines[0], "th")), make("tbody", {}, ...lines.slice(2).map((line) => row(line, "td")))));
}

function code(language, text) {
  return make("div", { class: "code" },
    make("div", { class: "code-head" }, make("span", {}, language || "code"),
      make("button", { class: "copy", type: "button", "data-copy": "" }, "Copy")),
    make("pre", { tabindex: "0", role: "region", "aria-label": `Code${language ? `, ${language}` : ""}` }, make("code", {}, text)));
}

const BULLET = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;

function list(lines, depth) {
  const [, indent, mark] = BULLET.exec(lines[0]);
  const ordered = /\d/.test(mark);
  const items = [];
  for (const line of lines) {
    const found = BULLET.exec(line);
    if (found && found[1].length <= indent.length) items.push([found[3]]);
    else items.at(-1).push(line.slice(Math.min(indent.length + 2, line.length - line.trimStart().length)));
  }
  const element = make(ordered ? "ol" : "ul", {}, ...items.map((item) => {
    const task = /^\[([ xX])\]\s+(.*)$/.exec(item[0]);
    const first = task ? [task[1] === " " ? "☐ " : "☑ ", ...inline(task[2])] : inline(item[0]);
    return make("li", {}, ...first, ...(item.length > 1 ? blocks(item.slice(1), depth + 1) : []));
  }));
  if (ordered && parseInt(mark, 10) !== 1) element.start = parseInt(mark, 10);
  return element;
}

function blocks(lines, depth = 0) {
  if (depth >= DEEPEST) return [lines.join("\n")];
  const nodes = [];
  let at = 0;
  const take = (holds) => {
    const start = at;
    while (at < lines.length && holds(lines[at])) at += 1;
    return lines.slice(start, at);
  };
  while (at < lines.length) {
    const line = lines[at];
    const fence = /^\s*(```+|~~~+)\s*([\w+#.-]*)/.exec(line);
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    if (!line.trim()) {
      at += 1;
    } else if (fence) {
      at += 1;
      const inside = take((next) => !next.trim().startsWith(fence[1]));
      at += 1;
      nodes.push(code(fence[2], inside.join("\n")));
    } else if (heading) {
      at += 1;
      // The page's own heading is above.
      const level = Math.min(heading[1].length + 1, 6);
      nodes.push(make(`h${level}`, {}, ...inline(heading[2])));
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      at += 1;
      nodes.push(make("hr"));
    } else if (/^\s*>/.test(line)) {
      const inside = take((next) => /^\s*>/.test(next)).map((next) => next.replace(/^\s*> ?/, ""));
      nodes.push(make("blockquote", {}, ...blocks(inside, depth + 1)));
    } else if (BULLET.test(line)) {
      nodes.push(list(take((next) => BULLET.test(next) || /^\s{2,}\S/.test(next)), depth));
    } else if (line.includes("|") && /^[\s|:-]+$/.test(lines[at + 1] ?? "") && (lines[at + 1] ?? "").includes("-")) {
      nodes.push(table(take((next) => next.includes("|"))));
    } else {
      const ends = /^\s*(```|~~~|>|#{1,6}\s)|^(\s*)([-*+]|\d{1,9}[.)])\s/;
      const start = at;
      at += 1;
      take((next) => next.trim() && !ends.test(next));
      const paragraph = make("p");
      lines.slice(start, at).forEach((next, nth) => {
        if (nth) paragraph.append(make("br"));
        paragraph.append(...inline(next));
      });
      nodes.push(paragraph);
    }
  }
  return nodes;
}

/** The nodes of a text. */
export function render(text) {
  return blocks(text.split("\n"));
}
