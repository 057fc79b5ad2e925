//! Chat completions, and the older ones, which come in the same chunks: put together again, and what
//! a completion tells.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::formats::assembly::{Assembly, Continued, Free, Repeated, Seen};
use crate::formats::merge::{Additions, call_goes_on, is_same, merge, text_bytes};
use crate::formats::openai::usage::{self, OfChoices, Usage};
use crate::formats::room::Room;
use crate::formats::tokens::spoken;
use crate::formats::tree::{self, add_counts_at, size};
use crate::formats::{Pass, Reading, ToolCall};
use crate::wire::json::Part;
use crate::wire::sse;

/// Bytes of what counts, which needs no room.
const NEEDED: usize = 4096;

/// Chunks of a stream, each with a piece of one choice or several.
pub(in crate::formats) struct Chunks {
    hide_usage: bool,
    kind: &'static Kind,
    response: Option<Value>,
    of_choices: OfChoices,
    target: Target,
}

/// The text that the last chunk went on with.
#[derive(Default)]
struct Target {
    /// The place of its choice.
    choice: usize,
    /// The place of its call, if it is the parameters of one.
    call: Option<usize>,
    key: String,
}

impl Target {
    fn set(&mut self, choice: usize, call: Option<usize>, key: &str) {
        (self.choice, self.call) = (choice, call);
        key.clone_into(&mut self.key);
    }
}

/// What differs between chat and the older completions.
pub(in crate::formats) struct Kind {
    /// The `object` of the whole response, where that of a chunk is another.
    pub object: Option<&'static str>,
    /// Keys of a chunk that always have room, because they count or name a price.
    pub needed: &'static [&'static str],
    /// Bytes that the model wrote of a piece of a choice, and the piece as the whole response has
    /// it; `None` if it isn't a choice.
    pub piece: fn(Value) -> Option<(usize, Value)>,
    /// The part of a choice that has the texts, in a chunk and in the whole response; none where they
    /// stand in the choice itself.
    pub texts: Option<(&'static str, &'static str)>,
    /// As what a text of this key counts.
    pub says: fn(&str) -> Says,
}

/// As what a text counts.
pub(in crate::formats) enum Says {
    Nothing,
    Plain,
    /// Some servers give the same reasoning under several names.
    Reasoning,
}

/// Chat completions.
pub(in crate::formats) static CHAT: Kind = Kind {
    object: Some("chat.completion"),
    needed: &["usage", "timings", "service_tier", "model"],
    piece: |choice| {
        let Value::Object(mut choice) = choice else {
            return None;
        };
        let delta = choice.remove("delta").unwrap_or_default();
        let said = said(&delta);
        choice.entry("index").or_insert(0.into());
        choice.insert("message".to_owned(), delta);
        Some((said, Value::Object(choice)))
    },
    texts: Some(("delta", "message")),
    says: |key| match key {
        // What the names of things are, and what repeats the rest in another form.
        "role" | "id" | "type" | "provider_specific_fields" => Says::Nothing,
        key if key.contains("reason") || key.contains("think") => Says::Reasoning,
        _ => Says::Plain,
    },
};

impl Chunks {
    pub(in crate::formats) fn new(kind: &'static Kind, hide_usage: bool) -> Self {
        Self {
            hide_usage,
            kind,
            response: None,
            of_choices: OfChoices::default(),
            target: Target::default(),
        }
    }
}

impl Assembly for Chunks {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        if event.data == b"[DONE]" {
            return Seen::end();
        }
        match tree::object(event.data) {
            Some(chunk) => self.chunk(chunk, room),
            None => Seen::default(),
        }
    }

    fn goes_on<'p>(&mut self, _: &[u8], chunk: Part<'p>, room: &mut Room) -> Option<Continued<'p>> {
        let response = self.response.as_mut()?.as_object_mut()?;
        for (key, value) in chunk.members() {
            // Later chunks repeat these, or tell more.
            match (key, response.get_mut(key)?) {
                ("choices", _) => {}
                ("object", _) if self.kind.object.is_some() => {}
                _ if value.is_null() => {}
                ("usage" | "x_groq", _) => return None,
                (_, Value::String(held)) if value.is_text() => {
                    let text = value.text()?;
                    if *held != text {
                        text.as_ref().clone_into(held);
                    }
                }
                (_, held) => is_same(held, value).then_some(())?,
            }
        }
        let mut choices = chunk.get("choices")?.elements();
        let (choice, None) = (choices.next()?, choices.next()) else {
            return None;
        };
        let held = response.get_mut("choices")?.as_array_mut()?;
        let (said, text) = self.kind.goes_on(held, choice, &mut self.target, room)?;
        Some(Continued {
            seen: Seen::said(said),
            text,
        })
    }

    fn again(&mut self, repeated: &Repeated<'_>, room: &mut Room) -> Option<Seen> {
        let text = &*repeated.text;
        // A picture in place of a text counts otherwise.
        if text.starts_with("data:") {
            return None;
        }
        let response = self.response.as_mut()?.as_object_mut()?;
        for (key, padding) in repeated.free.iter().flatten() {
            if let Value::String(held) = response.get_mut(*key)? {
                padding.as_ref().clone_into(held);
            }
        }
        let Target { choice, call, key } = &self.target;
        let mut of = response.get_mut("choices")?.get_mut(*choice)?;
        if let Some((_, message)) = self.kind.texts {
            of = of.get_mut(message)?;
        }
        if let Some(call) = call {
            of = of
                .get_mut("tool_calls")?
                .get_mut(*call)?
                .get_mut("function")?;
        }
        let Value::String(held) = of.get_mut(key.as_str())? else {
            return None;
        };
        room.push(held, text);
        // A call has said something before it has parameters.
        Some(Seen::said(text.len() + usize::from(call.is_some())))
    }

    fn free(&self) -> &'static [Free] {
        // Padding, so that the length of a chunk says nothing.
        &[Free::Text("obfuscation"), Free::Text("p")]
    }

    fn marks(&self) -> &'static [&'static str] {
        &["choices"]
    }

    fn response(&mut self) -> Option<Value> {
        let mut response = self.response.take()?;
        let choices = response["choices"].as_array_mut()?;
        self.of_choices.put(choices);
        choices.sort_by_key(|choice| choice["index"].as_u64());
        for choice in choices {
            let calls = choice.pointer_mut("/message/tool_calls");
            // Only pieces of a stream need an index.
            for call in calls.and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(call) = call.as_object_mut() {
                    call.remove("index");
                }
            }
        }
        Some(response)
    }
}

impl Chunks {
    /// Takes in one chunk.
    pub(in crate::formats) fn chunk(
        &mut self,
        mut chunk: Map<String, Value>,
        room: &mut Room,
    ) -> Seen {
        let mut choices = match chunk.remove("choices") {
            Some(Value::Array(choices)) => choices,
            _ => Vec::new(),
        };
        let is_report = chunk.get("usage").is_some_and(Value::is_object);
        let reported = usage::take(&mut chunk, &mut choices, &mut self.of_choices);
        let mut seen = Seen {
            counted: reported.counts_output,
            // Not every server sends `[DONE]`.
            ends: choices.iter().any(is_ended),
            ..Seen::default()
        };
        if is_report && choices.is_empty() && self.hide_usage {
            seen.pass = Pass::Hidden;
        }
        if let Some(object) = self.kind.object {
            chunk.insert("object".to_owned(), object.into());
        }
        let response = self
            .response
            .get_or_insert_with(|| json!({ "choices": [] }));
        for (key, value) in chunk {
            // Later chunks repeat these, or tell more.
            if let Some(held) = response.get_mut(&key) {
                if !value.is_null() {
                    *held = value;
                }
            } else if self.kind.needed.contains(&key.as_str()) && size(&value) < NEEDED
                || room.take(key.len() + size(&value))
            {
                response[key] = value;
            }
        }
        if let (Some(usage), Some(response)) = (reported.usage, response.as_object_mut()) {
            add_counts_at(response, "usage", usage);
        }
        let pieces = choices.into_iter().filter_map(self.kind.piece);
        let pieces = pieces.map(|(said, piece)| {
            seen.said += said as u64;
            piece
        });
        merge(&mut response["choices"], pieces.collect(), room);
        seen
    }
}

impl Kind {
    /// Takes in a choice's piece that only goes on with texts. Returns how much it says, and what it
    /// goes on with if that is one text, whose place is then the `target`.
    fn goes_on<'p>(
        &self,
        choices: &mut [Value],
        piece: Part<'p>,
        target: &mut Target,
        room: &mut Room,
    ) -> Option<(usize, Option<Part<'p>>)> {
        let index = match (piece.get("index"), self.texts) {
            (Some(index), _) => index.whole()?,
            (None, Some(_)) => 0,
            (None, None) => return None,
        };
        let is_meant = |held: &Value| held["index"].as_u64() == Some(index);
        let choice = choices.iter().position(is_meant)?;
        let held = choices[choice].as_object_mut()?;
        let is_other = |(key, value): (&str, Part<'_>)| match key {
            "finish_reason" => !value.is_null() && !value.is(""),
            "message" | "usage" => true,
            _ => false,
        };
        if piece.members().any(is_other) {
            return None;
        }
        let (held, piece) = if let Some((of_piece, of_held)) = self.texts {
            if !Additions::of(held, piece, |key| key == of_piece)?.is_empty() {
                return None;
            }
            let piece = piece.get(of_piece).filter(|piece| piece.is_object())?;
            (held.get_mut(of_held)?.as_object_mut()?, piece)
        } else {
            (held, piece)
        };
        let is_calls = |key: &str| self.texts.is_some() && key == "tool_calls";
        let mut said = self.said(piece)?;
        let texts = Additions::of(held, piece, is_calls)?;
        let mut only = texts.only();
        if let Some((key, _)) = only {
            target.set(choice, None, key);
        }
        if let Some(calls) = piece.get("tool_calls").filter(|_| is_calls("tool_calls")) {
            let held = held.get_mut("tool_calls")?;
            if !calls.is_null() {
                let (at, says, text) = calls_go_on(held.as_array_mut()?, calls, room)?;
                if let Some((key, _)) = text {
                    target.set(choice, Some(at), key);
                }
                said += says;
                only = text.filter(|_| texts.is_empty());
            }
        }
        texts.add(held, room);
        let is_plain = |text: &Part<'_>| {
            let bytes = text_bytes(*text).unwrap_or(0);
            bytes > 0 && said == bytes + usize::from(target.call.is_some())
        };
        Some((said, only.map(|(_, text)| text).filter(is_plain)))
    }

    /// Bytes of a piece's texts; `None` if one of them isn't a string.
    fn said(&self, piece: Part<'_>) -> Option<usize> {
        let (mut plain, mut reasoning) = (0, 0);
        for (key, value) in piece.members().filter(|(_, value)| value.is_text()) {
            let bytes = text_bytes(value)?;
            match (self.says)(key) {
                Says::Nothing => {}
                Says::Reasoning => reasoning = reasoning.max(bytes),
                Says::Plain => plain += bytes,
            }
        }
        Some(plain + reasoning)
    }
}

/// A text with its key.
type Keyed<'p> = (&'p str, Part<'p>);

/// Takes in pieces of at most one call that only go on with its parameters: where it stands, how much
/// they say, and the text.
fn calls_go_on<'p>(
    held: &mut [Value],
    pieces: Part<'p>,
    room: &mut Room,
) -> Option<(usize, usize, Option<Keyed<'p>>)> {
    let mut pieces = pieces.is_array().then(|| pieces.elements())?;
    let (first, None) = (pieces.next(), pieces.next()) else {
        return None;
    };
    let Some(piece) = first else {
        return Some((0, 0, None));
    };
    let (at, arguments) = call_goes_on(held, piece)?;
    // A call has said something before it has parameters.
    let said = 1 + arguments.bytes()?;
    let only = arguments.only();
    let function = held.get_mut(at)?.get_mut("function")?;
    arguments.add(function.as_object_mut()?, room);
    Some((at, said, only))
}

/// Bytes of a delta that the model wrote, under whatever key. A call has said something before it
/// has parameters.
fn said(delta: &Value) -> usize {
    let calls = delta.get("tool_calls").and_then(Value::as_array);
    let (mut plain, mut reasoning) = (calls.map_or(0, Vec::len), 0);
    for (key, value) in delta.as_object().into_iter().flatten() {
        match (CHAT.says)(key) {
            Says::Nothing => {}
            Says::Reasoning => reasoning = reasoning.max(spoken(value)),
            Says::Plain if key == "audio" => plain += spoken(&json!({ "audio": value })),
            Says::Plain => plain += spoken(value),
        }
    }
    plain + reasoning
}

/// Reads a completion.
pub(in crate::formats) fn read(completion: Part<'_>) -> Reading {
    let usage = Usage::of_response(completion);
    let choices = completion.get("choices").into_iter();
    let choices = choices.flat_map(Part::elements);
    let messages = choices.clone().filter_map(|choice| choice.get("message"));
    let calls = messages.flat_map(|message| {
        let calls = message.get("tool_calls").into_iter();
        let calls = calls.flat_map(Part::elements).filter_map(tool_call);
        // The form from before there could be several.
        calls.chain(message.get("function_call").and_then(function))
    });
    let reason = |choice: Part<'_>| {
        let reason = choice.get("finish_reason")?.text()?;
        (!reason.is_empty()).then(|| reason.into_owned())
    };
    let word = |key| completion.get(key)?.text().map(Cow::into_owned);
    Reading {
        tier: word("service_tier"),
        model: word("model"),
        tool_calls: calls.collect(),
        finish_reason: choices.filter_map(reason).last(),
        ..Reading::of(completion, usage.tokens, usage.total)
    }
}

/// Whether a choice tells why it ended; some servers send an empty reason until it does.
fn is_ended(choice: &Value) -> bool {
    let reason = choice["finish_reason"].as_str();
    reason.is_some_and(|reason| !reason.is_empty())
}

fn tool_call(call: Part<'_>) -> Option<ToolCall> {
    if let Some(custom) = call.get("custom") {
        let input = || Value::from(custom.word("input").unwrap_or_default()).to_string();
        return ToolCall::of(custom.get("name"), input);
    }
    function(call.get("function")?)
}

fn function(function: Part<'_>) -> Option<ToolCall> {
    let arguments = || function.word("arguments").unwrap_or_default();
    ToolCall::of(function.get("name"), arguments)
}

#[cfg(test)]
mod tests;
