//! Anthropic's messages.

use serde_json::{Value, json};

use super::Answer;
use super::turn::Turn;
use super::usage::Usage;

pub fn answer(request: &Value, turn: &Turn, usage: &Usage) -> Answer {
    let (block, reason) = match turn {
        Turn::Text(text) => (json!({ "type": "text", "text": text }), "end_turn"),
        Turn::Tool { name, arguments } => (
            json!({ "type": "tool_use", "id": "toolu_01", "name": name, "input": arguments }),
            "tool_use",
        ),
    };
    let message = json!({
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": [block],
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
    let (start, delta) = match turn {
        Turn::Text(text) => (
            json!({ "type": "text", "text": "" }),
            json!({ "type": "text_delta", "text": text }),
        ),
        Turn::Tool { name, arguments } => (
            json!({ "type": "tool_use", "id": "toolu_01", "name": name, "input": {} }),
            json!({ "type": "input_json_delta", "partial_json": arguments.to_string() }),
        ),
    };
    [
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": start }),
        json!({ "type": "ping" }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({
            "type": "message_delta",
            "delta": { "stop_reason": reason, "stop_sequence": null },
            "usage": { "output_tokens": usage.output },
        }),
        json!({ "type": "message_stop" }),
    ]
    .iter()
    .map(|event| {
        let name = event["type"].as_str().unwrap_or_default();
        format!("event: {name}\ndata: {event}\n\n")
    })
    .collect()
}

pub fn count(usage: &Usage) -> Answer {
    Answer::Json(json!({ "input_tokens": usage.input }))
}
