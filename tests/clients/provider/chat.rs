//! OpenAI's older formats: chat, completions and embeddings.

use serde_json::{Value, json};

use super::Answer;
use super::turn::{HELLO, Turn};
use super::usage::Usage;

pub fn answer(request: &Value, turn: &Turn, usage: &Usage) -> Answer {
    let (message, finish) = match turn {
        Turn::Text(text) => (json!({ "role": "assistant", "content": text }), "stop"),
        Turn::Tool { name, arguments } => (
            json!({ "role": "assistant", "content": null, "tool_calls": [{
                "index": 0,
                "id": "call_1",
                "type": "function",
                "function": { "name": name, "arguments": arguments.to_string() },
            }] }),
            "tool_calls",
        ),
    };
    if request["stream"] != true {
        return Answer::Json(json!({
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": request["model"],
            "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
            "usage": usage.chat(),
        }));
    }
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": request["model"],
            "choices": choices,
            "usage": usage,
        });
        format!("data: {chunk}\n\n")
    };
    let delta = |delta: Value, finish: Value| {
        chunk(
            json!([{ "index": 0, "delta": delta, "finish_reason": finish }]),
            Value::Null,
        )
    };
    let mut events = vec![delta(message, Value::Null), delta(json!({}), json!(finish))];
    if request["stream_options"]["include_usage"] == true {
        events.push(chunk(json!([]), usage.chat()));
    }
    events.push("data: [DONE]\n\n".into());
    Answer::Events(events)
}

pub fn completion(request: &Value, usage: &Usage) -> Answer {
    Answer::Json(json!({
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": request["model"],
        "choices": [{ "index": 0, "text": HELLO, "finish_reason": "stop", "logprobs": null }],
        "usage": usage.chat(),
    }))
}

/// Two vectors of two zeros each.
pub fn embeddings(request: &Value, usage: &Usage) -> Answer {
    let vector = if request["encoding_format"] == "base64" {
        json!("AAAAAAAAAAA=")
    } else {
        json!([0.0, 0.0])
    };
    Answer::Json(json!({
        "object": "list",
        "model": request["model"],
        "data": [
            { "object": "embedding", "index": 0, "embedding": vector },
            { "object": "embedding", "index": 1, "embedding": vector },
        ],
        "usage": { "prompt_tokens": usage.input, "total_tokens": usage.input },
    }))
}
