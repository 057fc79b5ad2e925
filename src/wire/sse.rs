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
        // A line that was cut is one of an event that is given up.
        !begun && !self.skipping
    }

    /// Takes the next piece and calls `each` for every event that it completes. Returns how many
    /// bytes at the piece's end belong to an event that has not ended.
    pub fn feed(&mut self, mut piece: &[u8], mut each: impl FnMut(Event<'_>)) -> usize {
        let mut open = piece.len();
        while let Some(&first) = piece.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                piece = &piece[1..];
            } else {
                let Some(end) = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                    self.hold(piece);
                    break;
                };
                self.after_cr = piece[end] == b'\r';
                self.hold(&piece[..end]);
                piece = &piece[end + 1..];
                let mut line = std::mem::take(&mut self.line);
                self.end_line(&line, &mut each);
                line.clear();
                self.line = line;
            }
            if self.is_between() {
                open = piece.len();
            }
        }
        open
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
            // Not of the standard: versions of llama.cpp report errors so.
            b"error" if !self.skipping && !self.has_data => {
                self.name = b"error".to_vec();
                self.has_data = true;
                self.data.extend_from_slice(value);
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
    fn a_field_named_error_is_an_event() {
        let stream: &[u8] = b"error: {\"code\":500}\n\ndata: one\nerror: two\n\n";
        let expected = [("error", "{\"code\":500}"), ("", "one")];
        assert_eq!(
            events(&[stream]),
            expected.map(|(name, data)| (name.to_owned(), data.to_owned()))
        );
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

    #[test]
    fn fields_are_read_as_the_standard_says() {
        for (stream, name, data) in [
            (&b"data:a\n\n"[..], "", "a"),
            (b"data: a\n\n", "", "a"),
            (b"data:  a \n\n", "", " a "),
            (b"data: a: b\n\n", "", "a: b"),
            (b"data\ndata\n\n", "", "\n"),
            (b"data: a\ndata:\ndata: b\n\n", "", "a\n\nb"),
            (b"event: x\nevent: yy\ndata: a\n\n", "yy", "a"),
            (
                b"Data: b\n data: b\ndatas: b\nid: 1\nretry: 2\n: data: b\ndata: a\n\n",
                "",
                "a",
            ),
            // An event without data is none, and leaves nothing behind.
            (b"event: x\n\ndata: a\n\n", "", "a"),
            (b"\n\n\r\n\rdata: a\r\r", "", "a"),
            // The mark is one at the very beginning alone.
            (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", "", "a"),
        ] {
            assert_eq!(
                events(&[stream]),
                [(name.to_owned(), data.to_owned())],
                "{}",
                stream.escape_ascii()
            );
        }
        let long = [b"event: ".as_slice(), &[b'n'; 300], b"\ndata: a\n\n"].concat();
        assert_eq!(events(&[&long])[0].0.len(), 256);
        let two = events(&[b"event: x\ndata: a\n\ndata: b\n\n"]);
        assert_eq!(
            two,
            [
                ("x".to_owned(), "a".to_owned()),
                (String::new(), "b".to_owned())
            ]
        );
    }

    #[test]
    fn an_event_has_begun_with_its_first_byte_and_is_over_with_its_end() {
        for (pieces, is_between) in [
            (&["data: a\n\n", ": comment\n", "id: 1\n"][..], true),
            (&["data\n"], false),
            (&["event: e\n"], false),
            (&["d"], false),
            (&["data: 0123456789"], false),
            (&["data: 0123456789\n"], false),
            (&["data: 0123456789\n\n"], true),
            (&["data: a\n", "\n"], true),
            (&["data: a\r", "\r"], true),
        ] {
            let mut decoder = Decoder::new(12);
            assert!(decoder.is_between());
            for piece in pieces {
                decoder.feed(piece.as_bytes(), |_| {});
            }
            assert_eq!(decoder.is_between(), is_between, "{pieces:?}");
        }
    }

    #[test]
    fn an_event_of_the_limit_is_read_and_one_beyond_is_not() {
        let read = |pieces: &[&str]| {
            let mut decoder = Decoder::new(16);
            let mut seen = Vec::new();
            for piece in pieces {
                decoder.feed(piece.as_bytes(), |event| {
                    seen.push(String::from_utf8(event.data.to_vec()).unwrap());
                });
            }
            (seen.join("|"), decoder.skipped)
        };
        let next = "data: next\n\n";
        for (stream, seen, skipped) in [
            ("data: 0123456789\n\n", "0123456789|next", 0),
            ("data: 01234567890\n\n", "next", 1),
            // Lines that were read count with the one that is.
            ("data: 0123\ndata: 567890\n\n", "0123\n567890|next", 0),
            ("data: 01234\ndata: 567890\n\n", "next", 1),
            // What follows in an event that is given up is not the start of another.
            ("data: 01234567890\ndata: x\n\n", "next", 1),
            ("data: 01234567890\n\ndata: 01234567890\n\n", "next", 2),
            ("data: 01234567890\n\ndata: a\n\n", "a|next", 1),
        ] {
            assert_eq!(
                read(&[stream, next]),
                (seen.to_owned(), skipped),
                "{stream}"
            );
            for cut in 1..stream.len() {
                let parts = [&stream[..cut], &stream[cut..], next];
                assert_eq!(
                    read(&parts),
                    (seen.to_owned(), skipped),
                    "{stream} at {cut}"
                );
            }
        }
    }
}
