//! Google's contents: Gemini's own API and Vertex's.

use serde_json::Value;

use super::{Part, Turn, input, parts, text, turn};

pub(in crate::formats) fn contents(request: &Value) -> Vec<Turn> {
    let system = ["systemInstruction", "system_instruction"]
        .into_iter()
        .find_map(|key| request.get(key));
    let system = system.map(|system| turn("system", parts(&system["parts"], part)));
    let contents = request["contents"].as_array().into_iter().flatten();
    system.into_iter().chain(contents.map(content)).collect()
}

pub(in crate::formats) fn answer(answer: &Value) -> Vec<Turn> {
    let candidates = answer["candidates"].as_array().into_iter().flatten();
    candidates.map(|one| content(&one["content"])).collect()
}

fn content(content: &Value) -> Turn {
    let role = content["role"].as_str().unwrap_or("user");
    turn(role, parts(&content["parts"], part))
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
