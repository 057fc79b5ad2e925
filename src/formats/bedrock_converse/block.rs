//! One block of a `Converse` stream. What kind it is shows by its deltas: only tools, images
//! and the results of tools that Bedrock runs itself have a start worth the name.

use serde_json::{Value, json};

use crate::formats::assembly::Seen;
use crate::formats::merge::merge;
use crate::formats::room::Room;
use crate::formats::tokens::sealed;
use crate::formats::tree::size;
use crate::wire::json::Part;

/// A block, as far as it came.
#[derive(Default)]
pub(super) struct Block {
    value: Value,
    /// Input of a tool, which comes as pieces of JSON text.
    input: String,
    citations: Vec<Value>,
}

/// Where a text of a block goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// The input of a tool.
    Input,
    Reasoning,
    #[default]
    Text,
}

/// The text of a delta that has nothing else, and where it goes on.
pub(super) fn text_of(delta: Part<'_>) -> Option<(Place, Part<'_>)> {
    let (kind, piece) = only(delta)?;
    let (place, piece) = match kind {
        "text" => (Place::Text, Some(piece)),
        "toolUse" => (
            Place::Input,
            only(piece)
                .filter(|(key, _)| *key == "input")
                .map(|(_, piece)| piece),
        ),
        "reasoningContent" => (
            Place::Reasoning,
            only(piece)
                .filter(|(key, _)| *key == "text")
                .map(|(_, piece)| piece),
        ),
        _ => return None,
    };
    Some((place, piece.filter(|piece| piece.is_text())?))
}

/// The only member of an object.
fn only(of: Part<'_>) -> Option<(&str, Part<'_>)> {
    let mut members = of.members();
    members.next().filter(|_| members.next().is_none())
}

impl Block {
    /// Whether an event starts another call than this one.
    pub(super) fn is_another(&self, event: &Value) -> bool {
        let id = |of: Option<&Value>| Some(of?.as_str()?.to_owned());
        let own = id(self.value.pointer("/toolUse/toolUseId"));
        let other = id(event.pointer("/start/toolUse/toolUseId"));
        own.is_some() && other.is_some() && own != other
    }

    /// Takes in its start, and returns the bytes of it that the model wrote.
    pub(super) fn start(&mut self, event: &Value, room: &mut Room) -> usize {
        let start = &event["start"];
        let begun = start.as_object().is_some_and(|start| !start.is_empty());
        if !begun || !room.take(size(start)) {
            return 0;
        }
        self.value = start.clone();
        // The call of a tool is output already.
        usize::from(start.get("toolUse").is_some())
    }

    /// Goes on with a text that is held.
    pub(super) fn goes_on(&mut self, place: Place, piece: &str, room: &mut Room) -> Option<Seen> {
        let held = match place {
            Place::Input => &mut self.input,
            Place::Reasoning | Place::Text => {
                let value = &mut self.value;
                let held = if place == Place::Text {
                    value.get_mut("text")
                } else {
                    value.pointer_mut("/reasoningContent/reasoningText/text")
                };
                match held {
                    Some(Value::String(held)) => held,
                    _ => return None,
                }
            }
        };
        room.push(held, piece);
        Some(Seen::said(piece.len()))
    }

    /// Takes in a delta, and returns the bytes of it that the model wrote.
    pub(super) fn add(&mut self, delta: Value, room: &mut Room) -> usize {
        let Value::Object(delta) = delta else {
            return 0;
        };
        let mut said = 0;
        for (kind, piece) in delta {
            said += match (kind.as_str(), piece) {
                ("toolUse", piece) => {
                    let piece = piece["input"].as_str().unwrap_or_default();
                    room.push(&mut self.input, piece);
                    piece.len()
                }
                ("reasoningContent", piece) => self.reason(&piece, room),
                ("citation", piece) => {
                    if room.take(size(&piece)) {
                        self.citations.push(piece);
                    }
                    0
                }
                ("toolResult", Value::Array(pieces)) => {
                    self.result(pieces, room);
                    0
                }
                (kind, piece) => {
                    let length = size(&piece);
                    self.merge(json!({ kind: piece }), room);
                    length
                }
            };
        }
        said
    }

    fn reason(&mut self, piece: &Value, room: &mut Room) -> usize {
        let mut said = 0;
        for (key, value) in piece.as_object().into_iter().flatten() {
            let part = match key.as_str() {
                "text" | "signature" => json!({ "reasoningText": { key: value } }),
                _ => json!({ key: value }),
            };
            said += match key.as_str() {
                // It holds all of the reasoning, of which the caller may have been shown a part.
                "signature" => {
                    let shown = self.value.pointer("/reasoningContent/reasoningText/text");
                    let shown = shown.and_then(Value::as_str).map_or(0, str::len);
                    sealed(value).saturating_sub(shown)
                }
                "redactedContent" => sealed(value),
                _ => size(value),
            };
            self.merge(json!({ "reasoningContent": part }), room);
        }
        said
    }

    fn result(&mut self, pieces: Vec<Value>, room: &mut Room) {
        if self.value["toolResult"]["content"].is_null() {
            self.merge(json!({ "toolResult": { "content": [] } }), room);
        }
        let content = self.value.pointer_mut("/toolResult/content");
        let Some(content) = content.and_then(Value::as_array_mut) else {
            return;
        };
        for piece in pieces {
            let last = content.last_mut().and_then(|last| last.get_mut("text"));
            match (last, piece.get("text")) {
                (Some(Value::String(text)), Some(Value::String(more))) => room.push(text, more),
                _ if room.take(size(&piece) + 32) => content.push(piece),
                _ => {}
            }
        }
    }

    fn merge(&mut self, piece: Value, room: &mut Room) {
        if !self.value.is_object() {
            self.value = json!({});
        }
        merge(&mut self.value, piece, room);
    }

    /// The block as it would have come unstreamed; `None` if nothing of it came.
    pub(super) fn finished(mut self) -> Option<Value> {
        if self.value["toolUse"].is_object() {
            // Input that was cut off is kept as text; without a piece it is an empty object.
            self.value["toolUse"]["input"] = match self.input.as_str() {
                "" => json!({}),
                input => serde_json::from_str(input).unwrap_or_else(|_| input.into()),
            };
        }
        if !self.citations.is_empty() {
            let text = self.value["text"].take();
            let content = if text.is_null() {
                json!([])
            } else {
                json!([{ "text": text }])
            };
            let citations = std::mem::take(&mut self.citations);
            self.value = json!({
                "citationsContent": { "content": content, "citations": citations }
            });
        }
        self.value.is_object().then_some(self.value)
    }
}
