//! Whose events a stream holds: the first one shows it.

use serde_json::Value;

use super::text::Texts;
use crate::formats::anthropic_messages as anthropic;
use crate::formats::bedrock_converse as converse;
use crate::formats::meter::{Assembly, Room, Seen};
use crate::formats::openai_chat as chat;
use crate::formats::tree;
use crate::wire::sse;

/// What Bedrock itself adds to a vendor's last event.
pub(super) const METRICS: &str = "amazon-bedrock-invocationMetrics";

/// Puts a vendor's stream together again.
#[derive(Default)]
pub(super) enum Vendor {
    /// Nothing has come yet.
    #[default]
    Unknown,
    Anthropic(anthropic::Events),
    /// Nova's events are those of `Converse`, each the value of its name.
    Nova(converse::Events),
    /// Mistral's chat, Jamba, gpt-oss, Qwen and others: as OpenAI's.
    Chat(chat::Chunks),
    /// Llama, Titan, Cohere, and Mistral's completions.
    Text(Texts),
}

impl Vendor {
    fn of(event: &Value) -> Self {
        let has = |key: &str| event.get(key).is_some();
        if event["type"].is_string() && !has("outputText") {
            return Self::Anthropic(anthropic::Events::default());
        }
        if ["messageStart", "contentBlockStart", "contentBlockDelta"]
            .into_iter()
            .any(has)
        {
            return Self::Nova(converse::Events::default());
        }
        if event.pointer("/choices/0/delta").is_some() || event["object"].is_string() {
            return Self::Chat(chat::Chunks::new(false));
        }
        Self::Text(Texts::default())
    }
}

impl Assembly for Vendor {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        let Some(mut fields) = tree::object(event.data) else {
            return Seen::default();
        };
        fields.remove(METRICS);
        if fields.is_empty() {
            return Seen::default();
        }
        let value = Value::Object(fields);
        if matches!(self, Self::Unknown) {
            *self = Self::of(&value);
        }
        match self {
            Self::Unknown => Seen::default(),
            Self::Anthropic(events) => events.event(value, room),
            Self::Nova(events) => {
                let Value::Object(fields) = value else {
                    return Seen::default();
                };
                let named = fields.into_iter().find(|(_, value)| value.is_object());
                named.map_or_else(Seen::default, |(name, value)| {
                    events.event(&name, value, room)
                })
            }
            Self::Chat(chunks) => {
                let data = as_deltas(value).to_string();
                let data = data.as_bytes();
                chunks.add(&sse::Event { name: b"", data }, room)
            }
            Self::Text(texts) => texts.event(value, room),
        }
    }

    /// Every vendor has its own.
    fn marks(&self) -> &'static [&'static str] {
        &[""]
    }

    fn answer(&mut self) -> Option<Value> {
        match self {
            Self::Unknown => None,
            Self::Anthropic(events) => events.answer(),
            Self::Nova(events) => events.answer(),
            Self::Chat(chunks) => chunks.answer(),
            Self::Text(texts) => texts.answer(),
        }
    }
}

/// Mistral's chunks have a `message` where OpenAI's have a `delta`.
fn as_deltas(mut chunk: Value) -> Value {
    let choices = chunk.get_mut("choices").and_then(Value::as_array_mut);
    for choice in choices.into_iter().flatten() {
        if let Some(choice) = choice.as_object_mut()
            && !choice.contains_key("delta")
            && let Some(message) = choice.remove("message")
        {
            choice.insert("delta".to_owned(), message);
        }
    }
    chunk
}
