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

    /// As it reads.
    pub(super) fn decoded(&self) -> &str {
        &self.decoded
    }

    /// Where in the body stands what reads as `at`.
    pub(super) fn place(&self, at: Range<usize>) -> Range<usize> {
        if matches!(self.decoded, Cow::Borrowed(_)) {
            return self.start + at.start..self.start + at.end;
        }
        let (mut read, mut written) = (0, 0);
        let (mut start, mut end) = (0, self.raw.len());
        let mut rest = self.raw;
        loop {
            if read == at.start {
                start = written;
            }
            if read == at.end {
                end = written;
                break;
            }
            let Some((long, short)) = step(rest) else {
                break;
            };
            rest = &rest[long..];
            written += long;
            read += short;
        }
        self.start + start..self.start + end
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
            let place = text.place(at..at + part.len());
            let literal = format!("\"{}\"", &body[place]);
            assert_eq!(serde_json::from_str::<String>(&literal).unwrap(), part);
        }
    }
}
