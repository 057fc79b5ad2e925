// One message of the chat as an element: what it says, how it ended, and what can be done with it.
import { copy, make } from "./app.js";
import { render } from "./markdown.js";
import { patch } from "./patch.js";

const GOOD_ENDS = ["stop", "end_turn", "completed", "STOP", "stop_sequence"];
const ENDS = {
  length: "cut at the model's length limit", max_tokens: "cut at the model's length limit",
  MAX_TOKENS: "cut at the model's length limit", max_output_tokens: "cut at the model's length limit",
  content_filter: "stopped by the provider's filter", SAFETY: "stopped by the provider's filter",
  refusal: "the model declined",
};
const UNFINISHED = ["stopped", "interrupted", "length", "max_tokens", "MAX_TOKENS", "max_output_tokens"];
// An answer that another tab writes is saved more often than this.
const STALE = 15_000;

export const CONTINUE = "Continue where you stopped.";

/** Nanodollars, as the other pages show them. */
export function dollars(nano) {
  if (nano === 0) return "$0";
  if (nano < 1000) return "<$0.000001";
  const amount = nano / 1e9;
  if (amount >= 1) return `$${amount.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  return `$${amount >= 0.01 ? amount.toFixed(4) : amount.toFixed(6)}`;
}

/** Whether another tab is writing this message, as far as is known. */
export function isWrittenElsewhere(message) {
  return Boolean(message.at) && Date.now() - message.at < STALE;
}

/** An answer whose page was left: what came of it is shown as that. */
export function settle(message) {
  if (!message.at || isWrittenElsewhere(message)) return;
  delete message.at;
  message.ended = "interrupted";
}

/** The question that a message belongs to: its own place or that of the question above it. */
function headOf(messages, nth) {
  for (let at = nth; at >= 0; at -= 1) if (messages[at].role === "user") return at;
  return -1;
}

/**
 * Whether a turn is left out of later requests: one that was refused or has failed would make
 * them fail as well. Readers can say otherwise.
 */
export function isLeftOut(messages, nth) {
  const head = headOf(messages, nth);
  const question = messages[head];
  if (typeof question?.out === "boolean") return question.out;
  for (let at = Math.max(head, 0); at < messages.length && (at <= head || messages[at].role !== "user"); at += 1) {
    if (messages[at].error) return true;
  }
  return false;
}

/** What is sent of a conversation: what was said in turns that are not left out. */
export function spoken(messages) {
  return messages.filter((message, nth) => message.text && !isLeftOut(messages, nth))
    .map(({ role, text }) => ({ role, text }));
}

export function button(text, run, label = text) {
  const made = make("button", { type: "button", class: "quiet", "aria-label": label }, text);
  made.addEventListener("click", run);
  return made;
}

function usage(message) {
  const { record, ended } = message;
  const parts = [message.model];
  if (record) {
    const { input_tokens: sent, output_tokens: got } = record.usage;
    if (sent !== null || got !== null) parts.push(`${sent ?? "?"} in, ${got ?? "?"} out`);
    parts.push(record.cost === null ? "price unknown" : dollars(record.cost));
    parts.push(`${(record.duration_ms / 1000).toFixed(1)} s`);
  }
  if (ended && !GOOD_ENDS.includes(ended)) parts.push(ENDS[ended] ?? ended);
  const line = make("p", { class: "usage" }, parts.filter(Boolean).join(" · "));
  if (message.id) line.append(" · ", make("a", { href: `/ui/requests/${encodeURIComponent(message.id)}` }, "record"));
  return line;
}

/** What is said of an answer besides its text. */
function notices(message, { leftOut, isAlone, isOwn }) {
  const found = [];
  if (message.error) {
    found.push(make("p", { class: "notice bad", role: "alert" }, message.error));
    if (leftOut && !isAlone) {
      found.push(make("p", { class: "note" },
        "This turn is left out of later messages. If an earlier message is the reason, leave that one out and retry."));
    }
  } else if (message.ended === "interrupted") {
    found.push(make("p", { class: "notice warn", role: "note" }, message.text
      ? "Interrupted: the page was closed before the answer was complete."
      : "Interrupted: the page was closed before an answer came."));
  } else if (!isOwn && isWrittenElsewhere(message)) {
    found.push(make("p", { class: "note" }, "Being answered in another tab…"));
  }
  return found;
}

/**
 * The element of a message. `what` says what its buttons do, and has the conversation that it
 * stands in.
 */
export function element(message, what) {
  const body = make("div", { class: "said" });
  const foot = make("div", { class: "message-foot" });
  const made = make("li", { class: `message ${message.role}` },
    make("p", { class: "hidden" }, message.role === "user" ? "You" : "The model"), body, foot);
  const isUser = message.role === "user";
  let editing = false;
  const place = () => {
    const { messages } = what.chat();
    const nth = messages.findIndex((other) => other.key === made.message.key);
    return { messages, nth, leftOut: nth >= 0 && isLeftOut(messages, nth) };
  };

  made.fill = () => {
    if (editing) return;
    const { message: said } = made;
    const nodes = [];
    if (said.thought) {
      nodes.push(make("details", { class: "thought" }, make("summary", {}, "Reasoning"), make("div", { class: "plain" }, said.thought)));
    }
    if (isUser) nodes.push(make("div", { class: "plain" }, said.text));
    else nodes.push(make("div", { class: "reply" }, ...render(said.text)));
    const { messages, leftOut } = place();
    if (!isUser) nodes.push(...notices(said, { leftOut, isAlone: messages.length <= 2, isOwn: what.isWriting(said) }));
    patch(body, nodes);
  };

  const userActions = (leftOut) => [
    leftOut ? make("span", { class: "note" }, "Left out of later messages") : "",
    leftOut ? button("Edit and resend", edit) : button("Edit", edit, "Edit this message"),
    leftOut ? button("Include", () => what.leaveOut(made.message, false), "Include this turn again")
      : button("Leave out", () => what.leaveOut(made.message, true), "Leave out this turn"),
  ];
  const answerActions = (isLast) => {
    const { message: said } = made;
    const canContinue = isLast && said.text && !said.error && UNFINISHED.includes(said.ended);
    return [
      ...(canContinue ? [button("Continue", () => what.send(CONTINUE), "Continue this answer")] : []),
      button("Retry", () => what.retry(said), "Retry this turn"),
      button("Copy", async (event) => {
        const done = await copy(said.text, body).catch(() => false);
        event.target.textContent = done ? "Copied" : "Press Ctrl C";
      }, "Copy this answer"),
    ];
  };

  function edit() {
    if (what.isBusy()) return;
    editing = true;
    const area = make("textarea", { rows: "3", "aria-label": "Your message" });
    area.value = made.message.text;
    const form = make("form", { class: "edit-form" }, area,
      make("div", { class: "row-actions" }, make("button", { class: "primary", type: "submit" }, "Send again"),
        button("Cancel", () => {
          editing = false;
          body.replaceChildren();
          made.finish();
        })));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!area.value.trim() || what.isBusy()) return;
      editing = false;
      what.replace(made.message, area.value.trim());
    });
    body.replaceChildren(form);
    foot.replaceChildren();
    area.focus();
  }

  /** Shows the message as it is once nothing is added to it. */
  made.finish = () => {
    if (editing) return;
    made.fill();
    const { messages, nth, leftOut } = place();
    made.classList.toggle("left-out", leftOut);
    const isLast = nth === messages.length - 1;
    const actions = isUser ? userActions(leftOut) : answerActions(isLast);
    patch(foot, []);
    foot.append(...(isUser ? [] : [usage(made.message)]), make("div", { class: "row-actions" }, ...actions));
    made.shown = stateOf(made.message, leftOut, isLast);
  };

  /** The same for a message that may be another version of the one shown. */
  made.update = (next) => {
    made.message = next;
    const { messages, nth, leftOut } = place();
    if (made.shown !== stateOf(next, leftOut, nth === messages.length - 1)) made.finish();
  };
  made.message = message;
  return made;
}

function stateOf(message, leftOut, isLast) {
  return JSON.stringify([message, leftOut, isLast, isWrittenElsewhere(message)]);
}
