//! Turns of a conversation with Ollama.

use serde_json::Value;

use crate::formats::transcript::{Conversation, Part, Turn, flat, input, text, turn};
use crate::formats::tree::elements;

/// Those of a chat.
pub(super) const CHAT: Conversation = Conversation {
    sent: |request| elements(&request["messages"]).iter().map(message).collect(),
    answered: |response| vec![message(&response["message"])],
};

/// Those of a completion.
pub(super) const GENERATE: Conversation = Conversation {
    sent: |request| {
        let mut asked = said(&request["prompt"]);
        asked.extend(said(&request["suffix"]));
        asked.extend(images(request));
        vec![
            turn("system", said(&request["system"])),
            turn("user", asked),
        ]
    },
    answered: |response| {
        let mut parts = thought(response);
        parts.extend(said(&response["response"]));
        vec![turn("assistant", parts)]
    },
};

fn message(message: &Value) -> Turn {
    let role = message["role"].as_str().unwrap_or("assistant");
    if role == "tool" {
        let mut of = ["tool_name", "tool_call_id"].into_iter();
        let of = of.find_map(|key| message[key].as_str());
        let result = Part::Result {
            of: of.unwrap_or_default().to_owned(),
            text: flat(&message["content"]),
            failed: false,
        };
        return turn(role, vec![result]);
    }
    let mut parts = thought(message);
    parts.extend(said(&message["content"]));
    parts.extend(images(message));
    parts.extend(elements(&message["tool_calls"]).iter().map(|call| {
        let function = &call["function"];
        Part::Call {
            name: text(&function["name"]),
            input: input(&function["arguments"]),
        }
    }));
    turn(role, parts)
}

fn said(value: &Value) -> Vec<Part> {
    let said = value.as_str().filter(|said| !said.is_empty());
    said.map(|said| Part::Text(said.to_owned()))
        .into_iter()
        .collect()
}

fn thought(of: &Value) -> Vec<Part> {
    let thought = of["thinking"]
        .as_str()
        .filter(|thought| !thought.is_empty());
    let thought = thought.map(|thought| Part::Thought(thought.to_owned()));
    thought.into_iter().collect()
}

fn images(of: &Value) -> impl Iterator<Item = Part> {
    let images = elements(&of["images"]).iter();
    images.map(|_| Part::Other("image".to_owned()))
}
