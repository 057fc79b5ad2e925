//! Server-sent events, decoded as they come (WHATWG HTML, section 9.2.6).

/// An event longer than this is not held, unless a format has longer ones; it is skipped and
/// counted instead.
pub const MAX_EVENT: usize = 1024 * 1024;

/// One event, borrowed from the decoder.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field, empty if absent.
    pub name: &'a [u8],
    /// The `data` lines joined by `\n`.
    pub data: &'a [u8],
}

/// Splits a byte stream into events, whatever the pieces it arrives in.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what a line parser must remember"
)]
pub struct Decoder {
    limit: usize,
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    past_first_line: bool,
    /// The line being read was too long to hold.
    line_cut: bool,
    /// The event being read is given up.
    skipping: bool,
    /// Events given up because they were too long.
    pub skipped: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(MAX_EVENT)
    }
}

impl Decoder {
    /// A decoder that holds events of up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            name: Vec::new(),
            data: Vec::new(),
            has_data: false,
            after_cr: false,
            past_first_line: false,
            line_cut: false,
            skipping: false,
            skipped: 0,
        }
    }

    /// Whether no event has begun: what came last was its end, or a comment.
    #[must_use]
    pub fn is_between(&self) -> bool {
        let begun = self.has_data || !self.name.is_empty() || !self.line.is_empty();
        !begun && !self.line_cut && !self.skipping
    }

    /// Takes the next piece and calls `each` for every event that it completes.
    pub fn feed(&mut self, mut piece: &[u8], mut each: impl FnMut(Event<'_>)) {
        while let Some(&first) = piece.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                piece = &piece[1..];
                continue;
            }
            let Some(end) = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.hold(piece);
                return;
            };
            self.after_cr = piece[end] == b'\r';
            self.hold(&piece[..end]);
            piece = &piece[end + 1..];
            let mut line = std::mem::take(&mut self.line);
            self.end_line(&line, &mut each);
            line.clear();
            self.line = line;
        }
    }

    fn hold(&mut self, part: &[u8]) {
        if self.line_cut || self.line.len() + self.data.len() + part.len() > self.limit {
            self.line_cut |= !part.is_empty();
            self.skipping = true;
            self.line = Vec::new();
            self.data = Vec::new();
        } else {
            self.line.extend_from_slice(part);
        }
    }

    fn end_line(&mut self, line: &[u8], each: &mut impl FnMut(Event<'_>)) {
        let line = if std::mem::replace(&mut self.past_first_line, true) {
            line
        } else {
            line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
        };
        if std::mem::take(&mut self.line_cut) {
            return;
        }
        if line.is_empty() {
            self.end_event(each);
            return;
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        match field {
            b"data" if !self.skipping => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(&value[..value.len().min(256)]);
            }
            _ => {}
        }
    }

    fn end_event(&mut self, each: &mut impl FnMut(Event<'_>)) {
        if std::mem::take(&mut self.skipping) {
            self.skipped += 1;
        } else if self.has_data {
            each(Event {
                name: &self.name,
                data: &self.data,
            });
        }
        self.has_data = false;
        self.data.clear();
        self.name.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for piece in pieces {
            decoder.feed(piece, |event| {
                seen.push((
                    String::from_utf8_lossy(event.name).into_owned(),
                    String::from_utf8_lossy(event.data).into_owned(),
                ));
            });
        }
        seen
    }

    #[test]
    fn every_split_gives_the_same_events() {
        let stream: &[u8] = b"\xef\xbb\xbfdata: one\n\n: comment\r\nevent: e\r\ndata:two\r\n\
            data: three\r\n\r\nid: 1\rdata: four\r\rdata\n\ndata: unfinished\n";
        let whole = events(&[stream]);
        let expected = [("", "one"), ("e", "two\nthree"), ("", "four"), ("", "")];
        assert_eq!(whole.len(), expected.len());
        for ((name, data), (wanted_name, wanted_data)) in whole.iter().zip(expected) {
            assert_eq!((name.as_str(), data.as_str()), (wanted_name, wanted_data));
        }
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let parts = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(events(&parts), whole, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_giant_event_is_skipped_and_the_next_one_is_read() {
        let giant = vec![b'x'; 3 * MAX_EVENT];
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for piece in [b"data: ".as_slice(), &giant, b"\n\ndata: next\n\n"] {
            decoder.feed(piece, |event| seen.push(event.data.to_vec()));
            assert!(decoder.line.capacity() + decoder.data.capacity() <= 3 * MAX_EVENT);
        }
        assert_eq!(seen, [b"next".to_vec()]);
        assert_eq!(decoder.skipped, 1);
    }
}
