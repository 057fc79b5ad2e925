//! Meters: what reads an answer as it passes. A streamed answer is put together again, into
//! the answer that the API would have given unstreamed, and read as that one would be: so both
//! ways of asking give the same numbers.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::foreign::Foreign;
use super::tokens::{BYTES_PER_TOKEN, Density, roughly};
use super::{Path, Tokens, failure};
use crate::base::memory::Hold;
use crate::wire::sse;

/// Whether an event goes on to the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pass {
    /// It does.
    #[default]
    Through,
    /// The caller did not ask for it: the gateway did.
    Hidden,
}

/// The request whose response is metered, as it was sent to the provider.
#[derive(Clone, Copy, Debug)]
pub struct MeteredRequest<'a> {
    /// Where it went.
    pub path: &'a Path,
    /// Whether the provider charges for it. A count of tokens is a forecast, not usage.
    pub billed: bool,
    /// The usage of a stream was asked for by the gateway alone.
    pub hide_usage: bool,
    /// Bytes of it that count as text.
    pub text_bytes: u64,
    /// Bytes that may be held of what a stream says.
    pub room: usize,
}

/// Reads usage from an answer as it passes. No I/O, no clock, no errors: what it can't read
/// it leaves unknown.
pub trait Meter: Send {
    /// One event of a streamed answer.
    fn event(&mut self, event: &sse::Event<'_>) -> Pass;
    /// The whole body of an answer that isn't a stream.
    fn body(&mut self, body: &[u8]);
    /// Whether the model has said anything yet.
    fn has_output(&self) -> bool;
    /// Whether the format's own end of stream was seen.
    fn is_complete(&self) -> bool;
    /// Whether the provider has counted all that the stream has said so far.
    fn is_counted(&self) -> bool {
        false
    }
    /// Whether an item of the output has ended and no other has begun: what follows may be the end
    /// of the response and its count.
    fn is_closing(&self) -> bool {
        false
    }
    /// Whether the provider has reported an error.
    fn has_failed(&self) -> bool {
        false
    }
    /// Whether a stream that ends as a stream should may end here.
    fn may_end(&self) -> bool {
        self.is_complete()
    }
    /// What was read.
    fn finish(&mut self) -> Reading;
}

/// What a meter has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Tokens of each kind.
    pub tokens: Tokens,
    /// The id of a response that a later request can go on with.
    pub response_id: Option<String>,
    /// Why the model stopped, in the format's own word.
    pub finish_reason: Option<String>,
    /// Tools that the model asked for.
    pub tool_calls: Vec<ToolCall>,
    /// The service tier that the provider names, which can have prices of its own.
    pub tier: Option<String>,
    /// A streamed answer as it would have come unstreamed, as far as it came.
    pub response: Option<Bytes>,
    /// There was not room for all that the stream said.
    pub truncated: bool,
    /// The error that the provider reports in a response whose status says success, in its own
    /// words.
    pub failure: Option<String>,
    /// It isn't a response of the format, but a web page, `null`, a text.
    pub is_foreign: bool,
    /// All tokens, where the provider tells nothing but their sum.
    pub total: Option<u64>,
    /// Pictures that a response links to, whose bytes are elsewhere.
    pub linked: u64,
    /// What the bytes of the response stand for, where its shape tells it better than the request.
    pub density: Option<Density>,
    /// The model that the provider says it has used.
    pub model: Option<String>,
    /// Where the provider says that it has worked, which can have prices of its own.
    pub geography: Option<String>,
}

/// Whether an object is a response of some API that models have. Errors are found elsewhere.
pub(super) fn is_response(object: &Map<String, Value>) -> bool {
    object
        .iter()
        .any(|(key, value)| match (key.as_str(), value) {
            ("object", Value::String(kind)) => {
                RESPONSES.iter().any(|known| kind.starts_with(known))
            }
            ("type", Value::String(kind)) => kind == "message",
            (key, Value::Array(_) | Value::Object(_)) => {
                PARTS.contains(&key) || TEXTS.contains(&key)
            }
            (key, Value::String(_)) => TEXTS.contains(&key),
            _ => false,
        })
}

const RESPONSES: [&str; 3] = ["chat.completion", "text_completion", "response"];
/// Lists and objects that a response has.
const PARTS: [&str; 20] = [
    "artifacts",
    "candidates",
    "choices",
    "completions",
    "data",
    "embedding",
    "embeddings",
    "embeddingsByType",
    "generations",
    "images",
    "message",
    "outputs",
    "pages",
    "predictions",
    "promptFeedback",
    "result",
    "results",
    "timings",
    "usage",
    "usageMetadata",
];
/// Texts that one may have instead.
const TEXTS: [&str; 8] = [
    "completion",
    "content",
    "generated_text",
    "generation",
    "output",
    "output_text",
    "response",
    "text",
];

impl Reading {
    /// What is read of a body that isn't a response of the format.
    pub(super) fn foreign() -> Self {
        Self {
            is_foreign: true,
            ..Self::default()
        }
    }
}

/// A tool that the model asked for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct ToolCall {
    /// The tool.
    pub name: String,
    /// Its parameters as JSON text; other text where the model wrote none.
    pub params: String,
}

/// Bytes that a response may hold without being counted.
const UNCOUNTED: usize = 16 << 10;
/// Bytes that are counted at a time.
const STEP: usize = 64 << 10;

/// How many bytes of an answer may still be held.
#[derive(Debug)]
pub(super) struct Room {
    left: usize,
    taken: usize,
    hold: Hold,
    /// Something had to be left out.
    pub short: bool,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            left: bytes,
            taken: 0,
            hold: Hold::default(),
            short: false,
        }
    }

    /// Takes room for `bytes`, if there is any.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if let Some(left) = self.left.checked_sub(bytes)
            && self.is_counted(self.taken + bytes)
        {
            self.left = left;
            self.taken += bytes;
            return true;
        }
        self.short = true;
        false
    }

    fn is_counted(&mut self, bytes: usize) -> bool {
        bytes <= UNCOUNTED || self.hold.try_reserve(bytes.next_multiple_of(STEP))
    }

    /// Appends text as far as there is room for it, never part of a piece.
    pub(super) fn push(&mut self, into: &mut String, text: &str) {
        if self.take(text.len()) {
            into.push_str(text);
        }
    }
}

/// What an event of a stream brought.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Whether the caller gets it.
    pub pass: Pass,
    /// Bytes of what the model said.
    pub said: u64,
    /// It told the usage up to here.
    pub counted: bool,
    /// It is the end of the answer.
    pub ends: bool,
    /// An item of the output ends with it, or begins.
    pub closes: Option<bool>,
}

/// What an event brings that says so many bytes and nothing else.
pub(super) fn said(bytes: usize) -> Seen {
    Seen {
        said: bytes as u64,
        ..Seen::default()
    }
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

/// Puts a format's stream together again.
pub(super) trait Assembly: Send {
    /// Takes an event in.
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen;
    /// The answer as it would have come unstreamed; `None` if there was no event of it.
    fn answer(&mut self) -> Option<Value>;
    /// How a key, the `type` or the name of an event starts that is the format's own.
    fn marks(&self) -> &'static [&'static str];
}

/// Reads a format's unstreamed answer.
pub(super) type Read = fn(&[u8]) -> Reading;

/// Meters a format by its [`Assembly`] for streams and its [`Read`] for answers.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Assembling<A> {
    assembly: A,
    read: Read,
    request_bytes: u64,
    room: Room,
    whole: Option<Reading>,
    has_output: bool,
    ends: bool,
    /// Events with output, and its bytes, since the provider last told the usage.
    events: u64,
    bytes: u64,
    failure: Option<String>,
    /// Events of other formats.
    foreign: Foreign,
    /// A text of the model may stand where errors have their message.
    is_message_output: bool,
    counted: bool,
    /// It was told once there was output, or at the end: a count before that is of the prompt.
    settled: bool,
    /// An item of the output has ended, and no other has begun.
    closing: bool,
    /// The format has no mark of its own that every server sends at the end.
    is_unmarked: bool,
}

impl<A: Assembly> Assembling<A> {
    pub(super) fn new(assembly: A, read: Read, request: &MeteredRequest<'_>) -> Self {
        Self {
            assembly,
            read: if request.billed {
                read
            } else {
                |_| Reading::default()
            },
            request_bytes: request.text_bytes,
            room: Room::new(request.room),
            whole: None,
            has_output: false,
            ends: false,
            events: 0,
            bytes: 0,
            failure: None,
            foreign: Foreign::default(),
            is_message_output: false,
            counted: false,
            settled: false,
            closing: false,
            is_unmarked: false,
        }
    }

    /// For a format whose streams may end without a mark of their own.
    pub(super) fn unmarked(self) -> Self {
        Self {
            is_unmarked: true,
            ..self
        }
    }

    /// For a format in which a `message` alone doesn't mean an error.
    pub(super) fn with_message_output(self) -> Self {
        Self {
            is_message_output: true,
            ..self
        }
    }

    fn fails(&self, data: &[u8]) -> bool {
        !(self.is_message_output && failure::is_message_alone(data))
    }

    /// Counts what the provider has not: an event stands for a token at least, because servers
    /// of the kind of llama.cpp send one for each.
    fn estimate(&self, tokens: &mut Tokens) {
        // Some servers count only at the end, in places of their own.
        let is_last = self.ends && !self.counted && tokens.output.is_some();
        if self.events == 0 || is_last {
            return;
        }
        let uncounted = self.events.max(self.bytes / BYTES_PER_TOKEN);
        let counted = tokens.output.unwrap_or(0);
        tokens.output = Some(counted.saturating_add(uncounted));
        tokens.input = tokens.input.or(Some(roughly(self.request_bytes)));
        tokens.estimated = true;
    }
}

impl<A: Assembly> Meter for Assembling<A> {
    fn event(&mut self, event: &sse::Event<'_>) -> Pass {
        let seen = self.assembly.add(event, &mut self.room);
        self.counted |= seen.counted;
        if seen.said > 0 {
            self.has_output = true;
            self.events += 1;
            self.bytes = self.bytes.saturating_add(seen.said);
        }
        if seen.counted {
            (self.events, self.bytes) = (0, 0);
        }
        self.ends |= seen.ends;
        self.closing = seen.closes.unwrap_or(self.closing && seen.said == 0);
        self.settled |= seen.counted && (self.has_output || self.ends);
        if let Some(words) =
            failure::of_event(event).filter(|_| !event.name.is_empty() || self.fails(event.data))
        {
            self.failure.get_or_insert(words);
        } else if !self.has_output && !seen.counted && !seen.ends {
            self.foreign.add(event, self.assembly.marks());
        }
        seen.pass
    }

    fn body(&mut self, body: &[u8]) {
        self.whole = Some((self.read)(body));
        self.failure = failure::of_body(body).filter(|_| self.fails(body));
    }

    fn has_output(&self) -> bool {
        self.has_output
    }

    fn is_complete(&self) -> bool {
        self.ends || self.failure.is_some()
    }

    fn is_counted(&self) -> bool {
        self.settled && self.events == 0
    }

    fn is_closing(&self) -> bool {
        self.closing
    }

    fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    fn may_end(&self) -> bool {
        self.is_unmarked || self.is_complete()
    }

    fn finish(&mut self) -> Reading {
        if let Some(mut reading) = self.whole.take() {
            reading.failure = self.failure.take();
            return reading;
        }
        let response = self
            .assembly
            .answer()
            .and_then(|answer| serde_json::to_vec(&answer).ok());
        let mut reading = response.as_deref().map(self.read).unwrap_or_default();
        self.estimate(&mut reading.tokens);
        // What is put together has the shape of the format, whatever it was made of.
        reading.is_foreign = response.is_none();
        reading.response = response.map(Bytes::from);
        reading.truncated = self.room.short;
        reading.failure = self.failure.take();
        if reading.failure.is_none() {
            self.foreign.fill(&mut reading.tokens, self.request_bytes);
        }
        reading
    }
}

/// The sum of what is known; `None` if nothing is.
pub(super) fn sum(parts: &[Option<u64>]) -> Option<u64> {
    parts.iter().flatten().fold(None, |sum: Option<u64>, part| {
        Some(sum.unwrap_or(0).saturating_add(*part))
    })
}

#[cfg(test)]
mod tests;
