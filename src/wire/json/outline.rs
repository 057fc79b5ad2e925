//! Where each value of a JSON document stands, found in one pass and without a copy of anything.
//!
//! A tree costs an allocation for each key, text and object. What reads a few members of a
//! response, or the piece of text in an event, needs none of them.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use super::scanner::Scanner;
use super::{ScanError, fail, string};

/// Members of one object that are compared with each other; an object with more counts as odd.
const MAX_MEMBERS: usize = 64;
/// Values for which an outline keeps its memory from one document to the next.
const MAX_KEPT: usize = 64;

/// Values that most events and short responses have at most.
const USUAL: usize = 32;

/// A value of a document.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The text of its key, without the quotes; empty if it has none.
    key: (u32, u32),
    start: u32,
    end: u32,
    /// It is a string in which nothing is escaped.
    is_plain: bool,
    /// The value that follows it and all that is in it.
    next: u32,
}

/// The values of a document, in their order. Its memory serves one document after the other.
#[derive(Debug, Default)]
pub struct Outline {
    places: Vec<Place>,
}

/// What two parsers may read in two ways, or a reader has to merge first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddities {
    /// Such a document has no outline, nor one with an array under one of these keys.
    Refused(&'static [&'static str]),
    /// The document was written by us, and has none that matter.
    Ignored,
}

impl Outline {
    /// The outermost value of a document, which must be an object. `None` for what is not strict
    /// JSON, and for an odd one: a key given twice or written with an escape.
    pub fn of<'a>(&'a mut self, bytes: &'a [u8], oddities: Oddities) -> Option<Part<'a>> {
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        u32::try_from(bytes.len()).ok()?;
        if self.places.capacity() > MAX_KEPT {
            self.places = Vec::new();
        }
        self.places.clear();
        self.places.reserve(USUAL);
        let scanner = Scanner::new(bytes);
        let mut builder = Builder {
            scanner: match oddities {
                Oddities::Refused(_) => scanner,
                Oddities::Ignored => scanner.with_any_values(),
            },
            places: &mut self.places,
            oddities,
        };
        builder.scanner.space();
        builder.value(0..0, 0).ok()?;
        builder.scanner.space();
        let is_whole = builder.scanner.at == bytes.len();
        is_whole.then_some(Part {
            text,
            places: &self.places,
            at: 0,
        })
    }
}

struct Builder<'a, 'p> {
    scanner: Scanner<'a>,
    places: &'p mut Vec<Place>,
    oddities: Oddities,
}

/// Offsets in a document that is short enough for them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the document's length fits"
)]
fn offset(at: usize) -> u32 {
    at as u32
}

impl Builder<'_, '_> {
    fn value(&mut self, key: Range<usize>, depth: usize) -> Result<(), ScanError> {
        let nth = self.places.len();
        let start = offset(self.scanner.at);
        self.places.push(Place {
            key: (offset(key.start), offset(key.end)),
            start,
            end: start,
            is_plain: false,
            next: 0,
        });
        let mut is_plain = false;
        match self.scanner.peek() {
            Some(open @ (b'{' | b'[')) => self.items(open, depth)?,
            Some(b'"') => {
                self.scanner.enter(depth)?;
                is_plain = self.scanner.string()?;
            }
            _ => self.scanner.value(depth)?,
        }
        let next = offset(self.places.len());
        let place = &mut self.places[nth];
        (place.end, place.is_plain, place.next) = (offset(self.scanner.at), is_plain, next);
        Ok(())
    }

    fn items(&mut self, open: u8, depth: usize) -> Result<(), ScanError> {
        self.scanner.enter(depth)?;
        self.scanner.at += 1;
        let close = if open == b'{' { b'}' } else { b']' };
        let first = self.places.len();
        let (mut count, mut marks) = (0, 0_u64);
        self.scanner.space();
        if self.scanner.peek() == Some(close) {
            self.scanner.at += 1;
            return Ok(());
        }
        loop {
            self.scanner.space();
            let mut key = 0..0;
            if open == b'{' {
                let at = self.scanner.at;
                let is_plain = self.scanner.string()?;
                key = at + 1..self.scanner.at - 1;
                self.scanner.space();
                self.scanner.take(b':', "`:`")?;
                self.scanner.space();
                if let Oddities::Refused(unlisted) = self.oddities {
                    count += 1;
                    if count > MAX_MEMBERS || !is_plain {
                        return Err(fail(key.start, "an odd key"));
                    }
                    self.check(first, &key, &mut marks)?;
                    let name = &self.scanner.bytes[key.clone()];
                    if self.scanner.peek() == Some(b'[')
                        && unlisted.iter().any(|odd| odd.as_bytes() == name)
                    {
                        return Err(fail(key.start, "an odd list"));
                    }
                }
            }
            self.value(key, depth + 1)?;
            self.scanner.space();
            match self.scanner.peek() {
                Some(b',') => self.scanner.at += 1,
                Some(byte) if byte == close => {
                    self.scanner.at += 1;
                    return Ok(());
                }
                _ => return Err(fail(self.scanner.at, "expected a comma or an end")),
            }
        }
    }

    /// Refuses a key that is given twice. `marks` has a bit for the keys so far, by their lengths and two of
    /// their letters: mostly it tells that a key is new.
    fn check(&self, first: usize, key: &Range<usize>, marks: &mut u64) -> Result<(), ScanError> {
        let name = &self.scanner.bytes[key.clone()];
        let letter = |at: usize| name.get(at).copied().map_or(0, usize::from);
        let mark = name.len() * 7 + letter(0) * 3 + letter(name.len() / 2) * 5;
        let mark = 1_u64 << (mark % 64);
        if *marks & mark == 0 {
            *marks |= mark;
            return Ok(());
        }
        let mut at = first;
        while let Some(place) = self.places.get(at) {
            if self.scanner.bytes[place.key.0 as usize..place.key.1 as usize] == *name {
                return Err(fail(key.start, "an odd key"));
            }
            at = place.next as usize;
        }
        Ok(())
    }
}

/// A value of a document that has an outline.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    text: &'a str,
    places: &'a [Place],
    at: usize,
}

impl<'a> Part<'a> {
    /// Its bytes, as they stand in the document.
    #[must_use]
    pub fn raw(self) -> &'a str {
        let place = self.places[self.at];
        &self.text[place.start as usize..place.end as usize]
    }

    /// Where it stands in the document.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        let place = self.places[self.at];
        place.start as usize..place.end as usize
    }

    fn first(self) -> u8 {
        self.text.as_bytes()[self.places[self.at].start as usize]
    }

    /// Whether it is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.first() == b'{'
    }

    /// Whether it is an array.
    #[must_use]
    pub fn is_array(self) -> bool {
        self.first() == b'['
    }

    /// Whether it is a text.
    #[must_use]
    pub fn is_text(self) -> bool {
        self.first() == b'"'
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.first() == b'n'
    }

    /// Whether it is a number.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self.first(), b'-' | b'0'..=b'9')
    }

    /// The text that it is.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        if !self.is_text() {
            return None;
        }
        let raw = self.raw();
        if self.places[self.at].is_plain {
            return raw.get(1..raw.len().checked_sub(1)?).map(Cow::Borrowed);
        }
        string(raw.as_bytes())
    }

    /// Whether it is this text.
    #[must_use]
    pub fn is(self, word: &str) -> bool {
        self.text().is_some_and(|text| text == word)
    }

    /// The whole number that it is, if it is written as one and 64 bits hold it.
    #[must_use]
    pub fn whole(self) -> Option<u64> {
        if !self.is_number() {
            return None;
        }
        let raw = self.raw();
        // Eighteen digits fit whatever they are.
        if raw.len() <= 18 && raw.bytes().all(|byte| byte.is_ascii_digit()) {
            let digits = raw.bytes().map(|byte| u64::from(byte - b'0'));
            return Some(digits.fold(0, |number, digit| number * 10 + digit));
        }
        raw.parse().ok().filter(|_| !raw.starts_with('+'))
    }

    /// It as a tree.
    #[must_use]
    pub fn value(self) -> Value {
        serde_json::from_str(self.raw()).unwrap_or_default()
    }

    /// The member of an object with this key.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Self> {
        if !self.is_object() {
            return None;
        }
        let bytes = self.text.as_bytes();
        let (mut at, end) = (self.at + 1, self.places[self.at].next as usize);
        while at < end {
            let place = &self.places[at];
            if bytes[place.key.0 as usize..place.key.1 as usize] == *key.as_bytes() {
                return Some(Self { at, ..self });
            }
            at = place.next as usize;
        }
        None
    }

    /// The value that a path of keys and of places in arrays leads to, such as `choices/0/text`.
    #[must_use]
    pub fn at(self, path: &str) -> Option<Self> {
        let (mut of, mut path) = (self, path);
        loop {
            let end = path.bytes().position(|byte| byte == b'/');
            let step = &path[..end.unwrap_or(path.len())];
            of = if of.is_array() {
                of.elements().nth(step.parse().ok()?)?
            } else {
                of.get(step)?
            };
            match end {
                Some(end) => path = &path[end + 1..],
                None => return Some(of),
            }
        }
    }

    /// The text there.
    #[must_use]
    pub fn word(self, path: &str) -> Option<String> {
        self.at(path)?.text().map(Cow::into_owned)
    }

    /// The elements of an array; none of anything else.
    pub fn elements(self) -> impl Iterator<Item = Self> + Clone {
        self.inside(b'[')
    }

    /// The members of an object, keys without their quotes; none of anything else.
    pub fn members(self) -> impl Iterator<Item = (&'a str, Self)> + Clone {
        self.inside(b'{').map(|part| {
            let key = part.places[part.at].key;
            (&part.text[key.0 as usize..key.1 as usize], part)
        })
    }

    fn inside(self, open: u8) -> Inside<'a> {
        let is_open = self.first() == open;
        let end = self.places[self.at].next as usize;
        Inside {
            of: self,
            next: self.at + 1,
            end: if is_open { end } else { 0 },
        }
    }
}

/// What stands in an object or an array.
#[derive(Clone)]
struct Inside<'a> {
    of: Part<'a>,
    next: usize,
    end: usize,
}

impl<'a> Iterator for Inside<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        if self.next >= self.end {
            return None;
        }
        let part = Part {
            at: self.next,
            ..self.of
        };
        self.next = self.of.places[self.next].next as usize;
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_where_they_stand() {
        let text = r#" {"a" : "x\n", "b":[1,{"c":[]},null] ,"d":{"e":-2.5,"f":true}, "":18446744073709551615} "#;
        let mut outline = Outline::default();
        let whole = outline.of(text.as_bytes(), Oddities::Refused(&[])).unwrap();
        let keys: Vec<&str> = whole.members().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "b", "d", ""]);
        assert_eq!(whole.word("a").as_deref(), Some("x\n"));
        assert_eq!(whole.get("").unwrap().whole(), Some(u64::MAX));
        let list = whole.get("b").unwrap();
        let raw: Vec<&str> = list.elements().map(Part::raw).collect();
        assert_eq!(raw, ["1", r#"{"c":[]}"#, "null"]);
        assert_eq!(whole.at("b/1/c").unwrap().raw(), "[]");
        assert_eq!(whole.at("d/e").unwrap().whole(), None);
        assert!(whole.at("d/e").unwrap().is_number() && whole.at("d/g").is_none());
        assert_eq!(list.members().count() + whole.elements().count(), 0);
        assert_eq!(whole.value(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn what_is_odd_has_no_outline() {
        let mut outline = Outline::default();
        for odd in [
            "",
            "[]",
            "{",
            r#"{"a":1} 2"#,
            r#"{"a":1,"a":2}"#,
            r#"{"x":{"a":1,"bcd":2,"a":2}}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":NaN}"#,
            r#"{"a":1e999}"#,
            r#"{"a":1,}"#,
            r#"{"a":{"list":[]}}"#,
        ] {
            let found = outline.of(odd.as_bytes(), Oddities::Refused(&["list"]));
            assert!(found.is_none(), "{odd}");
        }
        assert!(
            outline
                .of(b"{\"a\":\"\xff\"}", Oddities::Refused(&[]))
                .is_none()
        );
        let twice = outline.of(br#"{"a":1,"a":2}"#, Oddities::Ignored).unwrap();
        assert_eq!(twice.members().count(), 2);
        // Lengths and letters alone don't make two keys one.
        let near = outline.of(
            br#"{"abc":1,"axbc":2,"abd":3,"bbc":4}"#,
            Oddities::Refused(&[]),
        );
        assert_eq!(near.unwrap().get("abd").unwrap().whole(), Some(3));
        let many = |count: usize| {
            let members: Vec<String> = (0..count).map(|nth| format!("\"{nth}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(
            outline
                .of(many(MAX_MEMBERS).as_bytes(), Oddities::Refused(&[]))
                .is_some()
        );
        assert!(
            outline
                .of(many(MAX_MEMBERS + 1).as_bytes(), Oddities::Refused(&[]))
                .is_none()
        );
    }
}
