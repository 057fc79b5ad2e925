//! Bedrock's calls, whose path names the model and the operation, and whose streams are Amazon's.

use aws_smithy_types::base64;
use bytes::Bytes;
use iris::wire::event_stream::encode;
use serde_json::{Value, json};

use super::turn::Turn;
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
            "output": { "message": { "role": "assistant", "content": [{ "text": said(turn) }] } },
            "stopReason": "end_turn",
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

fn said(turn: &Turn) -> &str {
    match turn {
        Turn::Text(text) => text,
        // No client here offers tools.
        Turn::Tool { name, .. } => name,
    }
}

fn converse(turn: &Turn, usage: &Usage) -> Vec<Bytes> {
    let at = json!(0);
    [
        ("messageStart", json!({ "role": "assistant" })),
        (
            "contentBlockDelta",
            json!({ "contentBlockIndex": at, "delta": { "text": said(turn) } }),
        ),
        ("contentBlockStop", json!({ "contentBlockIndex": at })),
        ("messageStop", json!({ "stopReason": "end_turn" })),
        (
            "metadata",
            json!({ "usage": usage.bedrock(), "metrics": { "latencyMs": 5 } }),
        ),
    ]
    .into_iter()
    .map(|(name, payload)| message(name, &payload))
    .collect()
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
