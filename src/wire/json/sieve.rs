//! A reduced copy of a JSON document of any length, made as the document passes.
//!
//! What a response costs must be read however long the response is, in a bounded amount of
//! memory. The copy has the document's shape: long texts are shortened, long lists of numbers are
//! cut, and each value gets at most half of the room that is left in the value around it. So a
//! large part leaves as much room for what follows it as it has taken, and what says how a
//! response ended has room of its own.

use memchr::memchr2;

use super::scanner::Scanner;

/// Bytes of a copy.
const ROOM: usize = 256 * 1024;
/// Bytes besides, for what says how a response ended.
const RESERVE: usize = 64 * 1024;
/// Bytes that each of those members gets of them.
const PORTION: usize = 8 * 1024;
/// Bytes that are kept of a text.
const MAX_TEXT: usize = 1024;
/// Bytes of a key; a member with a longer one is left out.
const MAX_KEY: usize = 256;
/// Bytes of a number.
const MAX_SCALAR: usize = 64;
/// Numbers and words that are kept of a list.
const MAX_SCALARS: usize = 32;
/// Nesting; what lies deeper is left out.
const MAX_DEPTH: usize = 64;
/// Depth up to which members have room of their own.
const MAX_RESERVED_DEPTH: usize = 4;

/// Keys of members that have room of their own.
const RESERVED: [&[u8]; 31] = [
    b"\"amazon-bedrock-invocationMetrics\"",
    b"\"choices\"",
    b"\"candidates\"",
    b"\"code\"",
    b"\"detail\"",
    b"\"error\"",
    b"\"errors\"",
    b"\"eval_count\"",
    b"\"finishReason\"",
    b"\"finish_reason\"",
    b"\"incomplete_details\"",
    b"\"message\"",
    b"\"meta\"",
    b"\"metrics\"",
    b"\"model\"",
    b"\"modelVersion\"",
    b"\"object\"",
    b"\"promptFeedback\"",
    b"\"prompt_eval_count\"",
    b"\"response\"",
    b"\"serviceTier\"",
    b"\"service_tier\"",
    b"\"status\"",
    b"\"stopReason\"",
    b"\"stop_reason\"",
    b"\"timings\"",
    b"\"type\"",
    b"\"usage\"",
    b"\"usageMetadata\"",
    b"\"usage_metadata\"",
    b"\"x_groq\"",
];

/// An object or a list that has not ended.
#[derive(Debug)]
struct Frame {
    is_object: bool,
    is_empty: bool,
    /// Numbers and words so far.
    scalars: usize,
    /// Bytes that it may have.
    share: usize,
    /// Those of them that are left.
    left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the document.
    Start,
    /// Before a value, which a list need not have if it is the first one.
    Value {
        first: bool,
    },
    /// Before a key, which an object need not have if it is the first one.
    Key {
        first: bool,
    },
    /// In a key.
    KeyText,
    Colon,
    /// In a text that is kept up to `limit` bytes from `from` on.
    Text {
        from: usize,
        limit: usize,
    },
    Scalar,
    /// Behind a value.
    After,
    /// In a value that is left out.
    Skip {
        depth: usize,
        in_text: bool,
    },
    /// The document has ended.
    Done,
    /// It isn't JSON from here on.
    Broken,
}

/// Makes a reduced copy of a document whose pieces it is fed.
#[derive(Debug)]
pub struct Sieve {
    out: Vec<u8>,
    frames: Vec<Frame>,
    /// The key before the value, with its quotes; empty if the value has none that is kept.
    key: Vec<u8>,
    scalar: Vec<u8>,
    reserve: usize,
    state: State,
    /// A backslash came last in a text.
    escaped: bool,
    is_list: bool,
}

impl Default for Sieve {
    fn default() -> Self {
        Self {
            out: Vec::new(),
            frames: Vec::new(),
            key: Vec::new(),
            scalar: Vec::new(),
            reserve: RESERVE,
            state: State::Start,
            escaped: false,
            is_list: false,
        }
    }
}

impl Sieve {
    /// Whether the document is a list. Its elements are handed over one by one, and are not part
    /// of what [`Self::finish`] returns.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.is_list
    }

    /// Whether the document has ended as one.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next piece. Calls `each` with a reduced copy of every element that it completes
    /// if the document is a list.
    pub fn feed(&mut self, mut piece: &[u8], each: &mut dyn FnMut(&[u8])) {
        while let Some(&byte) = piece.first() {
            let used = match self.state {
                State::Done | State::Broken => return,
                State::KeyText => self.key_text(piece),
                State::Text { from, limit } => self.text(piece, from, limit),
                State::Scalar => self.scalar(piece),
                State::Skip { depth, in_text } => self.skip(piece, depth, in_text),
                _ => {
                    if !byte.is_ascii_whitespace() {
                        self.structure(byte);
                    }
                    1
                }
            };
            piece = &piece[used..];
            if self.is_list && self.state == State::After && self.frames.len() == 1 {
                if !self.out.is_empty() {
                    each(&self.out);
                }
                self.restart();
            }
        }
    }

    /// The copy, as far as the document came; empty if it isn't an object.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if self.is_list {
            return Vec::new();
        }
        if let State::Text { from, .. } = self.state {
            self.end_text(from);
        }
        while let Some(frame) = self.frames.pop() {
            self.out.push(if frame.is_object { b'}' } else { b']' });
        }
        self.out
    }

    /// Room for the next element of a list.
    fn restart(&mut self) {
        self.out.clear();
        self.reserve = RESERVE;
        if let Some(list) = self.frames.first_mut() {
            list.left = ROOM;
            list.is_empty = true;
            list.scalars = 0;
        }
    }

    /// One byte between values.
    fn structure(&mut self, byte: u8) {
        let in_object = self.frames.last().is_some_and(|frame| frame.is_object);
        self.state = match (self.state, byte) {
            (State::Start, b'{' | b'[') => {
                self.is_list = byte == b'[';
                return self.push(byte, 2 * ROOM);
            }
            // A byte order mark.
            (State::Start, 0xef | 0xbb | 0xbf) => State::Start,
            (State::Value { first: true }, b']') | (State::Key { first: true }, b'}') => {
                return self.close();
            }
            (State::After, b'}') if in_object => return self.close(),
            (State::After, b']') if !in_object => return self.close(),
            (State::After, b',') if in_object => State::Key { first: false },
            (State::Key { .. }, b'"') => {
                self.key.clear();
                self.key.push(b'"');
                State::KeyText
            }
            (State::After, b',') | (State::Colon, b':') => State::Value { first: false },
            (State::Value { .. }, b'{' | b'[') => return self.open(byte),
            (State::Value { .. }, b'"') => match self.admit(2) {
                Some(share) => {
                    self.out.push(b'"');
                    State::Text {
                        from: self.out.len(),
                        limit: MAX_TEXT.min(share - 2),
                    }
                }
                None => State::Skip {
                    depth: 0,
                    in_text: true,
                },
            },
            // Words that are no JSON, such as `NaN`, become `null`.
            (State::Value { .. }, b'-' | b'+' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') => {
                self.scalar.clear();
                self.scalar.push(byte);
                State::Scalar
            }
            _ => State::Broken,
        };
    }

    fn open(&mut self, byte: u8) {
        let has_room = self.frames.len() < MAX_DEPTH;
        match has_room.then(|| self.admit(2)).flatten() {
            Some(share) => self.push(byte, share),
            None => {
                self.state = State::Skip {
                    depth: 1,
                    in_text: false,
                };
            }
        }
    }

    fn push(&mut self, byte: u8, share: usize) {
        let is_object = byte == b'{';
        if !(self.is_list && self.frames.is_empty()) {
            self.out.push(byte);
        }
        self.frames.push(Frame {
            is_object,
            is_empty: true,
            scalars: 0,
            share,
            left: share - 2,
        });
        self.state = if is_object {
            State::Key { first: true }
        } else {
            State::Value { first: true }
        };
    }

    fn close(&mut self) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        let is_root = self.frames.is_empty();
        if !(is_root && self.is_list) {
            self.out.push(if frame.is_object { b'}' } else { b']' });
        }
        self.took(frame.share - frame.left);
        self.state = if is_root { State::Done } else { State::After };
    }

    /// Takes bytes of the value around.
    fn took(&mut self, bytes: usize) {
        if let Some(frame) = self.frames.last_mut() {
            frame.left = frame.left.saturating_sub(bytes);
        }
    }

    /// Writes what stands before a value, if there is room for a value of `least` bytes. Returns
    /// how many it may have.
    fn admit(&mut self, least: usize) -> Option<usize> {
        let depth = self.frames.len();
        let frame = self.frames.last_mut()?;
        if frame.is_object && self.key.is_empty() {
            return None;
        }
        let key: &[u8] = if frame.is_object { &self.key } else { &[] };
        let before = usize::from(!frame.is_empty) + key.len() + usize::from(frame.is_object);
        let mut share = frame.left.saturating_sub(before) / 2;
        if share < PORTION
            && depth <= MAX_RESERVED_DEPTH
            && self.reserve >= PORTION
            && RESERVED.contains(&key)
        {
            self.reserve -= PORTION;
            share = PORTION;
        }
        if share < least {
            return None;
        }
        if !frame.is_empty {
            self.out.push(b',');
        }
        self.out.extend_from_slice(key);
        if frame.is_object {
            self.out.push(b':');
        }
        frame.is_empty = false;
        frame.left = frame.left.saturating_sub(before);
        Some(share)
    }

    fn key_text(&mut self, piece: &[u8]) -> usize {
        let (run, ends) = self.run(piece);
        let is_kept = !self.key.is_empty() && self.key.len() + run < MAX_KEY;
        if is_kept {
            self.key.extend_from_slice(&piece[..run]);
        } else {
            self.key.clear();
        }
        if ends {
            // What is not sound can't be written, and no key of interest is like that.
            let inside = self.key.get(1..self.key.len().saturating_sub(1));
            let is_sound =
                |key: &[u8]| sound(key) == key.len() && key.iter().all(|byte| *byte >= b' ');
            if !inside.is_some_and(is_sound) {
                self.key.clear();
            }
            self.state = State::Colon;
        }
        run
    }

    /// How many bytes of a piece belong to the text that it goes on with, and whether the last
    /// one is its closing quote.
    fn run(&mut self, piece: &[u8]) -> (usize, bool) {
        if std::mem::take(&mut self.escaped) {
            return (1, false);
        }
        match memchr2(b'"', b'\\', piece) {
            None => (piece.len(), false),
            Some(at) if piece[at] == b'"' => (at + 1, true),
            Some(at) => {
                self.escaped = true;
                (at + 1, false)
            }
        }
    }

    fn text(&mut self, piece: &[u8], from: usize, limit: usize) -> usize {
        let (run, ends) = self.run(piece);
        let text = &piece[..run - usize::from(ends)];
        let left = (from + limit).saturating_sub(self.out.len());
        let kept = text.iter().take(left);
        // Parsers refuse control characters.
        self.out
            .extend(kept.map(|byte| if *byte < b' ' { b' ' } else { *byte }));
        if ends {
            self.end_text(from);
        }
        run
    }

    fn end_text(&mut self, from: usize) {
        let sound = sound(&self.out[from..]);
        self.out.truncate(from + sound);
        self.out.push(b'"');
        self.took(sound + 2);
        self.state = State::After;
    }

    fn scalar(&mut self, piece: &[u8]) -> usize {
        let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
        let end = piece.iter().position(is_end);
        let run = end.unwrap_or(piece.len());
        let left = (MAX_SCALAR + 1).saturating_sub(self.scalar.len());
        self.scalar.extend_from_slice(&piece[..run.min(left)]);
        if end.is_some() {
            self.state = State::After;
            self.end_scalar();
        }
        run
    }

    fn end_scalar(&mut self) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        frame.scalars += 1;
        if !frame.is_object && frame.scalars > MAX_SCALARS {
            return;
        }
        let scalar = std::mem::take(&mut self.scalar);
        let is_word = matches!(scalar.as_slice(), b"true" | b"false" | b"null");
        let is_number = || serde_json::from_slice::<f64>(&scalar).is_ok();
        let is_sound = scalar.len() <= MAX_SCALAR && (is_word || is_number());
        let value = if is_sound { &scalar[..] } else { b"null" };
        if self.admit(value.len()).is_some() {
            self.out.extend_from_slice(value);
            self.took(value.len());
        }
        self.scalar = scalar;
    }

    fn skip(&mut self, piece: &[u8], mut depth: usize, mut in_text: bool) -> usize {
        let mut at = 0;
        while at < piece.len() {
            if in_text {
                let (run, ends) = self.run(&piece[at..]);
                at += run;
                in_text = !ends;
            } else {
                match piece[at] {
                    b'"' => in_text = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
            }
            if depth == 0 && !in_text {
                self.state = State::After;
                return at;
            }
        }
        self.state = State::Skip { depth, in_text };
        at
    }
}

/// How many bytes of the inside of a text can be kept: up to the first that isn't UTF-8, or an
/// escape that is unknown, cut or half of a pair.
fn sound(text: &[u8]) -> usize {
    let valid = std::str::from_utf8(text).map_or_else(|error| error.valid_up_to(), str::len);
    let text = &text[..valid];
    let mut at = 0;
    while let Some(next) = memchr::memchr(b'\\', &text[at..]) {
        at += next;
        let mut escape = Scanner::new(&text[at..]);
        if escape.escape().is_err() {
            return at;
        }
        at += escape.at;
    }
    valid
}

#[cfg(test)]
mod tests;
