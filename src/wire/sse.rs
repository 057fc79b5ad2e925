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
    /// Comments, which keep a connection alive.
    pub comments: u64,
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
            comments: 0,
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
                let Some(end) = memchr::memchr2(b'\n', b'\r', piece) else {
                    self.hold(piece);
                    break;
                };
                self.after_cr = piece[end] == b'\r';
                let line = &piece[..end];
                piece = &piece[end + 1..];
                let is_whole = self.line.is_empty() && self.mode == Line::Held;
                if is_whole && line.len() + self.data.len() <= self.limit {
                    self.end_line(line, &mut each);
                } else {
                    self.hold(line);
                    let mut line = std::mem::take(&mut self.line);
                    self.end_line(&line, &mut each);
                    line.clear();
                    self.line = line;
                }
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
            b"" => self.comments += 1,
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
    match memchr::memchr(b':', line) {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, &[][..]),
    }
}

#[cfg(test)]
mod tests;
