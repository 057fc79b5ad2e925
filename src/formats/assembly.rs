//! Puts streams together again, into the response that the API would have given unstreamed, and
//! reads both with the same code. What formats do the same way stands here: each declares an
//! [`Assembly`] for its events and a [`Read`] for its responses.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::foreign::Foreign;
use super::room::Room;
use super::tokens::{BYTES_PER_TOKEN, roughly};
use super::{Meter, MeteredRequest, Pass, Reading, Tokens, failure, tree};
use crate::wire::sse;

/// What an event of a stream brought.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Whether the caller gets it.
    pub pass: Pass,
    /// Bytes of what the model said.
    pub said: u64,
    /// It told the usage up to here.
    pub counted: bool,
    /// It is the end of the response.
    pub ends: bool,
    /// An item of the output ends with it, or begins.
    pub closes: Option<bool>,
}

impl Seen {
    /// An event that says so many bytes and nothing else.
    pub(super) fn said(bytes: usize) -> Self {
        Self {
            said: bytes as u64,
            ..Self::default()
        }
    }

    /// The end of the response.
    pub(super) fn end() -> Self {
        Self {
            ends: true,
            ..Self::default()
        }
    }

    /// An item of the output ends, or begins.
    pub(super) fn closes(self, closes: bool) -> Self {
        Self {
            closes: Some(closes),
            ..self
        }
    }
}

/// Puts a format's stream together again.
pub(super) trait Assembly: Send {
    /// Takes an event in.
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen;
    /// The response as it would have come unstreamed; `None` if there was no event of it.
    fn response(&mut self) -> Option<Value>;
    /// How a key, the `type` or the name of an event starts that is the format's own.
    fn marks(&self) -> &'static [&'static str];
    /// The events of a stream that came as one body.
    fn listed<'b>(&self, _body: &'b [u8]) -> Option<Vec<&'b [u8]>> {
        None
    }
}

/// Reads a format's unstreamed response.
pub(super) type Read = fn(&Map<String, Value>) -> Reading;

/// Meters a format by its [`Assembly`] for streams and its [`Read`] for answers.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Assembling<A> {
    assembly: A,
    /// None for what the provider doesn't charge for.
    read: Option<Read>,
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
            read: request.billed.then_some(read),
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

    fn reading(&self, body: &[u8]) -> Reading {
        let Some(read) = self.read else {
            return Reading::default();
        };
        tree::object(body).map_or_else(Reading::foreign, |response| read(&response))
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
        if let Some(events) = self.assembly.listed(body) {
            for data in events {
                self.event(&sse::Event { name: b"", data });
            }
            return;
        }
        self.whole = Some(self.reading(body));
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
        let response = self.assembly.response();
        let response = response.and_then(|response| serde_json::to_vec(&response).ok());
        let mut reading = Reading::default();
        if let Some(response) = &response {
            reading = self.reading(response);
        }
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

#[cfg(test)]
mod tests;
