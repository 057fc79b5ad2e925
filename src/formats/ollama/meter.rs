//! Lines of a stream put together again, and what a response tells. A chat's text is in `message`, that
//! of a completion stands beside it.

use serde_json::{Map, Value};

use crate::formats::assembly::{Assembly, Continued, Seen};
use crate::formats::room::Room;
use crate::formats::tokens::spoken;
use crate::formats::tree::{self, highest, list, size};
use crate::formats::{Reading, Tokens, ToolCall};
use crate::wire::json::Part;
use crate::wire::sse;

/// Members of the last line that need no room: they count, or say how the response ended.
const NEEDED: [&str; 9] = [
    "done",
    "done_reason",
    "eval_count",
    "eval_duration",
    "load_duration",
    "model",
    "prompt_eval_count",
    "prompt_eval_duration",
    "total_duration",
];
/// Bytes of such a member at most.
const LONGEST_NEEDED: usize = 1024;
/// Members that go on from line to line.
const TEXTS: [&str; 3] = ["content", "response", "thinking"];
const LISTS: [&str; 2] = ["logprobs", "tool_calls"];

/// Lines of a stream.
#[derive(Default)]
pub(super) struct Lines {
    response: Option<Map<String, Value>>,
}

impl Assembly for Lines {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        let Some(line) = tree::object(event.data) else {
            return Seen::default();
        };
        let is_end = line.get("done").is_some_and(|done| *done == true);
        let is_counted = ["prompt_eval_count", "eval_count"].map(|key| line.contains_key(key));
        let held = self.response.get_or_insert_default();
        Seen {
            said: merge(held, line, room) as u64,
            counted: is_counted.contains(&true),
            ends: is_end,
            ..Seen::default()
        }
    }

    fn goes_on<'p>(&mut self, _: &[u8], line: Part<'p>, room: &mut Room) -> Option<Continued<'p>> {
        let held = self.response.as_mut()?;
        let mut place = None;
        for (key, value) in line.members() {
            match key {
                "model" | "created_at" => {}
                "done" if value.raw() == "false" => {}
                "message" if place.is_none() => place = Some((Some(key), text_of(value)?)),
                key if TEXTS.contains(&key) && value.is("") => {}
                key if TEXTS.contains(&key) && place.is_none() && value.is_text() => {
                    place = Some((None, (key, value)));
                }
                _ => return None,
            }
        }
        let (message, (key, text)) = place?;
        let held = match message {
            Some(message) => held.get_mut(message)?.as_object_mut()?,
            None => held,
        };
        let Value::String(held) = held.get_mut(key)? else {
            return None;
        };
        let text = text.text()?;
        room.push(held, &text);
        Some(Continued {
            seen: Seen::said(text.len()),
            text: None,
        })
    }

    fn response(&mut self) -> Option<Value> {
        self.response.take().map(Value::Object)
    }

    fn marks(&self) -> &'static [&'static str] {
        &["message", "response", "done"]
    }
}

/// The only text of a message that says nothing else.
fn text_of(message: Part<'_>) -> Option<(&str, Part<'_>)> {
    let mut found = None;
    for (key, value) in message.members() {
        match key {
            "role" => {}
            key if TEXTS.contains(&key) && value.is("") => {}
            key if TEXTS.contains(&key) && value.is_text() && found.is_none() => {
                found = Some((key, value));
            }
            _ => return None,
        }
    }
    found
}

/// Adds a line, or its message, to those before it. Returns the bytes of what it says.
fn merge(held: &mut Map<String, Value>, line: Map<String, Value>, room: &mut Room) -> usize {
    let mut said = 0;
    for (key, value) in line {
        match value {
            Value::Object(message) if key == "message" => {
                let held = held.entry(key).or_insert_with(|| Map::new().into());
                if let Value::Object(held) = held {
                    said += merge(held, message, room);
                }
            }
            Value::String(text) if TEXTS.contains(&key.as_str()) => {
                said += text.len();
                match held.get_mut(&key) {
                    Some(Value::String(held)) => room.push(held, &text),
                    _ if room.take(key.len() + text.len()) => drop(held.insert(key, text.into())),
                    _ => {}
                }
            }
            Value::Array(more) if LISTS.contains(&key.as_str()) => {
                if key == "tool_calls" {
                    // A call has said something before it has parameters.
                    said += more.len() + more.iter().map(spoken).sum::<usize>();
                }
                let size = more.iter().map(size).sum::<usize>();
                if room.take(key.len() + size) {
                    match held.get_mut(&key) {
                        Some(Value::Array(held)) => held.extend(more),
                        _ => drop(held.insert(key, more.into())),
                    }
                }
            }
            value if held.contains_key(&key) && size(&value) < LONGEST_NEEDED => {
                held.insert(key, value);
            }
            value => {
                let is_needed = NEEDED.contains(&key.as_str()) && size(&value) < LONGEST_NEEDED;
                if is_needed || room.take(key.len() + size(&value)) {
                    held.insert(key, value);
                }
            }
        }
    }
    said
}

/// Reads a response.
pub(super) fn read(response: Part<'_>) -> Reading {
    let calls = list(response, "message/tool_calls").chain(list(response, "tool_calls"));
    let finish_reason = response.word("done_reason");
    // A request that only loads or unloads the model counts nothing.
    let is_idle = matches!(finish_reason.as_deref(), Some("load" | "unload"));
    let count = |key| highest(response, &[key]).or(is_idle.then_some(0));
    let tokens = Tokens {
        input: count("prompt_eval_count"),
        output: count("eval_count"),
        ..Tokens::default()
    };
    Reading {
        tool_calls: calls.filter_map(tool_call).collect(),
        finish_reason,
        model: response.word("model"),
        ..Reading::of(response, tokens, None)
    }
}

fn tool_call(call: Part<'_>) -> Option<ToolCall> {
    let function = call.get("function")?;
    ToolCall::of(function.get("name"), || {
        ToolCall::params(function.get("arguments"))
    })
}
