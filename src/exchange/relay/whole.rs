//! Bodies that are no streams of events: held for a meter as far as there is room, and reduced
//! beyond it; or objects line by line, each of which is an event.

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::base::memory::Hold;
use crate::formats::Meter;
use crate::wire::json::Sieve;
use crate::wire::sse;

/// An unstreamed response is held for its meter up to here, by reference to the bytes that
/// pass, or as far as a capture keeps it. Of a longer one, the meter gets a reduced copy.
const MAX_WHOLE: usize = 1024 * 1024;
/// However much a capture keeps.
const MAX_EXACT: usize = 16 * 1024 * 1024;
/// Bytes that a response may hold without being counted.
const UNCOUNTED: usize = 16 * 1024;
/// Bytes that are counted at a time.
const STEP: usize = 64 * 1024;

/// Pieces of a body, by reference.
#[derive(Default)]
pub(super) struct Pieces {
    parts: Vec<Bytes>,
    length: usize,
    pub(super) over: bool,
    counted: Hold,
}

impl Pieces {
    /// Holds as much of a piece as fits.
    pub(super) fn hold(&mut self, mut piece: Bytes, limit: usize) {
        let left = limit.saturating_sub(self.length);
        if piece.len() > left {
            self.over = true;
            piece.truncate(left);
        }
        if piece.is_empty() {
            return;
        }
        if self.has_memory(piece.len()) {
            self.length += piece.len();
            self.parts.push(piece);
        } else {
            self.over = true;
        }
    }

    /// Whether there is memory for `more` bytes.
    fn has_memory(&mut self, more: usize) -> bool {
        let all = self.length + more;
        all <= UNCOUNTED || self.counted.try_reserve(all.next_multiple_of(STEP))
    }

    pub(super) fn joined(self) -> Bytes {
        match self.parts.as_slice() {
            [] => Bytes::new(),
            [only] => only.clone(),
            several => several.concat().into(),
        }
    }
}

/// An unstreamed body.
#[derive(Default)]
pub(super) struct Whole {
    pieces: Pieces,
    /// What the meter gets of a body that is too long to hold.
    sieve: Option<Box<Sieve>>,
}

impl Whole {
    /// Takes the next piece, of which a capture keeps up to `room` bytes. The elements of a long
    /// list are metered as they come: such a list is a stream in another form.
    pub(super) fn take(&mut self, piece: Bytes, room: usize, meter: &mut dyn Meter) {
        let exact = room.clamp(MAX_WHOLE, MAX_EXACT);
        if self.sieve.is_none()
            && self.pieces.length + piece.len() <= exact
            && self.pieces.has_memory(piece.len())
        {
            self.pieces.hold(piece, exact);
            return;
        }
        let mut each = |element: &[u8]| {
            meter.event(&event(element));
        };
        let begins = self.sieve.is_none();
        let sieve = self.sieve.get_or_insert_default();
        if begins {
            let held = std::mem::take(&mut self.pieces);
            for part in held.parts {
                sieve.feed(&part, &mut each);
                self.pieces.hold(part, room);
            }
        }
        sieve.feed(&piece, &mut each);
        self.pieces.hold(piece, room);
    }

    /// What was held, and whether there was more.
    fn pieces(self) -> (Bytes, bool) {
        (self.pieces.joined(), self.sieve.is_some())
    }

    /// Meters the body, and returns as much of it as was kept and whether there was more.
    pub(super) fn end(self, meter: &mut dyn Meter) -> (Bytes, bool) {
        let is_long = self.sieve.is_some();
        let body = self.pieces.joined();
        match self.sieve {
            Some(sieve) => {
                let copy = sieve.finish();
                if !copy.is_empty() {
                    meter.body(&copy);
                }
            }
            None if body.is_empty() => {}
            None => meter.body(&body),
        }
        (body, is_long)
    }
}

/// Lines of JSON objects, as some servers stream without events. As long as only one has come, it
/// may be an unstreamed response.
#[derive(Default)]
pub(super) struct Lines {
    /// The first line, until it is known what it is.
    first: Whole,
    /// What has come of the line that has not ended.
    line: Vec<u8>,
    /// Lines that are objects.
    pub(super) count: u64,
    /// The first line isn't an object, so `first` reads the body as a whole.
    is_whole: bool,
}

impl Lines {
    pub(super) fn take(&mut self, piece: Bytes, room: usize, meter: &mut dyn Meter) {
        if self.is_whole {
            return self.first.take(piece, room, meter);
        }
        if self.count < 2 {
            self.first.take(piece.clone(), room, meter);
        }
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            // Longer ones are no part of a stream.
            if self.line.len() + part.len() <= sse::MAX_EVENT {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.end_line(meter);
            }
            if self.is_whole {
                self.line = Vec::new();
                return;
            }
        }
    }

    fn end_line(&mut self, meter: &mut dyn Meter) {
        let line = std::mem::take(&mut self.line);
        let text = line.trim_ascii();
        if text.is_empty() {
            return;
        }
        let is_object =
            text.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(text).is_ok();
        if !is_object {
            // What comes between objects is left out.
            self.is_whole = self.count == 0;
            return;
        }
        self.count += 1;
        if self.count == 2 {
            // It was the first event.
            let (first, _) = std::mem::take(&mut self.first).pieces();
            let end = memchr::memchr(b'\n', first.trim_ascii_start());
            let first = first.trim_ascii_start();
            meter.event(&event(&first[..end.unwrap_or(first.len())]));
        }
        if self.count >= 2 {
            meter.event(&event(text));
        }
    }

    /// Meters what has not been, and returns the body if it isn't a stream.
    pub(super) fn end(mut self, meter: &mut dyn Meter) -> (Bytes, bool) {
        if !self.is_whole {
            self.end_line(meter);
        }
        if self.count >= 2 {
            return (Bytes::new(), false);
        }
        self.first.end(meter)
    }
}

fn event(data: &[u8]) -> sse::Event<'_> {
    sse::Event { name: b"", data }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::memory::{LEAST, Memory};

    #[test]
    fn what_there_is_no_memory_for_is_left_out() {
        let memory = Memory::new(LEAST);
        let mut pieces = Pieces {
            counted: memory.hold(),
            ..Pieces::default()
        };
        let piece = Bytes::from(vec![7; 1 << 20]);
        for _ in 0..20 {
            pieces.hold(piece.clone(), 32 << 20);
        }
        assert!(pieces.over);
        let kept = pieces.length;
        assert!(kept > 0 && kept <= LEAST, "{kept}");
        assert!(memory.usage().held >= kept);
        assert_eq!(pieces.joined().len(), kept);
        assert_eq!(memory.usage().held, 0);
    }
}
