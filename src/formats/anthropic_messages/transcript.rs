//! Turns of a conversation in Anthropic's messages, wherever they are served.

use serde_json::Value;

use crate::formats::transcript::{Conversation, Part, Shape, flat, input, parts, text, turn};

/// The turns of a request and its response.
pub(in crate::formats) const CONVERSATION: Conversation = Conversation {
    sent: |request| SHAPE.turns(&request["system"], &request["messages"]),
    answered: |message| vec![turn("assistant", parts(&message["content"], block))],
};

const SHAPE: Shape = Shape {
    content: "content",
    role: "",
    block,
};

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
