//! Turns of a conversation with `Converse`.

use serde_json::Value;

use crate::formats::transcript::{Conversation, Part, Shape, flat, input, text};

/// The turns of a request and its response.
pub(super) const CONVERSATION: Conversation = Conversation {
    sent: |request| SHAPE.turns(&request["system"], &request["messages"]),
    answered: |response| vec![SHAPE.turn(&response["output"]["message"])],
};

const SHAPE: Shape = Shape {
    content: "content",
    role: "",
    block,
};

fn block(block: &Value) -> Option<Part> {
    if let Some(said) = block["text"].as_str() {
        return Some(Part::Text(said.to_owned()));
    }
    if let Some(thought) = block["reasoningContent"]["reasoningText"]["text"].as_str() {
        return Some(Part::Thought(thought.to_owned()));
    }
    if let Some(call) = block.get("toolUse") {
        return Some(Part::Call {
            name: text(&call["name"]),
            input: input(&call["input"]),
        });
    }
    if let Some(result) = block.get("toolResult") {
        return Some(Part::Result {
            of: text(&result["toolUseId"]),
            text: flat(&result["content"]),
            failed: result["status"] == "error",
        });
    }
    let kind = block.as_object()?.keys().next()?;
    Some(Part::Other(kind.clone()))
}
