//! Bedrock's calls, whose path names the model and the operation, and whose streams are Amazon's.

use aws_smithy_types::base64;
use bytes::Bytes;
use iris::wire::event_stream::encode;
use serde_json::{Value, json};

use super::turn::{SIGNATURE, Says, THOUGHT, Turn, halves};
use super::usage::Usage;
use super::{Answer, anthropic};

/// The model and the operation of a path such as `/model/m/converse`.
pub fn parse(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix("/bedrock").unwrap_or(path);
    path.strip_prefix("/model/")?.split_once('/')
}

/// The format of an operation, as the gateway names it.
pub fn format(operation: &str) -> &'static str {
    if operation.starts_with("converse") {
        "bedrock_converse"
    } else {
        "bedrock_model_invoke"
    }
}

pub fn answer(operation: &str, body: &Value, turn: &Turn, usage: &Usage) -> Option<Answer> {
    Some(match operation {
        "converse" => Answer::Json(json!({
            "output": { "message": { "role": "assistant", "content": content(turn) } },
            "stopReason": reason(turn),
            "usage": usage.bedrock(),
            "metrics": { "latencyMs": 5 },
        })),
        "converse-stream" => Answer::Frames(converse(turn, usage)),
        "invoke" => anthropic::answer(body, turn, usage),
        "invoke-with-response-stream" => {
            let mut streamed = body.clone();
            streamed["stream"] = true.into();
            let Answer::Events(events) = anthropic::answer(&streamed, turn, usage) else {
                return None;
            };
            Answer::Frames(events.iter().filter_map(|event| chunk(event)).collect())
        }
        _ => return None,
    })
}

fn reason(turn: &Turn) -> &'static str {
    match turn.says {
        Says::Text(_) => "end_turn",
        Says::Tool { .. } => "tool_use",
    }
}

fn content(turn: &Turn) -> Value {
    let said = match &turn.says {
        Says::Text(text) => json!({ "text": text }),
        Says::Tool { name, arguments } => {
            let call = json!({ "toolUseId": "tooluse_1", "name": name, "input": arguments });
            json!({ "toolUse": call })
        }
    };
    if !turn.thinks {
        return json!([said]);
    }
    let thought = json!({ "text": THOUGHT, "signature": SIGNATURE });
    json!([{ "reasoningContent": { "reasoningText": thought } }, said])
}

fn converse(turn: &Turn, usage: &Usage) -> Vec<Bytes> {
    let mut events = vec![("messageStart", json!({ "role": "assistant" }))];
    let mut blocks = Vec::new();
    if turn.thinks {
        let deltas = [
            json!({ "text": THOUGHT }),
            json!({ "signature": SIGNATURE }),
        ];
        let deltas = deltas.map(|delta| json!({ "reasoningContent": delta }));
        blocks.push((None, deltas));
    }
    blocks.push(match &turn.says {
        Says::Text(text) => (None, halves(text).map(|text| json!({ "text": text }))),
        Says::Tool { name, arguments } => (
            Some(json!({ "toolUse": { "toolUseId": "tooluse_1", "name": name } })),
            halves(&arguments.to_string()).map(|input| json!({ "toolUse": { "input": input } })),
        ),
    });
    for (at, (start, deltas)) in blocks.into_iter().enumerate() {
        // Only a call has a start.
        events.extend(start.map(|start| {
            let start = json!({ "contentBlockIndex": at, "start": start });
            ("contentBlockStart", start)
        }));
        events.extend(deltas.map(|delta| {
            let delta = json!({ "contentBlockIndex": at, "delta": delta });
            ("contentBlockDelta", delta)
        }));
        events.push(("contentBlockStop", json!({ "contentBlockIndex": at })));
    }
    events.push(("messageStop", json!({ "stopReason": reason(turn) })));
    let metadata = json!({ "usage": usage.bedrock(), "metrics": { "latencyMs": 5 } });
    events.push(("metadata", metadata));
    let frame = |(name, payload): (&'static str, Value)| message(name, &payload);
    events.into_iter().map(frame).collect()
}

/// An event of Anthropic's as Bedrock wraps it.
fn chunk(event: &str) -> Option<Bytes> {
    let data = event.lines().find_map(|line| line.strip_prefix("data: "))?;
    Some(message("chunk", &json!({ "bytes": base64::encode(data) })))
}

fn message(name: &'static str, payload: &Value) -> Bytes {
    let headers = [(":message-type", "event"), (":event-type", name)];
    encode(&headers, payload.to_string())
}
