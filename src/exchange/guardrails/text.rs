//! A string of a body, as it reads, with the way back to its bytes.

use std::borrow::Cow;
use std::ops::Range;

use crate::wire::json;

/// A string of a body.
pub(super) struct Text<'a> {
    decoded: Cow<'a, str>,
    /// Its bytes, without quotes.
    raw: &'a str,
    /// Where they begin in the body.
    start: usize,
}

impl<'a> Text<'a> {
    /// The JSON string at `at`, quotes included.
    pub(super) fn of_json(body: &'a [u8], at: Range<usize>) -> Option<Self> {
        let decoded = json::string(&body[at.clone()])?;
        let raw = body.get(at.start + 1..at.end.checked_sub(1)?)?;
        Some(Self {
            decoded,
            raw: std::str::from_utf8(raw).ok()?,
            start: at.start + 1,
        })
    }

    /// The plain text at `at`.
    pub(super) fn plain(body: &'a [u8], at: Range<usize>) -> Option<Self> {
        let raw = std::str::from_utf8(body.get(at.clone())?).ok()?;
        Some(Self {
            decoded: Cow::Borrowed(raw),
            raw,
            start: at.start,
        })
    }

    /// A text inside another: as it reads, as it is written there, and where that begins in the other.
    pub(super) fn inside(decoded: &'a str, raw: &'a str, start: usize) -> Self {
        Self {
            decoded: Cow::Borrowed(decoded),
            raw,
            start,
        }
    }

    /// As it reads.
    pub(super) fn decoded(&self) -> &str {
        &self.decoded
    }

    /// Finds places in the body, which must be asked for in their order.
    pub(super) fn places(&self) -> Places<'_> {
        Places {
            text: self,
            read: 0,
            written: 0,
        }
    }
}

/// A place in a text, as it reads and as it is written.
pub(super) struct Places<'t> {
    text: &'t Text<'t>,
    read: usize,
    written: usize,
}

impl Places<'_> {
    /// The place in the body of what reads as `at`.
    pub(super) fn of(&mut self, at: Range<usize>) -> Range<usize> {
        let start = self.text.start;
        // Each escape is longer than what it stands for.
        if self.text.decoded.len() == self.text.raw.len() {
            return start + at.start..start + at.end;
        }
        let from = self.upto(at.start);
        start + from..start + self.upto(at.end)
    }

    fn upto(&mut self, read: usize) -> usize {
        while self.read < read {
            let Some((long, short)) = step(&self.text.raw[self.written..]) else {
                break;
            };
            self.written += long;
            self.read += short;
        }
        self.written
    }
}

/// The length of what a string begins with: as it is written, and as it reads.
fn step(raw: &str) -> Option<(usize, usize)> {
    let first = raw.chars().next()?;
    if first != '\\' {
        return Some((first.len_utf8(), first.len_utf8()));
    }
    let code = |at: usize| u32::from_str_radix(raw.get(at..at + 4)?, 16).ok();
    if !raw.starts_with("\\u") {
        return Some((2, 1));
    }
    Some(match code(2)? {
        // Half of a pair, the other half of which follows.
        0xd800..=0xdfff => (12, 4),
        other => (6, char::from_u32(other)?.len_utf8()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_found_where_it_was_written() {
        let body = r#"["a\n\u00e9é\ud83d\ude00\/z"]"#;
        let text = Text::of_json(body.as_bytes(), 1..body.len() - 1).unwrap();
        assert_eq!(text.decoded(), "a\néé😀/z");
        for part in ["a", "\n", "é", "😀", "/z", "é😀/", "a\néé😀/z"] {
            let at = text.decoded().find(part).unwrap();
            let place = text.places().of(at..at + part.len());
            let literal = format!("\"{}\"", &body[place]);
            assert_eq!(serde_json::from_str::<String>(&literal).unwrap(), part);
        }
    }
}
