//! OpenAI's older formats: chat, completions and embeddings.

use serde_json::{Value, json};

use super::Answer;
use super::turn::{HELLO, Says, THOUGHT, Turn, halves};
use super::usage::Usage;

pub fn answer(request: &Value, turn: &Turn, usage: &Usage) -> Answer {
    let (mut message, finish) = match &turn.says {
        Says::Text(text) => (json!({ "role": "assistant", "content": text }), "stop"),
        Says::Tool { name, arguments } => (
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
        if turn.thinks {
            message["reasoning_content"] = json!(THOUGHT);
        }
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
    let mut events = Vec::new();
    if turn.thinks {
        let thought = json!({ "role": "assistant", "reasoning_content": THOUGHT });
        events.push(delta(thought, Value::Null));
    }
    let pieces = pieces(message, turn);
    events.extend(pieces.into_iter().map(|piece| delta(piece, Value::Null)));
    events.push(delta(json!({}), json!(finish)));
    if request["stream_options"]["include_usage"] == true {
        events.push(chunk(json!([]), usage.chat()));
    }
    events.push("data: [DONE]\n\n".into());
    Answer::Events(events)
}

/// A message in two pieces.
fn pieces(mut message: Value, turn: &Turn) -> [Value; 2] {
    match &turn.says {
        Says::Text(text) => {
            let [first, second] = halves(text);
            message["content"] = json!(first);
            [message, json!({ "content": second })]
        }
        Says::Tool { arguments, .. } => {
            let arguments = arguments.to_string();
            let [first, second] = halves(&arguments);
            message["tool_calls"][0]["function"]["arguments"] = json!(first);
            let rest = json!({ "index": 0, "function": { "arguments": second } });
            [message, json!({ "tool_calls": [rest] })]
        }
    }
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
