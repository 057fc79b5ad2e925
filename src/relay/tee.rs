//! The tee: what passes to the caller is read by a meter beside it, and kept for a capture as
//! far as there is room.

use bytes::{Bytes, BytesMut};

use super::Form;
use crate::api::{self, Meter, Pass, Reading};
use crate::wire::decode::Decoding;
use crate::wire::{Framing, event_stream, sse};

/// An answer that is no stream is held for its meter up to here, by reference to the bytes
/// that pass; a longer one is relayed all the same, and not counted.
const MAX_METERED: usize = 16 * 1024 * 1024;
/// An event that has not ended is held back up to here: nobody can use a part of one, and what
/// tells of a failure could not be read behind it. Of a longer one, parts pass.
const MAX_HELD: usize = 256 * 1024;
/// Of a provider's error, its words are looked for up to here.
const MAX_WORDS: usize = 16 * 1024;

/// How the body is understood.
enum Shape {
    /// Events, metered one by one.
    Text(sse::Decoder),
    Amazon(event_stream::Decoder),
    /// Events of which one may have to be kept from the caller.
    Filtered(sse::Decoder),
    /// Metered at its end.
    Whole(Pieces),
    /// A provider's error: relayed and kept, not metered.
    Unmetered(Pieces),
    /// A stream was asked for, and the head does not say that one comes: its first byte does.
    Unnamed {
        filtered: bool,
        longest: usize,
    },
}

impl Shape {
    /// The shape of a response whose head names none, by its first bytes. Fields of events begin with
    /// a letter or a colon, JSON does not.
    fn of(start: &[u8], filtered: bool, longest: usize) -> Option<Self> {
        let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
        let first = start.iter().find(|byte| !byte.is_ascii_whitespace())?;
        Some(match first {
            b'd' | b'e' | b'i' | b'r' | b':' if filtered => {
                Self::Filtered(sse::Decoder::new(longest))
            }
            b'd' | b'e' | b'i' | b'r' | b':' => Self::Text(sse::Decoder::new(longest)),
            _ => Self::Whole(Pieces::default()),
        })
    }
}

/// Pieces of a body, by reference.
#[derive(Default)]
struct Pieces {
    parts: Vec<Bytes>,
    length: usize,
    over: bool,
}

impl Pieces {
    /// Holds a piece if all of them stay within `limit`; else none of them is of use.
    fn hold_all(&mut self, piece: Bytes, limit: usize) {
        self.hold(piece, limit);
        if self.over {
            self.parts = Vec::new();
        }
    }

    /// Holds as much of a piece as fits.
    fn hold(&mut self, mut piece: Bytes, limit: usize) {
        let left = limit.saturating_sub(self.length);
        if piece.len() > left {
            self.over = true;
            piece.truncate(left);
        }
        self.length += piece.len();
        if !piece.is_empty() {
            self.parts.push(piece);
        }
    }

    fn joined(self) -> Bytes {
        match self.parts.as_slice() {
            [] => Bytes::new(),
            [only] => only.clone(),
            several => several.concat().into(),
        }
    }
}

/// What the tee has taken in.
#[derive(Default)]
pub(super) struct Taken {
    pub reading: Reading,
    /// The answer, decoded and, for a stream, put together; within the room.
    pub body: Bytes,
    /// The answer as it came, where that is kept.
    pub raw: Option<Bytes>,
    /// There was more than what was kept.
    pub truncated: bool,
    /// Bytes of the answer, decompressed.
    pub length: u64,
}

/// Reads a body as it passes.
pub(super) struct Tee {
    shape: Shape,
    decoding: Option<Decoding>,
    /// The part of a stream since the last complete event, which the caller has not got yet.
    held: BytesMut,
    meter: Box<dyn Meter>,
    raw: Option<Pieces>,
    room: usize,
    streamed: bool,
    spoke: bool,
    length: u64,
}

impl Tee {
    /// A tee that holds events of up to `longest` bytes for `meter`.
    pub(super) fn new(
        meter: Box<dyn Meter>,
        decoding: Option<Decoding>,
        form: &Form,
        longest: usize,
    ) -> Self {
        // A compressed stream can't be filtered without opening it for the caller too.
        let filtered = form.hides && decoding.is_none();
        let shape = match form.framing {
            _ if form.is_error => Shape::Unmetered(Pieces::default()),
            Some(Framing::Text) if filtered => Shape::Filtered(sse::Decoder::new(longest)),
            Some(Framing::Text) => Shape::Text(sse::Decoder::new(longest)),
            Some(Framing::Amazon) => Shape::Amazon(event_stream::Decoder::default()),
            None if form.is_stream => Shape::Unnamed { filtered, longest },
            None => Shape::Whole(Pieces::default()),
        };
        Self {
            shape,
            decoding,
            held: BytesMut::new(),
            meter,
            raw: form.raw.then(Pieces::default),
            room: form.room,
            streamed: form.is_stream,
            spoke: false,
            length: 0,
        }
    }

    /// Whether the body is cut into events, of which one is the last.
    pub(super) fn has_events(&self) -> bool {
        matches!(
            self.shape,
            Shape::Text(_) | Shape::Amazon(_) | Shape::Filtered(_)
        )
    }

    /// Whether an event of ours can stand behind what the caller has.
    pub(super) fn takes_events(&self) -> bool {
        self.has_events() && self.decoding.is_none()
    }

    /// Whether the format's own end was seen, or may have been in what was too long to read.
    pub(super) fn is_complete(&self) -> bool {
        self.meter.is_complete() || self.skipped()
    }

    /// Whether the provider has counted all that the stream has said so far.
    pub(super) fn is_counted(&self) -> bool {
        self.meter.is_counted()
    }

    /// Whether an event was too long to read.
    fn skipped(&self) -> bool {
        match &self.shape {
            Shape::Text(decoder) | Shape::Filtered(decoder) => decoder.skipped > 0,
            _ => false,
        }
    }

    /// Whether the model has said anything yet.
    pub(super) fn has_output(&self) -> bool {
        self.spoke || self.meter.has_output()
    }

    /// Reads a piece and returns what the caller gets of it.
    pub(super) fn pass(&mut self, piece: Bytes) -> Bytes {
        if let Some(raw) = &mut self.raw {
            raw.hold(piece.clone(), self.room);
        }
        let plain = match &mut self.decoding {
            Some(decoding) => decoding.feed(&piece).into(),
            None => piece.clone(),
        };
        self.length += plain.len() as u64;
        if let Shape::Unnamed { filtered, longest } = self.shape {
            match Shape::of(&plain, filtered, longest) {
                Some(shape) => self.shape = shape,
                None => return piece,
            }
        }
        let meter = &mut self.meter;
        let open = match &mut self.shape {
            Shape::Unnamed { .. } => return piece,
            Shape::Unmetered(pieces) => {
                pieces.hold(plain, self.room.max(MAX_WORDS));
                return piece;
            }
            Shape::Whole(pieces) => {
                self.spoke |= self.streamed && !plain.is_empty();
                pieces.hold_all(plain, MAX_METERED);
                return piece;
            }
            Shape::Filtered(decoder) => {
                return filter(decoder, &mut self.held, meter.as_mut(), &piece);
            }
            Shape::Text(decoder) => decoder.feed(&plain, |event| {
                meter.event(&event);
            }),
            Shape::Amazon(decoder) => decoder.feed(&plain, |event| {
                meter.event(&event);
            }),
        };
        // Where a compressed event ends, only who opens it knows.
        if self.decoding.is_some() {
            return piece;
        }
        self.hold_back(piece, open)
    }

    /// Keeps the last `open` bytes of a piece for later, and returns what came before them.
    fn hold_back(&mut self, mut piece: Bytes, open: usize) -> Bytes {
        // Mostly a piece ends with an event.
        if self.held.is_empty() && open == 0 {
            return piece;
        }
        let fits = self.held.len() + open <= MAX_HELD;
        let tail = piece.split_off(piece.len() - if fits { open } else { 0 });
        let out = if self.held.is_empty() || piece.is_empty() {
            piece
        } else {
            self.held.extend_from_slice(&piece);
            self.held.split().freeze()
        };
        self.held.extend_from_slice(&tail);
        out
    }

    /// What was held back when the stream ended in the middle of an event.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        (!self.held.is_empty()).then(|| self.held.split().freeze())
    }

    /// Ends the reading.
    pub(super) fn finish(&mut self) -> Taken {
        let (mut body, mut truncated) = (Bytes::new(), self.skipped());
        match &mut self.shape {
            Shape::Whole(pieces) => {
                let pieces = std::mem::take(pieces);
                truncated = pieces.over;
                if !pieces.over && pieces.length > 0 {
                    body = pieces.joined();
                    self.meter.body(&body);
                }
            }
            Shape::Unmetered(pieces) => {
                let pieces = std::mem::take(pieces);
                truncated = pieces.over;
                body = pieces.joined();
            }
            _ => {}
        }
        let mut reading = self.meter.finish();
        if matches!(self.shape, Shape::Unmetered(_)) {
            reading.failure = api::error_words(&body);
        }
        if let Some(response) = reading.response.take() {
            body = response;
            truncated |= reading.truncated;
        }
        if body.len() > self.room {
            truncated = true;
            body.truncate(self.room);
        }
        Taken {
            reading,
            body,
            raw: self.raw.take().map(Pieces::joined),
            truncated,
            length: self.length,
        }
    }
}

/// Passes complete events and leaves out the hidden ones; the rest waits for its end.
fn filter(
    decoder: &mut sse::Decoder,
    held: &mut BytesMut,
    meter: &mut dyn Meter,
    piece: &[u8],
) -> Bytes {
    // No larger than it gets: a slow caller has several of them wait.
    let mut out = BytesMut::with_capacity(held.len() + piece.len());
    let mut rest = piece;
    while !rest.is_empty() {
        // An event ends with a line's end: fed up to each, the decoder says if one did.
        let upto = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(upto);
        rest = after;
        let mut pass = None;
        decoder.feed(line, |event| pass = Some(meter.event(&event)));
        held.extend_from_slice(line);
        match pass {
            Some(Pass::Hidden) => held.clear(),
            Some(Pass::Through) => out.extend_from_slice(&held.split()),
            // A comment keeps a connection alive, if it does not wait for an event.
            None if decoder.is_between() && is_comment(held) => {
                out.extend_from_slice(&held.split());
            }
            None if held.len() > MAX_HELD => out.extend_from_slice(&held.split()),
            None => {}
        }
    }
    out.freeze()
}

/// Whether lines that belong to no event are a comment, or empty.
fn is_comment(lines: &[u8]) -> bool {
    lines.first() == Some(&b':') || lines.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reading;

    /// Hides every event.
    struct Hides;

    impl Meter for Hides {
        fn event(&mut self, _: &sse::Event<'_>) -> Pass {
            Pass::Hidden
        }
        fn body(&mut self, _: &[u8]) {}
        fn has_output(&self) -> bool {
            false
        }
        fn is_complete(&self) -> bool {
            false
        }
        fn finish(&mut self) -> Reading {
            Reading::default()
        }
    }

    fn tee(framing: Framing) -> Tee {
        let form = Form {
            is_error: false,
            is_bodiless: false,
            is_stream: true,
            framing: Some(framing),
            hides: false,
            room: 0,
            raw: false,
            idle: std::time::Duration::ZERO,
            total: std::time::Duration::ZERO,
        };
        Tee::new(Box::new(Hides), None, &form, sse::MAX_EVENT)
    }

    #[test]
    fn what_has_not_ended_is_held_back() {
        let text = b": ping\n\ndata: one\r\n\r\nevent: e\ndata: two\n\ndata: thr".as_slice();
        let message = event_stream::encode(&[(":event-type", "chunk")], "{}".to_owned());
        let mut amazon = [&message[..], &message[..]].concat();
        amazon.extend_from_slice(&message[..9]);
        for (framing, stream, half) in [(Framing::Text, text, 9), (Framing::Amazon, &amazon, 9)] {
            for split in 0..=stream.len() {
                let mut tee = tee(framing);
                let (first, second) = stream.split_at(split);
                let first = tee.pass(Bytes::copy_from_slice(first));
                let second = tee.pass(Bytes::copy_from_slice(second));
                let passed = [first, second].concat();
                assert_eq!(passed, stream[..stream.len() - half], "split at {split}");
                assert_eq!(tee.rest().unwrap(), stream[stream.len() - half..]);
            }
        }
    }

    #[test]
    fn of_a_giant_event_parts_pass() {
        let mut tee = tee(Framing::Text);
        let part = Bytes::from(vec![b'x'; MAX_HELD / 2 + 1]);
        let passed: Vec<usize> = (0..4).map(|_| tee.pass(part.clone()).len()).collect();
        assert_eq!(passed, [0, MAX_HELD + 2, 0, MAX_HELD + 2]);
    }

    #[test]
    fn comments_wait_for_no_event() {
        let stream = b": ping\n\ndata: hidden\n\n: ping\r\n\r\nid: 1\ndata: hidden\n\n: pong\n";
        for split in 0..stream.len() {
            let (mut decoder, mut held) = (sse::Decoder::default(), BytesMut::new());
            let mut out = Vec::new();
            for piece in [&stream[..split], &stream[split..]] {
                out.extend_from_slice(&filter(&mut decoder, &mut held, &mut Hides, piece));
            }
            let passed = b": ping\n\n: ping\r\n\r\n: pong\n";
            assert_eq!(
                out,
                passed,
                "split at {split}: {}",
                String::from_utf8_lossy(&out)
            );
        }
    }
}
