//! Turns of a conversation in OpenAI's chat, completions and responses, and what their companions are
//! about.

use serde_json::Value;

use crate::formats::transcript::{Conversation, Part, Turn, flat, input, parts, text, turn};
use crate::formats::tree::elements;

/// Those of chat.
pub(in crate::formats) const CHAT: Conversation = Conversation {
    sent: |request| elements(&request["messages"]).iter().map(message).collect(),
    answered: choices,
};

/// Those of completions.
pub(in crate::formats) const COMPLETIONS: Conversation = Conversation {
    sent: |request| vec![turn("user", parts(&request["prompt"], block))],
    answered: completions,
};

/// Those of responses.
pub(in crate::formats) const RESPONSES: Conversation = Conversation {
    sent: response,
    answered: |response| items(&response["output"], "assistant"),
};

/// Those of embeddings, moderations, images, speech and reranking: what they are about.
pub(in crate::formats) const COMPANIONS: Conversation = Conversation {
    sent: companion,
    ..Conversation::NONE
};

fn choices(response: &Value) -> Vec<Turn> {
    let choices = elements(&response["choices"]).iter();
    choices.map(|one| message(&one["message"])).collect()
}

fn message(message: &Value) -> Turn {
    let role = message["role"].as_str().unwrap_or("assistant");
    if role == "tool" || role == "function" {
        let of = message["tool_call_id"]
            .as_str()
            .or(message["name"].as_str());
        let result = Part::Result {
            of: of.unwrap_or_default().to_owned(),
            text: flat(&message["content"]),
            failed: false,
        };
        return turn(role, vec![result]);
    }
    let mut all = Vec::new();
    let thoughts = ["reasoning_content", "reasoning"].map(|key| message[key].as_str());
    let mut thoughts = thoughts.into_iter().flatten();
    let thought = thoughts.find(|thought| !thought.is_empty());
    all.extend(thought.map(|thought| Part::Thought(thought.to_owned())));
    all.extend(parts(&message["content"], block));
    if let Some(refusal) = message["refusal"].as_str() {
        all.push(Part::Text(refusal.to_owned()));
    }
    let calls = elements(&message["tool_calls"]).iter();
    let calls = calls.chain(message.get("function_call"));
    all.extend(calls.filter_map(|call| {
        let function = call.get("function").unwrap_or(call);
        Some(Part::Call {
            name: function["name"].as_str()?.to_owned(),
            input: input(&function["arguments"]),
        })
    }));
    turn(role, all)
}

fn block(block: &Value) -> Option<Part> {
    let kind = block["type"].as_str()?;
    Some(match kind {
        "text" | "input_text" | "output_text" => Part::Text(text(&block["text"])),
        "refusal" => Part::Text(text(&block["refusal"])),
        "audio" | "output_audio" | "input_audio" if block["transcript"].is_string() => {
            Part::Text(text(&block["transcript"]))
        }
        "summary_text" | "reasoning_text" => Part::Thought(text(&block["text"])),
        other => Part::Other(other.to_owned()),
    })
}

fn completions(response: &Value) -> Vec<Turn> {
    let choices = elements(&response["choices"]).iter();
    let texts = choices.map(|one| turn("assistant", parts(&one["text"], block)));
    texts.collect()
}

fn response(request: &Value) -> Vec<Turn> {
    let mut turns = vec![turn("system", parts(&request["instructions"], block))];
    turns.extend(items(&request["input"], "user"));
    turns
}

/// Items of a response's input or output; a bare text is said by `role`.
fn items(items: &Value, role: &str) -> Vec<Turn> {
    if items.is_string() {
        return vec![turn(role, parts(items, block))];
    }
    elements(items).iter().map(|one| item(one, role)).collect()
}

pub(in crate::formats) fn item(item: &Value, role: &str) -> Turn {
    let kind = item["type"].as_str().unwrap_or("message");
    let role = item["role"].as_str().unwrap_or(role);
    match kind {
        "message" => turn(role, parts(&item["content"], block)),
        "reasoning" => {
            let mut thoughts = parts(&item["summary"], block);
            thoughts.extend(parts(&item["content"], block));
            turn("assistant", thoughts)
        }
        _ if kind.ends_with("_call_output") => {
            let result = Part::Result {
                of: text(&item["call_id"]),
                text: flat(&item["output"]),
                failed: false,
            };
            turn("tool", vec![result])
        }
        _ if kind.ends_with("_call") => {
            let name = item["name"].as_str().unwrap_or(kind).to_owned();
            let given = ["arguments", "input", "action"]
                .into_iter()
                .find_map(|key| item.get(key));
            let input = given.map(input).unwrap_or_default();
            turn("assistant", vec![Part::Call { name, input }])
        }
        other => turn(role, vec![Part::Other(other.to_owned())]),
    }
}

fn companion(request: &Value) -> Vec<Turn> {
    let asked = ["input", "prompt", "query"].into_iter();
    let asked = asked.filter_map(|key| request.get(key));
    asked.map(|one| turn("user", parts(one, block))).collect()
}
