// The formats that the chat speaks with this gateway: how a conversation is asked in each, and
// what the events of its answers add.

/** Turns of the user and the assistant, with the text of each. */
function pairs(messages, assistant = "assistant") {
  return messages.map(({ role, text }) => ({ role: role === "user" ? "user" : assistant, text }));
}

const FORMATS = {
  chat: {
    request: (model, messages, system) => ["/v1/chat/completions", {
      model, stream: true, stream_options: { include_usage: true },
      messages: [
        ...(system ? [{ role: "system", content: system }] : []),
        ...pairs(messages).map(({ role, text }) => ({ role, content: text })),
      ],
    }],
    read: (event) => {
      const choice = event.choices?.[0];
      return {
        text: choice?.delta?.content,
        thought: choice?.delta?.reasoning_content ?? choice?.delta?.reasoning,
        ended: choice?.finish_reason,
      };
    },
  },
  messages: {
    headers: { "anthropic-version": "2023-06-01" },
    request: (model, messages, system) => ["/v1/messages", {
      model, stream: true, max_tokens: 8192, ...(system ? { system } : {}),
      messages: pairs(messages).map(({ role, text }) => ({ role, content: text })),
    }],
    read: (event) => ({
      text: event.delta?.type === "text_delta" ? event.delta.text : undefined,
      thought: event.delta?.type === "thinking_delta" ? event.delta.thinking : undefined,
      ended: event.delta?.stop_reason,
    }),
  },
  responses: {
    request: (model, messages, system) => ["/v1/responses", {
      model, stream: true, store: false, ...(system ? { instructions: system } : {}),
      input: pairs(messages).map(({ role, text }) => ({ role, content: text })),
    }],
    read: (event) => ({
      text: event.type === "response.output_text.delta" ? event.delta : undefined,
      thought: event.type === "response.reasoning_summary_text.delta" ? event.delta : undefined,
      ended: event.type === "response.completed" ? "completed"
        : event.type === "response.incomplete" ? event.response?.incomplete_details?.reason ?? "incomplete" : undefined,
      error: event.type === "response.failed" ? event.response?.error?.message : undefined,
    }),
  },
  gemini: {
    request: (model, messages, system) => [
      `/v1beta/models/${model.split("/").map(encodeURIComponent).join("/")}:streamGenerateContent?alt=sse`, {
        ...(system ? { systemInstruction: { parts: [{ text: system }] } } : {}),
        contents: pairs(messages, "model").map(({ role, text }) => ({ role, parts: [{ text }] })),
      }],
    read: (event) => {
      const parts = event.candidates?.[0]?.content?.parts ?? [];
      const said = (thought) => parts.filter((part) => Boolean(part.thought) === thought).map((part) => part.text ?? "").join("");
      return { text: said(false), thought: said(true), ended: event.candidates?.[0]?.finishReason };
    },
  },
};

/** The data of each server-sent event, as it comes. */
async function* events(body, broken) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  let data = [];
  for (;;) {
    const { done, value } = await reader.read().catch(broken);
    held += done ? "\n\n" : value;
    const lines = held.split(/\r\n|\n|\r(?=.)/);
    held = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) yield data.join("\n");
        data = [];
      } else if (line.startsWith("data:")) {
        data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
    if (done) return;
  }
}

function refusal(status, text) {
  try {
    const read = JSON.parse(text);
    return read.error?.message ?? read.message ?? read.error ?? text;
  } catch {
    return text || `the gateway answered with ${status}`;
  }
}

/**
 * Asks and tells what comes, bit by bit. Resolves with the id of the record, or throws an error
 * that has it.
 */
export async function ask({ format, model, messages, system, session, signal, onPiece, onId }) {
  const wire = FORMATS[format];
  const [address, body] = wire.request(model, messages, system);
  // A browser's own words for a connection that broke say nothing.
  const broken = (why) => {
    throw signal.aborted ? why : new Error("the connection to the gateway broke; retry when it can be reached again");
  };
  const answer = await fetch(address, {
    method: "POST", signal,
    headers: { "content-type": "application/json", "x-session-id": session, ...wire.headers },
    body: JSON.stringify(body),
  }).catch(broken);
  onId(answer.headers.get("x-iris-request-id"));
  if (!answer.ok) throw new Error(String(refusal(answer.status, await answer.text())).slice(0, 2000));
  let ended;
  for await (const data of events(answer.body, broken)) {
    if (data === "[DONE]") break;
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      continue;
    }
    const piece = wire.read(event);
    const error = piece.error ?? event.error?.message;
    if (error) throw new Error(String(error).slice(0, 2000));
    ended = piece.ended ?? ended;
    if (piece.text || piece.thought) onPiece(piece);
  }
  return ended;
}
