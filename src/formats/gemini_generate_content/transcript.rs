//! Turns of a conversation in Google's contents, of Gemini's own API and of Vertex.

use serde_json::Value;

use crate::formats::transcript::{Conversation, Part, Shape, Turn, input, text};
use crate::formats::tree::elements;

/// The turns of a request and its response.
pub(in crate::formats) const CONVERSATION: Conversation = Conversation {
    sent: contents,
    answered: |response| {
        let candidates = elements(&response["candidates"]).iter();
        candidates.map(|one| SHAPE.turn(&one["content"])).collect()
    },
};

const SHAPE: Shape = Shape {
    content: "parts",
    role: "user",
    block: part,
};

fn contents(request: &Value) -> Vec<Turn> {
    let system = request.get("systemInstruction");
    let system = system.unwrap_or(&request["system_instruction"]);
    SHAPE.turns(&system["parts"], &request["contents"])
}

fn part(part: &Value) -> Option<Part> {
    if let Some(said) = part["text"].as_str() {
        let said = said.to_owned();
        return Some(if part["thought"] == true {
            Part::Thought(said)
        } else {
            Part::Text(said)
        });
    }
    if let Some(call) = part.get("functionCall") {
        return Some(Part::Call {
            name: text(&call["name"]),
            input: input(&call["args"]),
        });
    }
    if let Some(result) = part.get("functionResponse") {
        return Some(Part::Result {
            of: text(&result["name"]),
            text: input(&result["response"]),
            failed: false,
        });
    }
    let data = part.get("inlineData").or_else(|| part.get("fileData"));
    if let Some(data) = data {
        let kind = data["mimeType"].as_str().unwrap_or("data");
        return Some(Part::Other(kind.to_owned()));
    }
    let kind = part.as_object()?.keys().next()?;
    Some(Part::Other(kind.clone()))
}
