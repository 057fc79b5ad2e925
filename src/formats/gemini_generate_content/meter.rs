//! Generated content: a stream's responses put together again, and what a response tells.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::partial;
use crate::formats::assembly::{Assembling, Assembly, Continued, Read, Seen};
use crate::formats::merge::is_same;
use crate::formats::room::Room;
use crate::formats::tokens::sealed;
use crate::formats::tree::{
    self, OVERHEAD, add_counts_at, count, counted, highest, list, size, sum,
};
use crate::formats::{Density, Meter, MeteredRequest, Reading, Tokens, ToolCall};
use crate::wire::json::Part;
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
pub(in crate::formats) struct Contents {
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
            counted: reported("candidatesTokenCount")
                || reported("responseTokenCount")
                || reported("thoughtsTokenCount"),
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

    /// A piece of one text, with counts that are newer.
    fn goes_on<'p>(
        &mut self,
        _: &[u8],
        response: Part<'p>,
        room: &mut Room,
    ) -> Option<Continued<'p>> {
        let mut candidates = response.get("candidates")?.elements();
        let (candidate, None) = (candidates.next()?, candidates.next()) else {
            return None;
        };
        let whole = self.whole.as_mut()?;
        let mut counted_output = false;
        for (key, value) in response.members() {
            match key {
                "candidates" => {}
                "error" | "promptFeedback" => return None,
                "usageMetadata" => counted_output = newer(whole.get_mut(key)?, value)?,
                _ => is_same(whole.get(key)?, value).then_some(())?,
            }
        }
        let said = self.text_of(candidate, room)?;
        let seen = Seen {
            said,
            // The first responses often tell the prompt's tokens only.
            counted: counted_output,
            ..Seen::default()
        };
        // Its counts differ from response to response.
        Some(Continued { seen, text: None })
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

/// Takes in a report that differs from the one that is held by higher counts alone; whether it counts
/// what was written up to here.
fn newer(held: &mut Value, report: Part<'_>) -> Option<bool> {
    let held = held.as_object_mut().filter(|_| report.is_object())?;
    let mut counts_output = false;
    for (key, value) in report.members() {
        let now = counted(value);
        let is_of_output = matches!(key, "candidatesTokenCount" | "thoughtsTokenCount");
        counts_output |= is_of_output && now.is_some();
        match (held.get_mut(key)?, now) {
            (Value::Number(held), Some(now)) if value.whole() == Some(now) => {
                if held.as_u64()? < now {
                    *held = now.into();
                }
            }
            (held, _) => is_same(held, value).then_some(())?,
        }
    }
    Some(counts_output)
}

impl Contents {
    /// Takes in a piece of a candidate that only goes on with its text; how many bytes it says.
    fn text_of(&mut self, piece: Part<'_>, room: &mut Room) -> Option<u64> {
        let number = match piece.get("index") {
            Some(number) => number.whole()?,
            None => 0,
        };
        let held = self
            .candidates
            .iter_mut()
            .find(|held| index(held) == number)?;
        // Its end decides whether all have ended.
        if held.contains_key("finishReason") {
            return None;
        }
        let is_held = |(key, value): (&str, Part<'_>)| match key {
            "content" => true,
            "citationMetadata" => false,
            key => held.get(key).is_some_and(|held| is_same(held, value)),
        };
        if !piece.members().all(is_held) {
            return None;
        }
        let (content, piece) = (
            held.get_mut("content")?.as_object_mut()?,
            piece.get("content")?,
        );
        let is_held = |(key, value): (&str, Part<'_>)| {
            key == "parts" || content.get(key).is_some_and(|held| is_same(held, value))
        };
        if !piece.members().all(is_held) {
            return None;
        }
        let mut parts = piece.get("parts")?.elements();
        let (part, None) = (parts.next()?, parts.next()) else {
            return None;
        };
        let last = content
            .get_mut("parts")?
            .as_array_mut()?
            .last_mut()?
            .as_object_mut()?;
        let is_of_text = |key: &str| matches!(key, "text" | "thought");
        let is_held = |(key, value): (&str, Part<'_>)| {
            key == "text" || last.get(key).is_some_and(|held| is_same(held, value))
        };
        let is_plain = last.keys().all(|key| is_of_text(key))
            && last.contains_key("thought") == part.get("thought").is_some()
            && part.members().all(is_held);
        let text = part.get("text")?.text().filter(|_| is_plain)?;
        let Some(Value::String(held)) = last.get_mut("text") else {
            return None;
        };
        room.push(held, &text);
        Some(text.len() as u64)
    }

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

/// Bytes of a part that the model wrote; a picture counts for little, because its bytes aren't text.
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
pub(in crate::formats) fn read(response: Part<'_>) -> Reading {
    let usage = response.get("usageMetadata");
    let usage = usage.filter(|usage| usage.is_object());
    let candidates = list(response, "candidates");
    let blocked = response.word("promptFeedback/blockReason");
    let ended = |one: Part<'_>| one.get("finishReason").is_some_and(Part::is_text);
    let is_generated = blocked.is_some() || candidates.clone().any(ended);
    let word = |key: &str| usage?.word(key);
    let total = usage.and_then(|usage| highest(usage, &["totalTokenCount"]));
    let tokens = usage.map(|usage| tokens(usage, is_generated));
    let mut reading = Reading {
        tier: word("serviceTier").or_else(|| word("trafficType")),
        finish_reason: blocked,
        model: response.word("modelVersion"),
        density: density(response),
        ..Reading::of(response, tokens.unwrap_or_default(), total)
    };
    for candidate in candidates {
        let reason = candidate.word("finishReason");
        reading.finish_reason = reason.or(reading.finish_reason);
        let parts = list(candidate, "content/parts");
        reading.tool_calls.extend(parts.filter_map(tool_call));
        let queries = candidate.at("groundingMetadata/webSearchQueries");
        let queries = queries.filter(|queries| queries.is_array());
        let searches = queries.map(|queries| queries.elements().count() as u64);
        reading.tokens.web_searches = sum([reading.tokens.web_searches, searches]);
    }
    reading
}

/// What a prediction holds: pictures, vectors, or text.
fn density(response: Part<'_>) -> Option<Density> {
    let first = response.get("predictions")?.elements().next()?;
    if !first.is_object() {
        return Some(if first.is_text() {
            Density::TEXT
        } else {
            Density::VECTORS
        });
    }
    Some(if first.get("bytesBase64Encoded").is_some() {
        Density::PICTURES
    } else if first.members().any(|(key, _)| key.contains("mbedding")) {
        Density::VECTORS
    } else {
        Density::TEXT
    })
}

fn tool_call(part: Part<'_>) -> Option<ToolCall> {
    let call = part.get("functionCall")?;
    let args = || {
        let args = call.get("args").map(|args| args.value().to_string());
        args.unwrap_or_else(|| "{}".to_owned())
    };
    ToolCall::of(call.get("name"), args)
}

/// Whether a prompt was refused.
fn is_blocked(response: &Map<String, Value>) -> bool {
    let feedback = response.get("promptFeedback");
    feedback.is_some_and(|feedback| feedback["blockReason"].is_string())
}

/// `usageMetadata`. Thoughts are counted apart; where they are not told, the total has them.
///
/// Google leaves out counts that are zero: a response that was blocked has no
/// `candidatesTokenCount`.
fn tokens(usage: Part<'_>, is_generated: bool) -> Tokens {
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
    let details = |key: &str, kind: &str| {
        let details = usage.get(key)?;
        of_modality(details, kind)
    };
    let made = |kind: &str| {
        details("candidatesTokensDetails", kind).max(details("responseTokensDetails", kind))
    };
    Tokens {
        input,
        output,
        cached: of("cachedContentTokenCount"),
        reasoning: thoughts,
        image_input: details("promptTokensDetails", "IMAGE"),
        image_output: made("IMAGE"),
        audio_input: details("promptTokensDetails", "AUDIO"),
        audio_cached: details("cacheTokensDetails", "AUDIO"),
        audio_output: made("AUDIO"),
        ..Tokens::default()
    }
}

/// Tokens of one kind of content, such as pictures, among counts by modality.
fn of_modality(details: Part<'_>, kind: &str) -> Option<u64> {
    let is_it = |one: &Part<'_>| one.get("modality").is_some_and(|of| of.is(kind));
    let counts = details.elements().filter(is_it);
    sum(counts.map(|one| counted(one.get("tokenCount")?)))
}
