//! The grammar of JSON (RFC 8259), read strictly and kept nowhere.

use std::ops::Range;

use super::{ScanError, fail};

/// Nesting that a request may have; more is refused.
const MAX_DEPTH: usize = 128;

/// Values that a document may have; more is refused. Short ones take many times their length
/// wherever a list is made of them.
const MAX_VALUES: usize = 1_000_000;

/// A double holds every number that has no more digits than this, and no exponent.
const MAX_SAFE_DIGITS: usize = 300;

/// A place in a document, moved on by what it reads there.
pub(super) struct Scanner<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    /// How many values have begun.
    values: usize,
    values_max: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            values: 0,
            values_max: MAX_VALUES,
        }
    }

    /// For a document that was bounded before.
    pub(super) fn with_any_values(self) -> Self {
        Self {
            values_max: usize::MAX,
            ..self
        }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    pub(super) fn expected(&self, what: &str) -> ScanError {
        match self.peek() {
            Some(_) => fail(self.at, format!("expected {what}")),
            None => fail(self.at, format!("the body ends where {what} was expected")),
        }
    }

    pub(super) fn take(&mut self, byte: u8, what: &str) -> Result<(), ScanError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.expected(what))
    }

    /// Counts a value that begins here.
    pub(super) fn enter(&mut self, depth: usize) -> Result<(), ScanError> {
        if depth > MAX_DEPTH {
            return Err(fail(
                self.at,
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        self.values += 1;
        if self.values > self.values_max {
            return Err(fail(self.at, format!("more than {MAX_VALUES} values")));
        }
        Ok(())
    }

    /// Any value; iterative in nothing but its bounded depth.
    pub(super) fn value(&mut self, depth: usize) -> Result<(), ScanError> {
        self.enter(depth)?;
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(open @ (b'{' | b'[')) => self.items(open, depth, |_, _, _| Ok(())),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.expected("a JSON value")),
        }
    }

    /// The members of an object or the elements of a list, whichever `open` begins. `each` gets the place
    /// of each key, which is empty in a list, and of its value.
    pub(super) fn items(
        &mut self,
        open: u8,
        depth: usize,
        mut each: impl FnMut(&'a [u8], Range<usize>, Range<usize>) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        let (begin, close) = match open {
            b'{' => ("`{`", b'}'),
            _ => ("`[`", b']'),
        };
        self.take(open, begin)?;
        self.space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            let key = self.at;
            let mut key = key..key;
            if open == b'{' {
                self.string()?;
                key.end = self.at;
                self.space();
                self.take(b':', "`:`")?;
                self.space();
            }
            let value = self.at;
            self.value(depth + 1)?;
            each(self.bytes, key, value..self.at)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ if depth == 0 => return Err(self.expected("`,` or `}`")),
                _ => return Err(self.expected("`,` or the end of the list")),
            }
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), ScanError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.expected("a JSON value"))
    }

    fn number(&mut self) -> Result<(), ScanError> {
        let from = self.at;
        self.digits_of_number()?;
        // Some parsers refuse what a double can't hold, others read it as infinite.
        let text = &self.bytes[from..self.at];
        let may_be_large =
            text.len() > MAX_SAFE_DIGITS || text.contains(&b'e') || text.contains(&b'E');
        if may_be_large {
            let value = std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.parse().ok());
            if !value.is_some_and(f64::is_finite) {
                return Err(fail(from, "a number is out of range"));
            }
        }
        Ok(())
    }

    fn digits_of_number(&mut self) -> Result<(), ScanError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.expected("a digit")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), ScanError> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from {
            Err(self.expected("a digit"))
        } else {
            Ok(())
        }
    }

    /// Answers whether it stands for itself, because nothing in it is escaped.
    pub(super) fn string(&mut self) -> Result<bool, ScanError> {
        self.take(b'"', "a string")?;
        let mut is_plain = true;
        loop {
            self.plain();
            match self.peek() {
                None => return Err(fail(self.at, "the body ends inside a string")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(is_plain);
                }
                Some(b'\\') => {
                    is_plain = false;
                    self.escape()?;
                }
                Some(0..=0x1f) => {
                    return Err(fail(self.at, "a string holds a raw control character"));
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// Goes on over bytes of a string that mean nothing but themselves, eight at a time.
    fn plain(&mut self) {
        const ONES: u64 = u64::from_ne_bytes([1; 8]);
        const HIGH: u64 = ONES << 7;
        // A bit for each byte below `n`; above the lowest of them, there may be others.
        let below = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word & HIGH;
        while let Some(word) = self.bytes[self.at..].first_chunk() {
            let word = u64::from_le_bytes(*word);
            let quote = below(word ^ (ONES * u64::from(b'"')), 1);
            let escape = below(word ^ (ONES * u64::from(b'\\')), 1);
            let special = quote | escape | below(word, 0x20);
            if special != 0 {
                self.at += (special.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
    }

    /// The escape whose backslash stands here.
    pub(super) fn escape(&mut self) -> Result<(), ScanError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match self.hex(self.at + 2)? {
                0xd800..=0xdbff => {
                    let low = self.bytes.get(self.at + 6..self.at + 8) == Some(b"\\u");
                    if !low || !(0xdc00..=0xdfff).contains(&self.hex(self.at + 8)?) {
                        return Err(fail(self.at, "half of a surrogate pair"));
                    }
                    self.at += 12;
                }
                0xdc00..=0xdfff => return Err(fail(self.at, "half of a surrogate pair")),
                _ => self.at += 6,
            },
            _ => return Err(fail(self.at, "an unknown escape in a string")),
        }
        Ok(())
    }

    fn hex(&self, at: usize) -> Result<u16, ScanError> {
        self.bytes
            .get(at..at + 4)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .ok_or_else(|| fail(at, "expected four hexadecimal digits"))
    }
}
