//! Bedrock's Converse.

use serde_json::Value;

use super::{Part, Turn, flat, input, parts, text, turn};

pub(in crate::formats) fn messages(request: &Value) -> Vec<Turn> {
    let mut turns = vec![turn("system", parts(&request["system"], block))];
    let messages = request["messages"].as_array().into_iter().flatten();
    turns.extend(messages.map(message));
    turns
}

pub(in crate::formats) fn answer(answer: &Value) -> Vec<Turn> {
    vec![message(&answer["output"]["message"])]
}

fn message(message: &Value) -> Turn {
    let role = message["role"].as_str().unwrap_or_default();
    turn(role, parts(&message["content"], block))
}

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
