//! Server-sent events, decoded as they come (WHATWG HTML, section 9.2.6).

use serde::de::IgnoredAny;

use super::json::Sieve;

/// An event longer than this is not held, unless a format has longer ones: a reduced copy of its
/// JSON is made instead.
pub const MAX_EVENT: usize = 1024 * 1024;

/// Bytes of a line that tell what it is: a byte order mark, the name of a field, a space.
const LABEL: usize = 16;

/// One event, borrowed from the decoder.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field, empty if absent.
    pub name: &'a [u8],
    /// The `data` lines joined by `\n`.
    pub data: &'a [u8],
}

/// What becomes of the line that is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    /// It is held.
    #[default]
    Held,
    /// It is data that is too long to hold, and goes into the sieve.
    Sieved,
    /// It is too long to hold, and no data.
    Dropped,
}

/// Splits a byte stream into events, whatever the pieces it arrives in.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    past_first_line: bool,
    mode: Line,
    /// Reduces the data of an event that is too long to hold.
    sieve: Option<Box<Sieve>>,
    /// Events of which a reduced copy was read.
    pub reduced: u64,
    /// Events given up because they were too long and no JSON object.
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
            mode: Line::Held,
            sieve: None,
            reduced: 0,
            skipped: 0,
        }
    }

    /// Whether no event has begun: what came last was its end, or a comment.
    #[must_use]
    pub fn is_between(&self) -> bool {
        let begun = self.has_data || !self.name.is_empty() || !self.line.is_empty();
        !begun && self.mode == Line::Held
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

    /// The stream has ended: what came of an event counts if it is one but for the blank line.
    /// Returns whether it is.
    pub fn end(&mut self, each: impl FnOnce(Event<'_>)) -> bool {
        let line = std::mem::take(&mut self.line);
        let mut last = None;
        // No line of an event is empty, so that none ends here.
        if !line.is_empty() {
            self.end_line(&line, &mut |_: Event<'_>| {});
        }
        self.mode = Line::Held;
        let is_whole = match &self.sieve {
            Some(sieve) => sieve.is_complete(),
            // The words of an error need not be JSON, but half a document is cut off.
            None if self.name == b"error" && !matches!(self.data.first(), Some(b'{' | b'[')) => {
                self.has_data
            }
            None => self.has_data && is_whole(&self.data),
        };
        if is_whole {
            self.end_event(&mut |event: Event<'_>| {
                last = Some((event.name.to_vec(), event.data.to_vec()));
            });
        }
        if let Some((name, data)) = &last {
            each(Event { name, data });
        }
        last.is_some()
    }

    fn hold(&mut self, part: &[u8]) {
        match self.mode {
            Line::Dropped => return,
            Line::Sieved => return self.sift(part),
            Line::Held => {}
        }
        if self.line.len() + self.data.len() + part.len() > self.limit {
            let data = std::mem::take(&mut self.data);
            if !data.is_empty() {
                self.sift(&data);
            }
        }
        if self.line.len() + part.len() <= self.limit {
            self.line.extend_from_slice(part);
            return;
        }
        // As much as tells what the line is.
        let missing = LABEL.saturating_sub(self.line.len()).min(part.len());
        let (label, rest) = part.split_at(missing);
        self.line.extend_from_slice(label);
        let line = std::mem::take(&mut self.line);
        let (field, value) = field(self.without_mark(&line));
        if field == b"data" {
            self.add_data(value);
            let data = std::mem::take(&mut self.data);
            self.sift(&data);
            self.sift(rest);
            self.mode = Line::Sieved;
        } else {
            self.mode = Line::Dropped;
        }
    }

    /// Feeds the sieve, which there is from here on until the event ends.
    fn sift(&mut self, data: &[u8]) {
        let sieve = self.sieve.get_or_insert_default();
        sieve.feed(data, &mut |_| {});
    }

    fn without_mark<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        if self.past_first_line {
            return line;
        }
        line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
    }

    /// Adds a line of data.
    fn add_data(&mut self, value: &[u8]) {
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
        if self.sieve.is_some() {
            let data = std::mem::take(&mut self.data);
            self.sift(&data);
        }
    }

    fn end_line(&mut self, line: &[u8], each: &mut impl FnMut(Event<'_>)) {
        let line = self.without_mark(line);
        self.past_first_line = true;
        if std::mem::take(&mut self.mode) != Line::Held {
            return;
        }
        if line.is_empty() {
            self.end_event(each);
            return;
        }
        let (field, value) = field(line);
        match field {
            b"data" => self.add_data(value),
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(&value[..value.len().min(256)]);
            }
            // Not of the standard: versions of llama.cpp report errors so.
            b"error" if !self.has_data => {
                self.name = b"error".to_vec();
                self.add_data(value);
            }
            _ => {}
        }
    }

    fn end_event(&mut self, each: &mut impl FnMut(Event<'_>)) {
        if let Some(sieve) = self.sieve.take() {
            if sieve.is_complete() && !sieve.is_list() {
                self.reduced += 1;
                each(Event {
                    name: &self.name,
                    data: &sieve.finish(),
                });
            } else {
                self.skipped += 1;
            }
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

/// Whether data is what an event has: a JSON document, or the mark of an end.
fn is_whole(data: &[u8]) -> bool {
    let data = data.trim_ascii();
    data == b"[DONE]"
        || (data.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(data).is_ok())
}

/// The name of a line's field, and its value.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b':') {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, &[][..]),
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
    fn a_giant_event_that_is_no_json_is_skipped_and_the_next_one_is_read() {
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
    fn of_a_giant_event_a_reduced_copy_is_read() {
        let big = "A".repeat(3 * MAX_EVENT);
        let giant = format!(r#"{{"data":"{big}",{}"usage":{{"n":7}}}}"#, "\n");
        let lines = giant.replace('\n', "\ndata: ");
        for stream in [
            format!("event: e\ndata: {lines}\n\ndata: next\n\n"),
            format!("event: e\r\ndata:{lines}\r\n\r\n: {big}\r\ndata: next\r\n\r\n"),
            format!("\u{feff}data: {lines}\nevent: e\nid: {big}\n\ndata: next\n\n"),
        ] {
            for size in [1 << 10, 5000, 1 << 24] {
                let mut decoder = Decoder::default();
                let mut seen = Vec::new();
                for piece in stream.as_bytes().chunks(size) {
                    decoder.feed(piece, |event| {
                        seen.push((event.name.to_vec(), event.data.to_vec()));
                    });
                    assert!(decoder.line.capacity() + decoder.data.capacity() <= 4 * MAX_EVENT);
                }
                assert_eq!((decoder.reduced, decoder.skipped, seen.len()), (1, 0, 2));
                let copy: serde_json::Value = serde_json::from_slice(&seen[0].1).unwrap();
                assert_eq!(
                    (&seen[0].0[..], &copy["usage"]["n"]),
                    (&b"e"[..], &7.into())
                );
                assert_eq!(seen[1].1, b"next");
            }
        }
    }

    #[test]
    fn a_last_event_counts_without_its_blank_line() {
        for (stream, last) in [
            ("data: {\"a\":1}\n", Some("{\"a\":1}")),
            ("data: {\"a\":1}", Some("{\"a\":1}")),
            ("data: {\"a\":1}\r", Some("{\"a\":1}")),
            ("data: {\"a\":1}\r\n", Some("{\"a\":1}")),
            (
                "event: e\ndata: {\"a\":\ndata: 1}\nid: 1",
                Some("{\"a\":\n1}"),
            ),
            ("data: [DONE]", Some("[DONE]")),
            ("data: [DONE]\n", Some("[DONE]")),
            ("event: error\ndata: it broke", Some("it broke")),
            ("event: error\ndata: {\"error\":{\"mess", None),
            ("data: {\"a\":1", None),
            ("data: {\"a\":1}\ndata: {\"b\"", None),
            ("data: [DON", None),
            ("data: half a word", None),
            ("event: e\n", None),
            (": comment", None),
            ("data: {\"a\":1}\n\n", None),
            ("", None),
        ] {
            let mut decoder = Decoder::default();
            decoder.feed(b"data: first\n\n", |_| {});
            decoder.feed(stream.as_bytes(), |_| {});
            let mut seen = None;
            let is_whole = decoder.end(|event| {
                seen = Some(String::from_utf8(event.data.to_vec()).unwrap());
            });
            assert_eq!(seen.as_deref(), last, "{stream:?}");
            assert_eq!(is_whole, last.is_some());
        }
        let mut decoder = Decoder::new(32);
        let giant = format!("data: {{\"a\":\"{}\"}}", "b".repeat(40));
        decoder.feed(giant.as_bytes(), |_| {});
        assert!(decoder.end(|event| assert!(event.data.starts_with(b"{\"a\":\"bbb"))));
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
            // An event without data doesn't count, and leaves nothing behind.
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
