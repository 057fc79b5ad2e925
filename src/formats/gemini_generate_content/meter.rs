//! Generated content: a stream's responses put together again, and what a response tells.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::partial;
use crate::formats::assembly::{Assembling, Assembly, Read, Seen};
use crate::formats::room::Room;
use crate::formats::tokens::sealed;
use crate::formats::tree::{
    self, OVERHEAD, add_counts_at, count, elements, highest, list, size, sum, word,
};
use crate::formats::{Density, Meter, MeteredRequest, Reading, Tokens, ToolCall};
use crate::wire::sse;

/// Keys that responses have.
const OWN: [&str; 6] = [
    "candidates",
    "createTime",
    "modelVersion",
    "promptFeedback",
    "responseId",
    "usageMetadata",
];

/// Responses of a stream.
#[derive(Default)]
struct Contents {
    whole: Option<Map<String, Value>>,
    candidates: Vec<Map<String, Value>>,
}

impl Assembly for Contents {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        let Some(mut response) = tree::object(event.data) else {
            return Seen::default();
        };
        let is_own = response.keys().any(|key| OWN.contains(&key.as_str()));
        if response.contains_key("error") || !is_own {
            return Seen::default();
        }
        let candidates = match response.remove("candidates") {
            Some(Value::Array(candidates)) => candidates,
            _ => Vec::new(),
        };
        let usage = response.get("usageMetadata");
        let reported = |key| usage.and_then(|usage| count(usage.get(key)?)).is_some();
        let has_counts = reported("promptTokenCount") || reported("totalTokenCount");
        let mut seen = Seen {
            // The first responses often tell the prompt's tokens only.
            counted: reported("candidatesTokenCount") || reported("thoughtsTokenCount"),
            // A prompt that is refused has no candidates.
            ends: is_blocked(&response),
            ..Seen::default()
        };
        let whole = self.whole.get_or_insert_default();
        for (key, value) in response {
            match value {
                Value::Object(usage) if key == "usageMetadata" => {
                    add_counts_at(whole, &key, usage);
                }
                value => replace(whole, key, value, room),
            }
        }
        for candidate in candidates {
            if let Value::Object(candidate) = candidate {
                seen.said += self.candidate(candidate, room);
            }
        }
        let finished =
            |one: &Map<String, Value>| one.get("finishReason").is_some_and(Value::is_string);
        seen.ends |= !self.candidates.is_empty() && self.candidates.iter().all(finished);
        // What the last report leaves out is zero.
        seen.counted |= seen.ends && has_counts;
        seen
    }

    fn marks(&self) -> &'static [&'static str] {
        &OWN
    }

    /// A stream without `alt=sse` is an array of responses, read at its end as far as it came: a
    /// broken one has no end.
    fn listed<'b>(&self, body: &'b [u8]) -> Option<Vec<&'b [u8]>> {
        let mut rest = body.trim_ascii_start().strip_prefix(b"[")?;
        let mut responses = Vec::new();
        loop {
            let is_between = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
            rest = &rest[rest.iter().take_while(|byte| is_between(byte)).count()..];
            let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
            let Some(Ok(response)) = values.next() else {
                return Some(responses);
            };
            responses.push(response.get().as_bytes());
            rest = &rest[values.byte_offset()..];
        }
    }

    fn response(&mut self) -> Option<Value> {
        let mut whole = self.whole.take()?;
        if !self.candidates.is_empty() {
            let mut candidates = std::mem::take(&mut self.candidates);
            candidates.sort_by_key(index);
            let candidates = candidates.into_iter().map(Value::Object).collect();
            whole.insert("candidates".to_owned(), candidates);
        }
        Some(Value::Object(whole))
    }
}

impl Contents {
    /// Takes in a candidate's next piece; returns how many bytes it said.
    fn candidate(&mut self, mut piece: Map<String, Value>, room: &mut Room) -> u64 {
        let index = index(&piece);
        let place = self
            .candidates
            .iter()
            .position(|held| self::index(held) == index);
        let place = if let Some(place) = place {
            place
        } else {
            if !room.take(OVERHEAD) {
                return 1;
            }
            let mut held = Map::new();
            if let Some(index) = piece.get("index") {
                held.insert("index".to_owned(), index.clone());
            }
            self.candidates.push(held);
            self.candidates.len() - 1
        };
        let held = &mut self.candidates[place];
        let mut spoken = 0;
        if let Some(Value::Object(mut content)) = piece.remove("content") {
            let into = held.entry("content").or_insert_with(|| json!({}));
            let parts = content.remove("parts");
            if let Some(into) = into.as_object_mut() {
                for (key, value) in content {
                    replace(into, key, value, room);
                }
                if let Some(Value::Array(parts)) = parts {
                    let list = into.entry("parts").or_insert_with(|| json!([]));
                    for part in parts {
                        if let (Value::Object(part), Some(list)) = (part, list.as_array_mut()) {
                            spoken += said(&part);
                            add_part(list, part, room);
                        }
                    }
                }
            }
        }
        for (key, value) in piece {
            match (key.as_str(), held.get_mut(&key)) {
                // Each piece tells its own citations.
                ("citationMetadata", Some(citations)) => append(citations, value, room),
                _ => replace(held, key, value, room),
            }
        }
        spoken
    }
}

fn index(candidate: &Map<String, Value>) -> u64 {
    candidate.get("index").and_then(Value::as_u64).unwrap_or(0)
}

/// Keeps the newest value of a field. Those that count and end the response always have room.
fn replace(into: &mut Map<String, Value>, key: String, value: Value, room: &mut Room) {
    let bytes = size(&value);
    let needed = key == "finishReason" && bytes < 8 * 1024;
    let held = into.get(&key).map_or(0, size);
    if needed || bytes <= held || room.take(OVERHEAD + key.len() + bytes - held) {
        into.insert(key, value);
    }
}

/// Adds the lists of one object to those of another.
fn append(into: &mut Value, from: Value, room: &mut Room) {
    let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) else {
        return;
    };
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Array(held)), Value::Array(more)) => {
                for one in more {
                    if room.take(OVERHEAD + size(&one)) {
                        held.push(one);
                    }
                }
            }
            (_, value) => replace(into, key, value, room),
        }
    }
}

/// Adds a part. Text goes on in the part before it if that is of the same kind; a signature
/// belongs to the part that it comes with, or that an empty text brings it for.
fn add_part(parts: &mut Vec<Value>, part: Map<String, Value>, room: &mut Room) {
    if let Some(held) = parts.last_mut().and_then(Value::as_object_mut) {
        if goes_on(held, &part) {
            for (key, value) in part {
                match (held.get_mut(&key), value) {
                    (Some(Value::String(held)), Value::String(text)) if key == "text" => {
                        room.push(held, &text);
                    }
                    (_, value) => replace(held, key, value, room),
                }
            }
            return;
        }
        let call = part.get("functionCall").and_then(Value::as_object);
        if let (Some(Value::Object(function)), Some(call)) = (held.get_mut("functionCall"), call)
            && function.contains_key("willContinue")
        {
            partial::add(function, call, room);
            if call.get("willContinue") != Some(&Value::Bool(true)) {
                function.remove("willContinue");
            }
            return;
        }
    }
    let bytes = part.iter().map(|(key, value)| key.len() + size(value));
    if room.take(OVERHEAD + bytes.sum::<usize>()) {
        let mut part = part;
        if let Some(Value::Object(function)) = part.get_mut("functionCall")
            && let Some(pieces) = function.remove("partialArgs")
        {
            let call = Map::from_iter([("partialArgs".to_owned(), pieces)]);
            partial::add(function, &call, room);
        }
        parts.push(Value::Object(part));
    }
}

/// Whether a part is the text that goes on after `held`.
fn goes_on(held: &Map<String, Value>, part: &Map<String, Value>) -> bool {
    let is_text = |one: &Map<String, Value>| {
        one.get("text").is_some_and(Value::is_string)
            && one
                .keys()
                .all(|key| matches!(key.as_str(), "text" | "thought" | "thoughtSignature"))
    };
    let thought = |one: &Map<String, Value>| one.get("thought") == Some(&Value::Bool(true));
    is_text(held)
        && is_text(part)
        && thought(held) == thought(part)
        && !held.contains_key("thoughtSignature")
}

/// Bytes of a part that the model wrote; a picture counts for little, as its bytes are no text.
fn said(part: &Map<String, Value>) -> u64 {
    let bytes = if let Some(text) = part.get("text").and_then(Value::as_str) {
        text.len() + part.get("thoughtSignature").map_or(0, sealed)
    } else if part.contains_key("inlineData") {
        1
    } else {
        part.values().map(size).sum::<usize>().max(1)
    };
    bytes as u64
}

/// A meter for responses, each of which `read` reads.
pub(in crate::formats) fn meter(read: Read, request: &MeteredRequest<'_>) -> Box<dyn Meter> {
    Box::new(Assembling::new(Contents::default(), read, request))
}

/// Reads a response.
pub(in crate::formats) fn read(response: &Map<String, Value>) -> Reading {
    let none = Map::new();
    let usage = response.get("usageMetadata").and_then(Value::as_object);
    let usage = usage.unwrap_or(&none);
    let candidates = list(response, "candidates");
    let ended = |one: &Value| one.get("finishReason").is_some_and(Value::is_string);
    let is_generated = is_blocked(response) || candidates.iter().any(ended);
    let total = highest(usage, &["totalTokenCount"]);
    let mut reading = Reading {
        tier: word(usage, "serviceTier").or_else(|| word(usage, "trafficType")),
        finish_reason: word(response, "promptFeedback/blockReason"),
        model: word(response, "modelVersion"),
        density: density(response),
        ..Reading::of(response, tokens(usage, is_generated), total)
    };
    for candidate in candidates {
        let reason = candidate["finishReason"].as_str();
        reading.finish_reason = reason.map(str::to_owned).or(reading.finish_reason);
        let parts = elements(&candidate["content"]["parts"]).iter();
        reading.tool_calls.extend(parts.filter_map(tool_call));
        let queries = candidate["groundingMetadata"]["webSearchQueries"].as_array();
        let searches = queries.map(|queries| queries.len() as u64);
        reading.tokens.web_searches = sum([reading.tokens.web_searches, searches]);
    }
    reading
}

/// What a prediction holds: pictures, vectors, or text.
fn density(response: &Map<String, Value>) -> Option<Density> {
    let first = response.get("predictions")?.as_array()?.first()?;
    let Some(first) = first.as_object() else {
        let is_text = first.is_string();
        return Some(if is_text {
            Density::TEXT
        } else {
            Density::VECTORS
        });
    };
    Some(if first.contains_key("bytesBase64Encoded") {
        Density::PICTURES
    } else if first.keys().any(|key| key.contains("mbedding")) {
        Density::VECTORS
    } else {
        Density::TEXT
    })
}

fn tool_call(part: &Value) -> Option<ToolCall> {
    let call = part.get("functionCall")?;
    let args = || {
        call.get("args")
            .map_or_else(|| "{}".to_owned(), Value::to_string)
    };
    ToolCall::of(call.get("name"), args)
}

/// Whether a prompt was refused.
fn is_blocked(response: &Map<String, Value>) -> bool {
    tree::at(response, "promptFeedback/blockReason").is_some_and(Value::is_string)
}

/// `usageMetadata`. Thoughts are counted apart; where they are not told, the total has them.
///
/// Google leaves out counts that are zero: a response that was blocked has no
/// `candidatesTokenCount`.
fn tokens(usage: &Map<String, Value>, is_generated: bool) -> Tokens {
    let of = |key: &str| highest(usage, &[key]);
    let thoughts = of("thoughtsTokenCount");
    let written = highest(usage, &["candidatesTokenCount", "responseTokenCount"]);
    let input = sum([of("promptTokenCount"), of("toolUsePromptTokenCount")]);
    let beside = match (input, of("totalTokenCount"), thoughts) {
        (Some(input), Some(total), None) if total > input => Some(total - input),
        _ => None,
    };
    let output = sum([written, thoughts]).max(beside);
    let is_counted = is_generated && input.is_some();
    let output = output.or(is_counted.then_some(0));
    let details = |key: &str| usage.get(key).and_then(images);
    Tokens {
        input,
        output,
        cached: of("cachedContentTokenCount"),
        reasoning: thoughts,
        image_input: details("promptTokensDetails"),
        image_output: details("candidatesTokensDetails"),
        ..Tokens::default()
    }
}

/// Tokens that stand for pictures, among counts by modality.
fn images(details: &Value) -> Option<u64> {
    let counts = elements(details).iter();
    let pictures = counts.filter(|count| count.get("modality").is_some_and(|kind| kind == "IMAGE"));
    sum(pictures.map(|one| count(one.get("tokenCount")?)))
}
