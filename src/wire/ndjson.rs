//! JSON line by line (NDJSON), decoded as it comes: each line is an event without a name
//! (<https://github.com/ndjson/ndjson-spec>).

use serde::de::IgnoredAny;

use super::json::Sieve;
use super::sse::Event;

/// Splits a byte stream into lines, whatever the pieces it arrives in.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    line: Vec<u8>,
    /// Reduces a line that is too long to hold.
    sieve: Option<Box<Sieve>>,
    /// Lines of which a reduced copy was read.
    pub reduced: u64,
    /// Lines given up because they were too long and no JSON object.
    pub skipped: u64,
}

impl Decoder {
    /// A decoder that holds lines of up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            sieve: None,
            reduced: 0,
            skipped: 0,
        }
    }

    /// Takes the next piece and calls `each` for every line that it completes, unless it is blank.
    /// Returns how many bytes at the piece's end belong to a line that has not ended.
    pub fn feed(&mut self, mut piece: &[u8], mut each: impl FnMut(Event<'_>)) -> usize {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let (line, rest) = (&piece[..end], &piece[end + 1..]);
            piece = rest;
            if self.is_between() && line.len() <= self.limit {
                give(line, &mut each);
            } else {
                self.hold(line);
                self.end_line(&mut each);
            }
        }
        self.hold(piece);
        piece.len()
    }

    /// The stream has ended: what came of a line counts if it is a whole object. Returns whether it is.
    pub fn end(&mut self, mut each: impl FnMut(Event<'_>)) -> bool {
        let is_whole = if let Some(sieve) = &self.sieve {
            sieve.is_complete() && !sieve.is_list()
        } else {
            let line = self.line.trim_ascii();
            line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok()
        };
        if is_whole {
            self.end_line(&mut each);
        }
        self.line = Vec::new();
        self.sieve = None;
        is_whole
    }

    /// Whether no line has begun.
    fn is_between(&self) -> bool {
        self.line.is_empty() && self.sieve.is_none()
    }

    fn hold(&mut self, part: &[u8]) {
        if self.sieve.is_none() && self.line.len() + part.len() <= self.limit {
            self.line.extend_from_slice(part);
            return;
        }
        let sieve = self.sieve.get_or_insert_default();
        let held = std::mem::take(&mut self.line);
        sieve.feed(&held, &mut |_| {});
        sieve.feed(part, &mut |_| {});
    }

    fn end_line(&mut self, each: &mut impl FnMut(Event<'_>)) {
        match self.sieve.take() {
            Some(sieve) if sieve.is_complete() && !sieve.is_list() => {
                self.reduced += 1;
                give(&sieve.finish(), each);
            }
            Some(_) => self.skipped += 1,
            None => {
                give(&self.line, each);
                self.line.clear();
            }
        }
    }
}

/// Hands over a line that isn't blank.
fn give(line: &[u8], each: &mut impl FnMut(Event<'_>)) {
    let data = line.trim_ascii();
    if !data.is_empty() {
        each(Event { name: b"", data });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"{\"a\":1}\n\r\n{\"b\":\"x\\ny\"}\r\n  {\"c\":[1]}  \n[1]\n{\"d\":{}}";

    /// The lines, whether what is left at the end counts, and the lines that were given up.
    fn lines(limit: usize, pieces: &[&[u8]]) -> (Vec<String>, bool, u64) {
        let mut decoder = Decoder::new(limit);
        let mut seen = Vec::new();
        let mut add =
            |event: Event<'_>| seen.push(String::from_utf8_lossy(event.data).into_owned());
        for piece in pieces {
            decoder.feed(piece, &mut add);
        }
        let is_whole = decoder.end(&mut add);
        (seen, is_whole, decoder.skipped)
    }

    #[test]
    fn every_split_gives_the_same_lines() {
        let expected = [
            r#"{"a":1}"#,
            r#"{"b":"x\ny"}"#,
            r#"{"c":[1]}"#,
            "[1]",
            r#"{"d":{}}"#,
        ];
        for limit in [1 << 20, 16] {
            for at in 0..=STREAM.len() {
                let (first, second) = STREAM.split_at(at);
                let (seen, is_whole, skipped) = lines(limit, &[first, second]);
                assert_eq!(seen, expected, "split at {at}");
                assert!(is_whole && skipped == 0);
            }
            let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
            assert_eq!(lines(limit, &bytes).0, expected);
        }
    }

    #[test]
    fn what_has_not_ended_is_counted_from_the_pieces_end() {
        let mut decoder = Decoder::new(100);
        assert_eq!(decoder.feed(b"{\"a\":1}\n{\"b", |_| {}), 3);
        assert_eq!(decoder.feed(b"\":2", |_| {}), 3);
        assert_eq!(decoder.feed(b"}\n", |_| {}), 0);
        assert_eq!(decoder.feed(b"", |_| {}), 0);
    }

    #[test]
    fn half_a_line_at_the_end_does_not_count() {
        for half in ["{\"a\":", "[1]", "1", "  ", "oops"] {
            let (seen, is_whole, _) = lines(100, &[half.as_bytes()]);
            assert!(seen.is_empty() && !is_whole, "{half}");
        }
    }

    #[test]
    fn a_long_line_is_reduced_or_given_up_and_what_follows_is_read() {
        let long = format!(r#"{{"done":true,"text":"{}"}}"#, "x".repeat(5_000));
        let stream = format!("{long}\n{}\n{{\"b\":1}}\n", "y".repeat(5_000));
        for size in [1, 7, 5_000, stream.len()] {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            let (seen, _, skipped) = lines(100, &pieces);
            assert_eq!((seen.len(), skipped), (2, 1), "pieces of {size}");
            assert!(seen[0].contains(r#""done":true"#) && seen[0].len() < long.len());
            assert_eq!(seen[1], r#"{"b":1}"#);
        }
    }
}
