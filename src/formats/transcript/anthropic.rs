//! Anthropic's messages, wherever they are served.

use serde_json::Value;

use super::{Part, Turn, flat, input, parts, text, turn};

pub(in crate::formats) fn messages(request: &Value) -> Vec<Turn> {
    let mut turns = vec![turn("system", parts(&request["system"], block))];
    let messages = request["messages"].as_array().into_iter().flatten();
    turns.extend(messages.map(|message| {
        let role = message["role"].as_str().unwrap_or_default();
        turn(role, parts(&message["content"], block))
    }));
    turns
}

pub(in crate::formats) fn answer(answer: &Value) -> Vec<Turn> {
    vec![turn("assistant", parts(&answer["content"], block))]
}

fn block(block: &Value) -> Option<Part> {
    let kind = block["type"].as_str()?;
    Some(match kind {
        "text" => Part::Text(text(&block["text"])),
        "thinking" => Part::Thought(text(&block["thinking"])),
        "tool_use" | "server_tool_use" | "mcp_tool_use" => Part::Call {
            name: text(&block["name"]),
            input: input(&block["input"]),
        },
        _ if kind.ends_with("tool_result") => Part::Result {
            of: text(&block["tool_use_id"]),
            text: flat(&block["content"]),
            failed: block["is_error"] == true,
        },
        other => {
            let media = block["source"]["media_type"].as_str();
            Part::Other(media.unwrap_or(other).to_owned())
        }
    })
}
