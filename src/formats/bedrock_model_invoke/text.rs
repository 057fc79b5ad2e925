//! Streams of vendors whose every event is the next piece of one text: Llama, Titan, Cohere,
//! and Mistral's completions.

use serde_json::{Map, Value, json};

use crate::formats::assembly::Seen;
use crate::formats::merge::merge;
use crate::formats::room::Room;
use crate::formats::tree::{count, elements, size};

/// Keys of text that goes on from event to event.
const TEXTS: [&str; 3] = ["generation", "outputText", "text"];
/// Keys that say why it ends.
const REASONS: [&str; 3] = ["stop_reason", "completionReason", "finish_reason"];
/// Keys of what was generated so far.
const COUNTS: [&str; 2] = ["generation_token_count", "totalOutputTextTokenCount"];

/// What the pieces came to.
#[derive(Default)]
pub(in crate::formats) struct Texts {
    response: Option<Value>,
    /// Cohere's last event repeats the whole response.
    whole: Option<Value>,
}

impl Texts {
    pub(super) fn event(&mut self, mut event: Map<String, Value>, room: &mut Room) -> Seen {
        let mut seen = Seen {
            said: said(&event),
            counted: COUNTS.iter().any(|key| {
                event
                    .get(*key)
                    .is_some_and(|reported| count(reported).is_some())
            }),
            ends: REASONS.iter().any(|key| {
                let reason = event.get(*key).and_then(Value::as_str);
                reason.is_some_and(|reason| !reason.is_empty())
            }) || event.get("is_finished") == Some(&Value::Bool(true)),
            ..Seen::default()
        };
        if let Some(Value::Object(whole)) = event.remove("response") {
            let whole = Value::Object(whole);
            if room.take(size(&whole)) {
                self.whole = Some(whole);
            }
        }
        for list in ["outputs", "choices"] {
            seen.ends |= number(event.get_mut(list));
        }
        for key in ["event_type", "is_finished"] {
            event.remove(key);
        }
        let response = self.response.get_or_insert_with(|| json!({}));
        for (key, value) in event {
            match (response.get_mut(&key), value) {
                (_, Value::Null) => {}
                // Counts are those up to here, and never fall.
                (Some(held), value) if count(held).is_some() && count(&value) < count(held) => {}
                // These replace each other, but for text.
                (Some(held), value) if !TEXTS.contains(&key.as_str()) && !value.is_array() => {
                    if size(&value) <= size(held) || room.take(size(&value) - size(held)) {
                        *held = value;
                    }
                }
                (_, value) => merge(response, json!({ key: value }), room),
            }
        }
        seen
    }

    pub(super) fn response(&mut self) -> Option<Value> {
        let mut response = self.response.take()?;
        if let Some(whole) = self.whole.take() {
            return Some(whole);
        }
        for list in ["outputs", "choices"] {
            let outputs = response.get_mut(list).and_then(Value::as_array_mut);
            for output in outputs.into_iter().flatten() {
                // Only pieces of a stream need an index here.
                if let Some(output) = output
                    .as_object_mut()
                    .filter(|one| one.contains_key("text"))
                {
                    output.remove("index");
                }
            }
        }
        if response.get("outputText").is_some() {
            return Some(titan(&response));
        }
        Some(response)
    }
}

/// Numbers the outputs, so that the pieces of each are told apart, and says if one has ended.
fn number(outputs: Option<&mut Value>) -> bool {
    let mut ended = false;
    let outputs = outputs.and_then(Value::as_array_mut);
    for (nth, output) in outputs.into_iter().flatten().enumerate() {
        if let Some(output) = output.as_object_mut() {
            ended |= output.get("stop_reason").is_some_and(Value::is_string);
            output.entry("index").or_insert(nth.into());
        }
    }
    ended
}

/// Bytes that the model wrote.
fn said(event: &Map<String, Value>) -> u64 {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map_or(0, str::len);
    let mut bytes: usize = TEXTS.iter().map(|key| text(event.get(*key))).sum();
    for key in ["outputs", "choices"] {
        let outputs = event.get(key).map(elements).unwrap_or_default();
        let texts = outputs.iter().map(|output| text(output.get("text")));
        bytes += texts.sum::<usize>();
    }
    bytes as u64
}

/// Titan tells unstreamed what its stream has in one level.
fn titan(response: &Value) -> Value {
    json!({
        "inputTextTokenCount": response["inputTextTokenCount"],
        "results": [{
            "tokenCount": response["totalOutputTextTokenCount"],
            "outputText": response["outputText"],
            "completionReason": response["completionReason"],
        }],
    })
}
