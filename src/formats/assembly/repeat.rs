//! Events that repeat the one before them but for their text, as most events of a stream do. They are
//! known by their bytes, and nothing of them is parsed but that text.

use std::borrow::Cow;

use crate::wire::json::{self, Part};
use crate::wire::sse;

/// Longer events are not held to be compared.
const MAX_BYTES: usize = 1024;
/// Values that may change: the text, and padding or a number beside it.
const MAX_HOLES: usize = 3;

/// A value that may change from one event to the next.
#[derive(Clone, Copy, Debug)]
struct Hole {
    start: usize,
    end: usize,
    is_text: bool,
    /// Its key, unless it is what the model says.
    free: Option<&'static str>,
}

/// A member that may have another value each time.
#[derive(Clone, Copy)]
pub(in crate::formats) enum Free {
    Number(&'static str),
    Text(&'static str),
}

/// What an event says that repeats the one before it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::formats) struct Repeated<'e> {
    pub text: Cow<'e, str>,
    /// Texts beside it that may have changed, by their keys.
    pub free: [Option<(&'static str, Cow<'e, str>)>; MAX_HOLES],
}

/// The event that may be repeated.
#[derive(Default)]
pub(super) struct Repeat {
    name: Vec<u8>,
    data: Vec<u8>,
    holes: Vec<Hole>,
}

impl Repeat {
    /// Takes an event that says `text`, whose members under the keys `free` may change.
    pub(super) fn set(
        &mut self,
        event: &sse::Event<'_>,
        document: Part<'_>,
        text: Part<'_>,
        free: &[Free],
    ) {
        self.clear();
        if event.data.len() > MAX_BYTES || event.name.len() > MAX_BYTES {
            return;
        }
        let hole = |part: Part<'_>, free: Option<&'static str>| {
            let at = part.range();
            Hole {
                start: at.start,
                end: at.end,
                is_text: part.is_text(),
                free,
            }
        };
        self.holes.push(hole(text, None));
        for (key, value) in document.members() {
            let known = free.iter().find_map(|free| match free {
                Free::Text(known) => (*known == key && value.is_text()).then_some(*known),
                Free::Number(known) => (*known == key && value.whole().is_some()).then_some(*known),
            });
            if known.is_some() && self.holes.len() < MAX_HOLES {
                self.holes.push(hole(value, known));
            }
        }
        self.holes.sort_by_key(|hole| hole.start);
        self.name.extend_from_slice(event.name);
        self.data.extend_from_slice(event.data);
    }

    /// Forgets it: what comes next is compared with nothing.
    pub(super) fn clear(&mut self) {
        self.name.clear();
        self.data.clear();
        self.holes.clear();
    }

    /// What an event says that is the same as the one before it but for its text.
    pub(super) fn of<'e>(&self, event: &sse::Event<'e>) -> Option<Repeated<'e>> {
        if self.holes.is_empty() || event.name != self.name {
            return None;
        }
        let (mut rest, mut from) = (event.data, 0);
        let (mut said, mut free) = (None, [const { None }; MAX_HOLES]);
        for (hole, place) in self.holes.iter().zip(&mut free) {
            rest = rest.strip_prefix(self.data.get(from..hole.start)?)?;
            from = hole.end;
            let value = if hole.is_text {
                literal(rest)?
            } else {
                number(rest)?
            };
            match hole.free {
                None => said = Some(decoded(value)?),
                Some(key) if hole.is_text => *place = Some((key, decoded(value)?)),
                Some(_) => {}
            }
            rest = &rest[value.len()..];
        }
        let is_same = rest == self.data.get(from..)?;
        let text = said.filter(|_| is_same)?;
        Some(Repeated { text, free })
    }
}

/// The string at the start of what follows, with its quotes.
fn literal(rest: &[u8]) -> Option<&[u8]> {
    rest.first().filter(|quote| **quote == b'"')?;
    rest.get(..json::closing(rest, 1)?)
}

/// The number there, if it is a whole one of few digits.
fn number(rest: &[u8]) -> Option<&[u8]> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_usual = (1..=18).contains(&digits) && (digits == 1 || rest[0] != b'0');
    // It may go on as a fraction: then what follows differs.
    is_usual.then_some(&rest[..digits])
}

/// What a string says, if every parser reads it so.
fn decoded(literal: &[u8]) -> Option<Cow<'_, str>> {
    if literal.iter().any(|byte| *byte < 0x20) {
        return None;
    }
    json::string(literal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::{Oddities, Outline};

    #[test]
    fn what_repeats_is_known_by_its_bytes() {
        let data = r#"{"type":"t","n":12,"delta":{"text":"one"},"p":"ab"}"#;
        let mut outline = Outline::default();
        let whole = outline.of(data.as_bytes(), Oddities::Refused(&[])).unwrap();
        let text = whole.at("delta/text").unwrap();
        let mut repeat = Repeat::default();
        let event = |name: &'static str, data: &'static str| sse::Event {
            name: name.as_bytes(),
            data: data.as_bytes(),
        };
        repeat.set(
            &event("e", data),
            whole,
            text,
            &[Free::Number("n"), Free::Text("p")],
        );
        for (name, data, expected) in [
            ("e", data, Some("one")),
            (
                "e",
                r#"{"type":"t","n":9,"delta":{"text":"t\u0077o \"\n"},"p":""}"#,
                Some("two \"\n"),
            ),
            ("", data, None),
            (
                "e",
                r#"{"type":"u","n":9,"delta":{"text":"two"},"p":""}"#,
                None,
            ),
            (
                "e",
                r#"{"type":"t","n":09,"delta":{"text":"two"},"p":""}"#,
                None,
            ),
            (
                "e",
                r#"{"type":"t","n":9.5,"delta":{"text":"two"},"p":""}"#,
                None,
            ),
            (
                "e",
                r#"{"type":"t","n":9,"delta":{"text":null},"p":""}"#,
                None,
            ),
            (
                "e",
                r#"{"type":"t","n":9,"delta":{"text":"two","x":1},"p":""}"#,
                None,
            ),
            (
                "e",
                r#"{"type":"t","n":9,"delta":{"text":"\ud800"},"p":""}"#,
                None,
            ),
            (
                "e",
                r#"{"type":"t","n":9,"delta":{"text":"two"},"p":"\x"}"#,
                None,
            ),
            (
                "e",
                "{\"type\":\"t\",\"n\":9,\"delta\":{\"text\":\"t\nwo\"},\"p\":\"\"}",
                None,
            ),
            (
                "e",
                r#"{"type":"t","n":9,"delta":{"text":"two"},"p":""} "#,
                None,
            ),
            ("e", r#"{"type":"t","n":9,"delta":{"text":"tw"#, None),
        ] {
            let repeated = repeat.of(&event(name, data));
            let text = repeated.as_ref().map(|repeated| &*repeated.text);
            assert_eq!(text, expected, "{data}");
            let padding = repeated.map(|repeated| repeated.free[2].clone());
            assert!(padding.is_none_or(|padding| padding.is_some_and(|(key, _)| key == "p")));
        }
        repeat.clear();
        assert_eq!(repeat.of(&event("e", data)), None);
    }
}
