//! Token counts of one request, as the provider reports them.

use aws_smithy_types::base64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes that stand for a token, on an average of languages and of the JSON around the text.
pub const BYTES_PER_TOKEN: u64 = 4;

/// The tokens of so many bytes, where they weren't counted.
#[must_use]
pub fn roughly(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// About what a picture of common size is counted as.
pub(super) const IMAGE: u64 = 1_600;
/// Tokens of a picture that a model made, where neither its bytes nor a count are there: OpenAI's
/// for a square of medium quality.
pub const PICTURE: u64 = 1_056;
/// A string of JSON that is longer and has no space is taken for a file in base64.
pub(super) const OPAQUE: usize = 2_048;

/// Bytes of a JSON body that count as text, with files in base64 as what a model sees of them.
#[must_use]
pub fn text_bytes(body: &[u8]) -> u64 {
    if body.len() <= OPAQUE {
        return body.len() as u64;
    }
    let mut bytes = 0;
    let mut from = 0;
    for at in memchr::memchr_iter(b'"', body).chain([body.len()]) {
        let part = &body[from..at];
        let is_opaque = part.len() > OPAQUE && memchr::memchr(b' ', part).is_none();
        bytes += if is_opaque {
            IMAGE * BYTES_PER_TOKEN
        } else {
            part.len() as u64 + 1
        };
        from = at + 1;
    }
    bytes.min(body.len() as u64)
}

/// A longer body is counted by its bytes: as a tree it would take many times its length.
const LARGE: usize = 1 << 20;
/// Around each value: names of keys, marks of roles and turns.
const STRUCTURE: u64 = 1;

/// About how many tokens a JSON body has, for a provider that can't be asked. Text counts by its length;
/// an image or a file in base64 counts as what a model sees of it.
pub(super) fn of_body(body: &[u8]) -> u64 {
    if body.len() > LARGE {
        return roughly(text_bytes(body));
    }
    match serde_json::from_slice(body) {
        Ok(value) => of_value(&value).max(1),
        Err(_) => roughly(body.len() as u64),
    }
}

fn of_value(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        Value::Bool(_) | Value::Number(_) => STRUCTURE,
        Value::String(text) => text_tokens(text),
        Value::Array(values) => values.iter().map(of_value).sum(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| *key != "model" && *key != "cache_control")
            .map(|(key, value)| match value {
                // The request for Bedrock's InvokeModel stands in base64.
                Value::String(text) if key == "body" => {
                    base64::decode(text).map_or_else(|_| text_tokens(text), |inner| of_body(&inner))
                }
                value => STRUCTURE + of_value(value),
            })
            .sum(),
    }
}

fn text_tokens(text: &str) -> u64 {
    let is_opaque = text.starts_with("data:")
        || (text.len() > OPAQUE && !text.bytes().any(|byte| byte.is_ascii_whitespace()));
    if is_opaque {
        IMAGE
    } else {
        roughly(text.len() as u64)
    }
}

/// How many bytes of a format stand for one token, for what wasn't counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Density {
    /// Bytes of a request; at least 1.
    pub asked: u64,
    /// Bytes of a response; `None` where the model writes no tokens.
    pub answered: Option<u64>,
}

impl Density {
    /// Text and the JSON around it, both ways.
    pub const TEXT: Self = Self {
        asked: BYTES_PER_TOKEN,
        answered: Some(BYTES_PER_TOKEN),
    };
    /// Text in, vectors or scores out.
    pub const VECTORS: Self = Self {
        asked: BYTES_PER_TOKEN,
        answered: None,
    };
    /// Text in, pictures in base64 out. OpenAI counts 1,056 to 4,160 tokens for pictures of 1 to 4 MB.
    pub const PICTURES: Self = Self {
        asked: BYTES_PER_TOKEN,
        answered: Some(1_024),
    };
    /// Text in, speech out: 21 tokens a second (OpenAI's price per minute over its price per token),
    /// at 128 kbit/s.
    pub const SPEECH: Self = Self {
        asked: BYTES_PER_TOKEN,
        answered: Some(768),
    };
    /// Speech in, text out.
    pub const TRANSCRIPT: Self = Self {
        asked: 768,
        answered: Some(BYTES_PER_TOKEN),
    };

    /// Tokens of a request of so many bytes.
    #[must_use]
    pub fn input(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.asked)
    }

    /// Tokens of a response of so many bytes; `None` where the model writes none.
    #[must_use]
    pub fn output(self, bytes: u64) -> Option<u64> {
        self.answered.map(|density| bytes.div_ceil(density))
    }
}

impl Default for Density {
    fn default() -> Self {
        Self::TEXT
    }
}

/// Counts by kind; null where the provider said nothing. Prompt tokens include those read from and
/// written to a cache.
// The kinds mean the same for every format. Anthropic and Bedrock report prompt tokens without
// those that a cache served or took, so for them `input` is the sum of the three.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct Tokens {
    /// Prompt tokens, those served from and written to a cache included.
    #[serde(rename = "input_tokens")]
    pub input: Option<u64>,
    /// Tokens that the model wrote, reasoning included.
    #[serde(rename = "output_tokens")]
    pub output: Option<u64>,
    /// Prompt tokens served from the provider's cache.
    #[serde(rename = "cached_tokens")]
    pub cached: Option<u64>,
    /// Prompt tokens written to the provider's cache, whatever they live there.
    #[serde(rename = "cache_creation_input_tokens")]
    pub cache_write: Option<u64>,
    /// Those of them that live for five minutes.
    #[serde(rename = "cache_creation_5m_input_tokens")]
    pub cache_write_5m: Option<u64>,
    /// Those of them that live for an hour.
    #[serde(rename = "cache_creation_1h_input_tokens")]
    pub cache_write_1h: Option<u64>,
    /// Tokens of reasoning that the caller doesn't see.
    #[serde(rename = "reasoning_tokens")]
    pub reasoning: Option<u64>,
    /// Prompt tokens that stand for images.
    #[serde(rename = "image_input_tokens")]
    pub image_input: Option<u64>,
    /// Tokens of images that the model made.
    #[serde(rename = "image_output_tokens")]
    pub image_output: Option<u64>,
    /// Prompt tokens that stand for sound, those from a cache included.
    #[serde(rename = "audio_input_tokens")]
    pub audio_input: Option<u64>,
    /// Those of them that the provider's cache served.
    #[serde(rename = "audio_cached_tokens")]
    pub audio_cached: Option<u64>,
    /// Tokens of sound that the model made.
    #[serde(rename = "audio_output_tokens")]
    pub audio_output: Option<u64>,
    /// Searches of the web that the provider made for the answer.
    #[serde(rename = "web_search_count")]
    pub web_searches: Option<u64>,
    /// Counted by the gateway from what passed, because the provider's count never came.
    pub estimated: bool,
}

impl Tokens {
    /// How many counts there are, those of sound aside.
    pub const COUNTS: usize = 10;

    /// The counts, in the one order that all lists of them have. Those of sound are parts of others and
    /// are not added up in reports.
    pub fn counts(&self) -> [Option<u64>; Self::COUNTS] {
        [
            self.input,
            self.output,
            self.cached,
            self.cache_write,
            self.cache_write_5m,
            self.cache_write_1h,
            self.reasoning,
            self.image_input,
            self.image_output,
            self.web_searches,
        ]
    }

    /// The counts of sound: heard, heard before, spoken.
    #[must_use]
    pub fn sound(&self) -> [Option<u64>; 3] {
        [self.audio_input, self.audio_cached, self.audio_output]
    }

    /// The same counts with these of sound.
    #[must_use]
    pub fn with_sound(self, [audio_input, audio_cached, audio_output]: [Option<u64>; 3]) -> Self {
        Self {
            audio_input,
            audio_cached,
            audio_output,
            ..self
        }
    }

    /// What is new in these counts where `before` was charged for. No part is more than its whole.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> Self {
        let counts = std::array::from_fn(|nth| new(self.counts()[nth], before.counts()[nth]));
        let [heard, heard_before, spoken] =
            std::array::from_fn(|nth| new(self.sound()[nth], before.sound()[nth]));
        let mut rest = Self::of_counts(counts, self.estimated);
        let (read, written) = (rest.input.unwrap_or(0), rest.output.unwrap_or(0));
        rest.cached = rest.cached.map(|part| part.min(read));
        rest.reasoning = rest.reasoning.map(|part| part.min(written));
        let [heard, spoken] = [(heard, read), (spoken, written)]
            .map(|(part, whole)| part.map(|part| part.min(whole)));
        let heard_before = heard_before.map(|part| part.min(rest.cached.unwrap_or(0)));
        rest.with_sound([heard, heard_before, spoken])
    }

    /// Whether these can be later counts of what `before` counts: none is smaller, unless it was an estimate.
    #[must_use]
    pub fn may_follow(&self, before: &Self) -> bool {
        let counts = self.counts().into_iter().zip(before.counts());
        let mut known = counts.map(|(now, before)| (now.unwrap_or(0), before.unwrap_or(0)));
        before.estimated || known.all(|(now, before)| now >= before)
    }

    /// Whether nothing is counted.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let mut counts = self.counts().into_iter().chain(self.sound());
        counts.all(|count| count.unwrap_or(0) == 0)
    }

    /// Counts in that order, and whether they are estimated.
    pub fn of_counts(counts: [Option<u64>; Self::COUNTS], estimated: bool) -> Self {
        let mut counts = counts.into_iter();
        let mut next = || counts.next().flatten();
        Self {
            input: next(),
            output: next(),
            cached: next(),
            cache_write: next(),
            cache_write_5m: next(),
            cache_write_1h: next(),
            reasoning: next(),
            image_input: next(),
            image_output: next(),
            web_searches: next(),
            estimated,
            ..Self::default()
        }
    }
}

fn new(now: Option<u64>, before: Option<u64>) -> Option<u64> {
    now.map(|now| now.saturating_sub(before.unwrap_or(0)))
}

/// Bytes of plain text in a block that only the provider can read: reasoning that is encrypted and
/// written in base64.
pub(super) fn sealed(text: &Value) -> usize {
    text.as_str().map_or(0, |text| text.len() / 4 * 3)
}

/// Bytes that a model wrote, of whatever a piece of a stream holds: its texts, without those that
/// name something. Sound and pictures count as the tokens that they are.
pub(super) fn spoken(piece: &Value) -> usize {
    match piece {
        Value::String(text) if text.starts_with("data:") => media(text, Density::PICTURES),
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(spoken).sum(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| !NAMES.contains(&key.as_str()))
            .map(|(key, value)| match (key.as_str(), value) {
                ("audio", Value::Object(audio)) => audio
                    .iter()
                    .map(|(key, value)| match (key.as_str(), value) {
                        ("data", Value::String(data)) => media(data, Density::SPEECH),
                        ("transcript", Value::String(text)) => text.len(),
                        _ => 0,
                    })
                    .sum(),
                ("b64_json", Value::String(data)) => media(data, Density::PICTURES),
                (_, value) => spoken(value),
            })
            .sum(),
        _ => 0,
    }
}

/// Keys of texts that the model didn't write.
const NAMES: [&str; 7] = ["role", "id", "type", "object", "format", "index", "call_id"];

/// Bytes of text that stand for as many tokens as a piece of sound or of a picture.
fn media(data: &str, density: Density) -> usize {
    let tokens = density.output(data.len() as u64).unwrap_or(0);
    usize::try_from(tokens.saturating_mul(BYTES_PER_TOKEN)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_counts_by_its_length_and_an_image_as_one() {
        let short =
            of_body(br#"{"model":"m","messages":[{"role":"user","content":"hello there"}]}"#);
        assert!((4..=10).contains(&short), "{short}");
        let long = format!(
            r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#,
            "word ".repeat(1000)
        );
        assert!((1_200..=1_300).contains(&of_body(long.as_bytes())));
        let image = format!(
            r#"{{"content":[{{"type":"image","source":{{"data":"{}"}}}}]}}"#,
            "A".repeat(400_000)
        );
        assert!((1_600..=1_620).contains(&of_body(image.as_bytes())));
        let inner = base64::encode(long.as_bytes());
        let invoke = format!(r#"{{"input":{{"invokeModel":{{"body":"{inner}"}}}}}}"#);
        assert!((1_200..=1_310).contains(&of_body(invoke.as_bytes())));
        assert_eq!(of_body(b"{}"), 1);
        assert_eq!(of_body(b"12345678x"), 3);
    }
}
