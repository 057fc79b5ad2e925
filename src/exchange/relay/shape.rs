//! How a body is understood: as events, as lines or as a whole. If its head doesn't say which, its start
//! does.

use bytes::{Bytes, BytesMut};

use super::sniff::has_events;
use super::whole::{Lines, Pieces, Whole};
use crate::formats::{Meter, Pass};
use crate::wire::{event_stream, ndjson, sse};

/// An event that has not ended is held back up to here: nobody can use a part of one, and what
/// tells of a failure could not be read behind it. Of a longer one, parts pass.
pub(super) const MAX_HELD: usize = 256 * 1024;
/// May stand in front of a text.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How the body is understood.
pub(super) enum Shape {
    /// Events, metered one by one.
    Text(sse::Decoder),
    Amazon(event_stream::Decoder),
    Ndjson(ndjson::Decoder),
    /// Events of which one may have to be kept from the caller.
    Filtered(sse::Decoder),
    /// A stream was asked for and a JSON object has begun: one for each line, or one in all.
    Lines(Lines),
    /// Metered at its end.
    Whole(Whole),
    /// A provider's error: relayed and kept, not metered.
    Unmetered(Pieces),
    /// A stream was asked for, and the head does not say that one comes: its first byte does.
    Unnamed {
        filtered: bool,
        longest: usize,
    },
    /// In a coding that can't be decompressed: relayed unread.
    Opaque,
}

impl Shape {
    /// The shape of a response whose head names none, by how it starts; `None` while that is not known.
    pub(super) fn of(start: &[u8], streamed: bool, filtered: bool, longest: usize) -> Option<Self> {
        let start = start.strip_prefix(BOM).unwrap_or(start).trim_ascii_start();
        if start.is_empty() || BOM.starts_with(start) {
            return None;
        }
        if has_events(start, streamed)? {
            let decoder = sse::Decoder::new(longest);
            return Some(if filtered {
                Self::Filtered(decoder)
            } else {
                Self::Text(decoder)
            });
        }
        if event_stream::begins(start)? {
            return Some(Self::Amazon(event_stream::Decoder::default()));
        }
        if streamed && start.first() == Some(&b'{') {
            return Some(Self::Lines(Lines::default()));
        }
        Some(Self::Whole(Whole::default()))
    }

    /// Whether the body is cut into events, of which one is the last.
    pub(super) fn has_events(&self) -> bool {
        matches!(
            self,
            Self::Text(_) | Self::Amazon(_) | Self::Ndjson(_) | Self::Filtered(_)
        )
    }

    /// Whether an event was too long to read, or can't be told from others.
    pub(super) fn has_skipped(&self) -> bool {
        match self {
            Self::Text(decoder) | Self::Filtered(decoder) => decoder.skipped > 0,
            Self::Amazon(decoder) => decoder.lost || decoder.unread > 0,
            Self::Ndjson(decoder) => decoder.skipped > 0,
            _ => false,
        }
    }

    /// Whether an event was so long that a reduced copy of it was read.
    pub(super) fn has_reduced(&self) -> bool {
        match self {
            Self::Text(decoder) | Self::Filtered(decoder) => decoder.reduced > 0,
            Self::Ndjson(decoder) => decoder.reduced > 0,
            _ => false,
        }
    }
}

/// Passes complete events and leaves out the hidden ones; the rest waits for its end.
pub(super) fn filter(
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
        let upto = memchr::memchr2(b'\r', b'\n', rest).map_or(rest.len(), |at| {
            let is_both = rest[at..].starts_with(b"\r\n");
            at + 1 + usize::from(is_both)
        });
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
pub(super) fn is_comment(lines: &[u8]) -> bool {
    lines.first() == Some(&b':') || lines.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::formats::Reading;

    /// Hides every event.
    pub(in super::super) struct Hides;

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
