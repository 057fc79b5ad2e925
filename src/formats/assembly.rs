//! Puts streams together again, into the response that the API would have given unstreamed, and
//! reads both with the same code. What formats do the same way stands here: each declares an
//! [`Assembly`] for its events and a [`Read`] for its responses.

use bytes::Bytes;
use serde_json::Value;

use super::foreign::Foreign;
use super::room::Room;
use super::tokens::{BYTES_PER_TOKEN, roughly};
use super::{Meter, MeteredRequest, Pass, Reading, Tokens, failure, tree};
use crate::wire::json::{Outline, Part};
use crate::wire::sse;
use repeat::Repeat;

mod repeat;

pub(super) use repeat::{Free, Repeated};

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

/// What an event has gone on with.
pub(super) struct Continued<'p> {
    pub seen: Seen,
    /// Its text, if an event that is the same but for this one can be taken in by
    /// [`Assembly::again`].
    pub text: Option<Part<'p>>,
}

/// Puts a format's stream together again.
pub(super) trait Assembly: Send {
    /// Takes an event in.
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen;
    /// Takes in an event that only goes on with texts that are held, as most do. `None` for any other,
    /// which [`Assembly::add`] takes in.
    fn goes_on<'p>(
        &mut self,
        _name: &[u8],
        _event: Part<'p>,
        _room: &mut Room,
    ) -> Option<Continued<'p>> {
        None
    }
    /// Goes on with the text of the last event, which [`Assembly::goes_on`] has named; the values of
    /// [`Assembly::free`] aside, the two events are the same.
    fn again(&mut self, _repeated: &Repeated<'_>, _room: &mut Room) -> Option<Seen> {
        None
    }
    /// Keys at the top of an event under which there may be something else each time.
    fn free(&self) -> &'static [Free] {
        &[]
    }
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
pub(super) type Read = fn(Part<'_>) -> Reading;

/// Meters a format by its [`Assembly`] for streams and its [`Read`] for answers.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Assembling<A> {
    assembly: A,
    /// None for what the provider doesn't charge for.
    read: Option<Read>,
    request_bytes: u64,
    room: Room,
    /// Of the event that is read.
    outline: Outline,
    /// The event before it, if it may be repeated.
    repeat: Repeat,
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
            outline: Outline::default(),
            repeat: Repeat::default(),
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
        tree::read(body, read).unwrap_or_else(Reading::foreign)
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

impl<A: Assembly> Assembling<A> {
    /// Counts what an event brought.
    fn saw(&mut self, seen: &Seen) {
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
    }

    /// Takes in an event, which mostly has an outline.
    fn take(&mut self, event: &sse::Event<'_>, document: Option<Part<'_>>) -> Pass {
        let continued = document.and_then(|document| {
            let continued = self
                .assembly
                .goes_on(event.name, document, &mut self.room)?;
            Some((document, continued))
        });
        let seen = if let Some((document, continued)) = continued {
            match continued.text {
                Some(text) if !failure::is_named(event) && !failure::may_report(document) => {
                    self.repeat.set(event, document, text, self.assembly.free());
                }
                _ => self.repeat.clear(),
            }
            continued.seen
        } else {
            self.repeat.clear();
            self.assembly.add(event, &mut self.room)
        };
        self.saw(&seen);
        let may_fail = failure::is_named(event) || document.is_none_or(failure::may_report);
        let words = may_fail.then(|| failure::of_event(event)).flatten();
        if let Some(words) = words.filter(|_| !event.name.is_empty() || self.fails(event.data)) {
            self.failure.get_or_insert(words);
        } else if !self.has_output && !seen.counted && !seen.ends {
            self.foreign.add(event, self.assembly.marks());
        }
        seen.pass
    }
}

impl<A: Assembly> Meter for Assembling<A> {
    fn event(&mut self, event: &sse::Event<'_>) -> Pass {
        let repeated = self.repeat.of(event).filter(|_| self.has_output);
        if let Some(seen) = repeated.and_then(|of| self.assembly.again(&of, &mut self.room)) {
            self.saw(&seen);
            return seen.pass;
        }
        let mut outline = std::mem::take(&mut self.outline);
        let pass = self.take(event, tree::outlined(&mut outline, event.data));
        self.outline = outline;
        pass
    }

    fn body(&mut self, body: &[u8]) {
        if let Some(events) = self.assembly.listed(body) {
            for data in events {
                self.event(&sse::Event { name: b"", data });
            }
            return;
        }
        let mut outline = Outline::default();
        let plain = tree::outlined(&mut outline, body);
        self.whole = Some(match (plain, self.read) {
            (Some(response), Some(read)) => read(response),
            (None, Some(read)) => tree::object(body)
                .and_then(|object| tree::read_object(&object, read))
                .unwrap_or_else(Reading::foreign),
            (_, None) => Reading::default(),
        });
        if plain.is_none_or(failure::may_report) {
            self.failure = failure::of_body(body).filter(|_| self.fails(body));
        }
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
        reading.failure = self.failure.take().or(reading.failure);
        if reading.failure.is_none() {
            self.foreign.fill(&mut reading.tokens, self.request_bytes);
        }
        reading
    }
}

#[cfg(test)]
mod goes_on;
#[cfg(test)]
mod tests;
