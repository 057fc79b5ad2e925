//! Whose events a stream holds: the first one shows it.

use serde_json::{Map, Value};

use super::text::Texts;
use crate::formats::anthropic_messages as anthropic;
use crate::formats::assembly::{Assembly, Continued, Free, Repeated, Seen};
use crate::formats::bedrock_converse as converse;
use crate::formats::openai_chat as chat;
use crate::formats::room::Room;
use crate::formats::tree;
use crate::wire::json::Part;
use crate::wire::sse;

/// What Bedrock itself adds to a vendor's last event.
pub(super) const METRICS: &str = "amazon-bedrock-invocationMetrics";

/// Puts a vendor's stream together again.
#[derive(Default)]
pub(in crate::formats) enum Vendor {
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
    fn of(event: &Map<String, Value>) -> Self {
        let has = |key: &str| event.contains_key(key);
        let has_text = |key: &str| event.get(key).is_some_and(Value::is_string);
        if has_text("type") && !has("outputText") {
            return Self::Anthropic(anthropic::Events::default());
        }
        if ["messageStart", "contentBlockStart", "contentBlockDelta"]
            .into_iter()
            .any(has)
        {
            return Self::Nova(converse::Events::default());
        }
        let first = event.get("choices").and_then(|choices| choices.get(0));
        if first.is_some_and(|choice| choice.get("delta").is_some()) || has_text("object") {
            return Self::Chat(chat::Chunks::new(&chat::CHAT, false));
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
        if matches!(self, Self::Unknown) {
            *self = Self::of(&fields);
        }
        match self {
            Self::Unknown => Seen::default(),
            Self::Anthropic(events) => events.event(Value::Object(fields), room),
            Self::Nova(events) => {
                let named = fields.into_iter().find(|(_, value)| value.is_object());
                let seen = named.map(|(name, value)| events.event(&name, value, room));
                seen.unwrap_or_default()
            }
            Self::Chat(chunks) => chunks.chunk(as_deltas(fields), room),
            Self::Text(texts) => texts.event(fields, room),
        }
    }

    fn goes_on<'p>(
        &mut self,
        name: &[u8],
        event: Part<'p>,
        room: &mut Room,
    ) -> Option<Continued<'p>> {
        if event.get(METRICS).is_some() {
            return None;
        }
        match self {
            Self::Unknown | Self::Text(_) => None,
            Self::Anthropic(events) => events.goes_on(name, event, room),
            Self::Nova(events) => {
                let mut members = event.members();
                let (name, value) = members.next().filter(|(_, value)| value.is_object())?;
                if members.next().is_some() {
                    return None;
                }
                events.goes_on(name.as_bytes(), value, room)
            }
            Self::Chat(chunks) => chunks.goes_on(name, event, room),
        }
    }

    fn again(&mut self, repeated: &Repeated<'_>, room: &mut Room) -> Option<Seen> {
        match self {
            Self::Unknown | Self::Text(_) => None,
            Self::Anthropic(events) => events.again(repeated, room),
            Self::Nova(events) => events.again(repeated, room),
            Self::Chat(chunks) => chunks.again(repeated, room),
        }
    }

    fn free(&self) -> &'static [Free] {
        match self {
            Self::Chat(chunks) => chunks.free(),
            _ => &[],
        }
    }

    /// Every vendor has its own.
    fn marks(&self) -> &'static [&'static str] {
        &[""]
    }

    fn response(&mut self) -> Option<Value> {
        match self {
            Self::Unknown => None,
            Self::Anthropic(events) => events.response(),
            Self::Nova(events) => events.response(),
            Self::Chat(chunks) => chunks.response(),
            Self::Text(texts) => texts.response(),
        }
    }
}

/// Mistral's chunks have a `message` where OpenAI's have a `delta`.
fn as_deltas(mut chunk: Map<String, Value>) -> Map<String, Value> {
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
