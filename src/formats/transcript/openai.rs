//! `OpenAI`'s formats: chat, completions, responses, and what stands beside them.

use serde_json::Value;

use super::{Part, Turn, flat, input, parts, text, turn};

pub(in crate::formats) fn chat(request: &Value) -> Vec<Turn> {
    let messages = request["messages"].as_array();
    messages.into_iter().flatten().map(message).collect()
}

pub(in crate::formats) fn chat_answer(answer: &Value) -> Vec<Turn> {
    let choices = answer["choices"].as_array();
    let messages = choices.into_iter().flatten().map(|one| &one["message"]);
    messages.map(message).collect()
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
    for key in ["reasoning_content", "reasoning"] {
        if let Some(thought) = message[key].as_str().filter(|thought| !thought.is_empty()) {
            all.push(Part::Thought(thought.to_owned()));
            break;
        }
    }
    all.extend(parts(&message["content"], block));
    if let Some(refusal) = message["refusal"].as_str() {
        all.push(Part::Text(refusal.to_owned()));
    }
    let calls = message["tool_calls"].as_array().into_iter().flatten();
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
        "summary_text" | "reasoning_text" => Part::Thought(text(&block["text"])),
        other => Part::Other(other.to_owned()),
    })
}

pub(in crate::formats) fn completion(request: &Value) -> Vec<Turn> {
    vec![turn("user", parts(&request["prompt"], block))]
}

pub(in crate::formats) fn completion_answer(answer: &Value) -> Vec<Turn> {
    let choices = answer["choices"].as_array().into_iter().flatten();
    let texts = choices.map(|one| turn("assistant", parts(&one["text"], block)));
    texts.collect()
}

pub(in crate::formats) fn response(request: &Value) -> Vec<Turn> {
    let mut turns = vec![turn("system", parts(&request["instructions"], block))];
    turns.extend(items(&request["input"], "user"));
    turns
}

/// Items of a response's input or output; a bare text is said by `role`.
pub(in crate::formats) fn items(items: &Value, role: &str) -> Vec<Turn> {
    if items.is_string() {
        return vec![turn(role, parts(items, block))];
    }
    let items = items.as_array().into_iter().flatten();
    items.map(|one| item(one, role)).collect()
}

fn item(item: &Value, role: &str) -> Turn {
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

/// Embeddings, moderations, images, speech, reranking: what they are about.
pub(in crate::formats) fn companion(request: &Value) -> Vec<Turn> {
    let asked = ["input", "prompt", "query"].into_iter();
    let asked = asked.filter_map(|key| request.get(key));
    asked.map(|one| turn("user", parts(one, block))).collect()
}
