//! The tee: what passes to the caller is read by a meter beside it, and kept for a capture as
//! far as there is room.

use bytes::{Bytes, BytesMut};

use super::Form;
use super::shape::{MAX_HELD, Shape, filter, is_comment};
use super::whole::Pieces;
use crate::exchange::ending::Metered;
use crate::formats::{self, Meter, Pass, Reading};
use crate::wire::decode::Decoding;
use crate::wire::{Framing, event_stream, ndjson, sse};

/// Of a provider's error, its words are looked for up to here.
const MAX_WORDS: usize = 16 * 1024;

/// Reads a body as it passes.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Tee {
    shape: Shape,
    decoding: Option<Decoding>,
    /// The part of a stream since the last complete event, which the caller has not got yet.
    held: BytesMut,
    pub(super) meter: Box<dyn Meter>,
    raw: Option<Pieces>,
    room: usize,
    streamed: bool,
    spoke: bool,
    length: u64,
    /// Bytes of the answer as they came.
    raw_length: u64,
    /// The start of a body whose shape is not known yet.
    start: BytesMut,
    /// What is held is an event that lacks only the end of its line.
    last_is_whole: bool,
    /// The shape was told by the start of the body.
    is_guessed: bool,
}

impl Tee {
    /// A tee that holds events of up to `longest` bytes for `meter`.
    pub(super) fn new(
        meter: Box<dyn Meter>,
        decoding: Option<Decoding>,
        form: &Form,
        longest: usize,
    ) -> Self {
        // An event that no capture has room for need not be held either.
        let longest = longest.min(form.room.max(sse::MAX_EVENT));
        // A compressed stream can't be filtered without opening it for the caller too.
        let filtered = form.hides && decoding.is_none();
        let shape = match form.framing {
            _ if form.is_error => Shape::Unmetered(Pieces::default()),
            _ if decoding.as_ref().is_some_and(Decoding::is_closed) => Shape::Opaque,
            Some(Framing::Text) if filtered => Shape::Filtered(sse::Decoder::new(longest)),
            Some(Framing::Text) => Shape::Text(sse::Decoder::new(longest)),
            Some(Framing::Amazon) => Shape::Amazon(event_stream::Decoder::default()),
            Some(Framing::Ndjson) => Shape::Ndjson(ndjson::Decoder::new(longest)),
            None => Shape::Unnamed { filtered, longest },
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
            raw_length: 0,
            start: BytesMut::new(),
            last_is_whole: false,
            is_guessed: form.framing.is_none(),
        }
    }

    /// Whether the body is cut into events, of which one is the last.
    pub(super) fn has_events(&self) -> bool {
        self.shape.has_events()
    }

    /// Whether the body comes bit by bit, in events or in lines.
    pub(super) fn is_stream(&self) -> bool {
        self.has_events() || matches!(&self.shape, Shape::Lines(lines) if lines.count > 1)
    }

    /// Whether an event of ours can stand behind what the caller has.
    pub(super) fn takes_events(&self) -> bool {
        self.has_events() && self.decoding.is_none()
    }

    /// Whether the format's own end was seen, or may have been in what was too long to read.
    pub(super) fn is_complete(&self) -> bool {
        let goes_on = matches!(&self.shape, Shape::Amazon(decoder) if !decoder.lost);
        self.meter.is_complete() || (self.shape.has_skipped() && !goes_on)
    }

    /// Whether a body came that is not of the coding that its head names, as far as it came.
    fn is_sealed(&self) -> bool {
        let is_empty = self.length == 0 && self.raw_length > 0;
        let mut decoding = self.decoding.iter();
        decoding.any(|decoding| decoding.is_closed() || is_empty)
    }

    /// Estimates what unread messages said, unless the provider has counted it.
    fn estimate_unread(&self, reading: &mut Reading) {
        let Shape::Amazon(decoder) = &self.shape else {
            return;
        };
        let tokens = &mut reading.tokens;
        if decoder.unread == 0 || tokens.output.is_none() {
            return;
        }
        let unread = formats::tokens::roughly(decoder.unread);
        tokens.output = tokens.output.map(|output| output.saturating_add(unread));
        tokens.estimated = true;
    }

    /// The stream has ended as a stream should: an event that lacks only the end of its line counts.
    pub(super) fn end(&mut self) {
        let meter = &mut self.meter;
        let mut pass = Pass::Through;
        match &mut self.shape {
            Shape::Text(decoder) | Shape::Filtered(decoder) => {
                self.last_is_whole = decoder.end(|event| pass = meter.event(&event));
            }
            Shape::Ndjson(decoder) => {
                self.last_is_whole = decoder.end(|event| pass = meter.event(&event));
            }
            _ => {}
        }
        if matches!(self.shape, Shape::Filtered(_)) && pass == Pass::Hidden {
            self.held.clear();
        }
    }

    /// Whether a response may end here.
    pub(super) fn may_end(&self) -> bool {
        self.is_complete() || self.shape.has_skipped() || self.is_sealed() || self.meter.may_end()
    }

    /// Whether a stream has stopped in the middle of an event.
    pub(super) fn is_half(&self) -> bool {
        !self.is_complete()
            && !self.held.is_empty()
            && !self.last_is_whole
            && !is_comment(&self.held)
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
        self.raw_length += piece.len() as u64;
        let piece = match self.shape {
            Shape::Opaque => return piece,
            Shape::Unnamed { filtered, longest } if self.decoding.is_none() => {
                let piece = self.started(piece);
                let Some(shape) = Shape::of(&piece, self.streamed, filtered, longest) else {
                    self.start.extend_from_slice(&piece);
                    return Bytes::new();
                };
                self.shape = shape;
                piece
            }
            _ => piece,
        };
        if let Shape::Filtered(decoder) = &mut self.shape {
            self.length += piece.len() as u64;
            return filter(decoder, &mut self.held, self.meter.as_mut(), &piece);
        }
        let Self {
            shape,
            decoding,
            meter,
            room,
            spoke,
            length,
            ..
        } = self;
        let mut read = |plain: Bytes| -> usize {
            *length += plain.len() as u64;
            if let Shape::Unnamed { filtered, longest } = *shape
                && let Some(found) = Shape::of(&plain, self.streamed, filtered, longest)
            {
                *shape = found;
            }
            match shape {
                Shape::Unnamed { .. } | Shape::Opaque => {}
                Shape::Unmetered(pieces) => pieces.hold(plain, (*room).max(MAX_WORDS)),
                Shape::Lines(lines) => {
                    *spoke |= !plain.is_empty();
                    lines.take(plain, *room, meter.as_mut());
                }
                Shape::Whole(whole) => {
                    *spoke |= self.streamed && !plain.is_empty();
                    whole.take(plain, *room, meter.as_mut());
                }
                Shape::Text(decoder) | Shape::Filtered(decoder) => {
                    return decoder.feed(&plain, |event| {
                        meter.event(&event);
                    });
                }
                Shape::Amazon(decoder) => {
                    return decoder.feed(&plain, |event| {
                        meter.event(&event);
                    });
                }
                Shape::Ndjson(decoder) => {
                    return decoder.feed(&plain, |event| {
                        meter.event(&event);
                    });
                }
            }
            0
        };
        // Where a compressed event ends, only who opens it knows.
        if let Some(decoding) = decoding {
            decoding.open(&piece, |plain| {
                read(plain.into());
            });
            return piece;
        }
        let open = read(piece.clone());
        self.hold_back(piece, open)
    }

    /// A piece with what came before it while the shape was not known.
    fn started(&mut self, piece: Bytes) -> Bytes {
        if self.start.is_empty() {
            return piece;
        }
        self.start.extend_from_slice(&piece);
        self.start.split().freeze()
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
        let held = if self.held.is_empty() {
            // It was too short to have a shape.
            if !self.start.is_empty() {
                self.length += self.start.len() as u64;
                self.meter.body(&self.start);
            }
            self.start.split()
        } else {
            self.held.split()
        };
        // An incomplete event doesn't count as output.
        if self.has_events() && !self.last_is_whole {
            self.length = self.length.saturating_sub(held.len() as u64);
        }
        (!held.is_empty()).then(|| held.freeze())
    }

    /// What was held back if it is an event, with the end that it lacks: another event can follow it.
    pub(super) fn last_event(&mut self) -> Option<Bytes> {
        let rest = self.rest().filter(|_| self.last_is_whole)?;
        let end: &[u8] = match self.shape {
            Shape::Ndjson(_) => b"\n",
            _ => b"\n\n",
        };
        Some([&rest[..], end].concat().into())
    }

    /// Ends the reading.
    pub(super) fn finish(&mut self) -> Metered {
        let (mut body, mut truncated) = (
            Bytes::new(),
            self.shape.has_skipped() || self.shape.has_reduced(),
        );
        if self.has_events() {
            let _half = self.rest();
        }
        match &mut self.shape {
            Shape::Whole(whole) => {
                let whole = std::mem::take(whole);
                (body, truncated) = whole.end(self.meter.as_mut());
            }
            Shape::Lines(lines) => {
                let lines = std::mem::take(lines);
                (body, truncated) = lines.end(self.meter.as_mut());
            }
            Shape::Unmetered(pieces) => {
                let pieces = std::mem::take(pieces);
                truncated = pieces.over;
                body = pieces.joined();
            }
            _ => {}
        }
        let is_counted = self.meter.is_counted();
        let mut reading = self.meter.finish();
        if !is_counted {
            self.estimate_unread(&mut reading);
        }
        // Of what wasn't read, nobody knows whether it is of the format.
        let is_sealed = self.is_sealed();
        reading.is_foreign &= !is_sealed && !self.shape.has_skipped();
        // Its bytes are all that is known.
        let is_unread = is_sealed || (self.is_guessed && self.length == 0) || !self.has_events();
        if matches!(self.shape, Shape::Unmetered(_)) {
            reading.failure = formats::error_words(&body);
        }
        if let Some(response) = reading.response.take() {
            body = response;
            truncated |= reading.truncated;
        }
        if body.len() > self.room {
            truncated = true;
            body.truncate(self.room);
        }
        Metered {
            reading,
            body,
            raw: self.raw.take().map(Pieces::joined),
            truncated,
            length: if is_sealed {
                self.length.max(self.raw_length)
            } else if is_unread && self.length == 0 {
                self.raw_length
            } else {
                self.length
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::tests::Hides;
    use super::*;

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
        let lines = b"{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":".as_slice();
        for (framing, stream, half) in [
            (Framing::Text, text, 9),
            (Framing::Amazon, &amazon, 9),
            (Framing::Ndjson, lines, 5),
        ] {
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
    fn another_event_can_follow_the_last_one() {
        for (framing, last, expected) in [
            (Framing::Text, "data: {}", Some("data: {}\n\n")),
            (Framing::Ndjson, "{}", Some("{}\n")),
            (Framing::Ndjson, "{", None),
        ] {
            let mut tee = tee(framing);
            assert_eq!(tee.pass(Bytes::from_static(last.as_bytes())), "");
            tee.end();
            let last = tee.last_event();
            assert_eq!(last.as_deref(), expected.map(str::as_bytes));
        }
    }

    #[test]
    fn of_a_giant_event_parts_pass() {
        let mut tee = tee(Framing::Text);
        let part = Bytes::from(vec![b'x'; MAX_HELD / 2 + 1]);
        let passed: Vec<usize> = (0..4).map(|_| tee.pass(part.clone()).len()).collect();
        assert_eq!(passed, [0, MAX_HELD + 2, 0, MAX_HELD + 2]);
    }
}
