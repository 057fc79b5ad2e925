//! Anthropic's messages.

use serde_json::{Value, json};

use super::Answer;
use super::turn::{SIGNATURE, Says, THOUGHT, Turn, halves};
use super::usage::Usage;

pub fn answer(request: &Value, turn: &Turn, usage: &Usage) -> Answer {
    let (block, reason) = match &turn.says {
        Says::Text(text) => (json!({ "type": "text", "text": text }), "end_turn"),
        Says::Tool { name, arguments } => (
            json!({ "type": "tool_use", "id": "toolu_01", "name": name, "input": arguments }),
            "tool_use",
        ),
    };
    let mut content = vec![block];
    if turn.thinks {
        content.insert(0, thinking(THOUGHT, SIGNATURE));
    }
    let message = json!({
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": content,
        "stop_reason": reason,
        "stop_sequence": null,
        "usage": usage.anthropic(),
    });
    if request["stream"] != true {
        return Answer::Json(message);
    }
    Answer::Events(stream(message, turn, usage))
}

/// The message, in the pieces in which Anthropic sends it.
fn stream(mut message: Value, turn: &Turn, usage: &Usage) -> Vec<String> {
    let reason = message["stop_reason"].take();
    message["content"] = json!([]);
    message["usage"]["output_tokens"] = json!(1);
    let mut events = vec![json!({ "type": "message_start", "message": message })];
    let mut blocks = Vec::new();
    if turn.thinks {
        let thought = json!({ "type": "thinking_delta", "thinking": THOUGHT });
        let signed = json!({ "type": "signature_delta", "signature": SIGNATURE });
        blocks.push((thinking("", ""), [thought, signed]));
    }
    blocks.push(match &turn.says {
        Says::Text(text) => (
            json!({ "type": "text", "text": "" }),
            halves(text).map(|text| json!({ "type": "text_delta", "text": text })),
        ),
        Says::Tool { name, arguments } => (
            json!({ "type": "tool_use", "id": "toolu_01", "name": name, "input": {} }),
            halves(&arguments.to_string())
                .map(|json| json!({ "type": "input_json_delta", "partial_json": json })),
        ),
    });
    for (index, (start, deltas)) in blocks.into_iter().enumerate() {
        events
            .push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
        events.push(json!({ "type": "ping" }));
        let deltas = deltas.into_iter();
        events.extend(
            deltas.map(
                |delta| json!({ "type": "content_block_delta", "index": index, "delta": delta }),
            ),
        );
        events.push(json!({ "type": "content_block_stop", "index": index }));
    }
    events.push(json!({
        "type": "message_delta",
        "delta": { "stop_reason": reason, "stop_sequence": null },
        "usage": { "output_tokens": usage.output },
    }));
    events.push(json!({ "type": "message_stop" }));
    events
        .iter()
        .map(|event| {
            let name = event["type"].as_str().unwrap_or_default();
            format!("event: {name}\ndata: {event}\n\n")
        })
        .collect()
}

fn thinking(thought: &str, signature: &str) -> Value {
    json!({ "type": "thinking", "thinking": thought, "signature": signature })
}

pub fn count(usage: &Usage) -> Answer {
    Answer::Json(json!({ "input_tokens": usage.input }))
}
