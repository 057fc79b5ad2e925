//! JSON in a string, such as the arguments of a tool: its strings have escapes of their own, which can
//! hide letters.

use std::ops::Range;

use super::BETWEEN;
use super::detector::Hit;
use super::encoded::any_of_base64;
use super::text::Text;
use crate::wire::json;

/// The strings with escapes inside a text.
pub(super) struct Inside {
    /// As they read, one after the other.
    pub(super) joined: String,
    /// The place of each: in `joined`, and in the text without its quotes.
    parts: Vec<(Range<usize>, Range<usize>)>,
    /// What those in base64 read as.
    pub(super) encoded: Option<String>,
}

impl Inside {
    /// The strings inside a text; `None` if it has none.
    pub(super) fn of(text: &str) -> Option<Self> {
        let is_json = text.trim_start().starts_with(['{', '[']);
        if !text.contains('"') || !(is_json || text.contains('\\')) {
            return None;
        }
        let mut inside = Self {
            joined: String::new(),
            parts: Vec::new(),
            encoded: None,
        };
        for at in json::literals(text.as_bytes()) {
            let literal = &text[at.clone()];
            if !literal.contains('\\') {
                let plain = &literal[1..literal.len() - 1];
                if is_json && let Some(decoded) = any_of_base64(plain) {
                    let encoded = inside.encoded.get_or_insert_default();
                    encoded.push_str(&decoded);
                    encoded.push_str(BETWEEN);
                }
                continue;
            }
            if let Some(decoded) = json::string(literal.as_bytes()) {
                let start = inside.joined.len();
                inside.joined.push_str(&decoded);
                let end = inside.joined.len();
                inside.joined.push_str(BETWEEN);
                inside.parts.push((start..end, at.start + 1..at.end - 1));
            }
        }
        Some(inside)
    }

    /// The places in the body of what was found in the strings of `text`.
    pub(super) fn places<'d>(&self, text: &Text<'_>, found: Vec<Hit<'d>>) -> Vec<Hit<'d>> {
        let whole = text.decoded();
        let mut outer = text.places();
        let mut placed = Vec::with_capacity(found.len());
        let mut found = found.into_iter().peekable();
        while let Some((first, _)) = found.peek() {
            let nth = self.parts.partition_point(|(at, _)| at.end <= first.start);
            let Some((joined, raw)) = self.parts.get(nth) else {
                break;
            };
            let part = Text::inside(&self.joined[joined.clone()], &whole[raw.clone()], raw.start);
            let mut inner = part.places();
            while let Some((at, what)) = found.next_if(|(at, _)| at.start < joined.end) {
                // Between two strings there is nothing to take out.
                let start = at.start.max(joined.start) - joined.start;
                let end = at.end.clamp(joined.start, joined.end) - joined.start;
                let at = inner.of(start..end.max(start));
                placed.push((outer.of(at), what));
            }
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_as_something_is_found_where_it_is_written() {
        let body = r#"{"arguments":"{\"\\u0061nn\":\"x\\n\\u0062ob\",\"plain\":\"carl\",\"z\":\"\\\"dora\"}"}"#;
        let at = json::strings(body.as_bytes())[0].at.clone();
        let text = Text::of_json(body.as_bytes(), at).unwrap();
        let inside = Inside::of(text.decoded()).unwrap();
        let found: Vec<Hit<'_>> = ["ann", "bob", "dora"]
            .into_iter()
            .map(|name| {
                let at = inside.joined.find(name).unwrap();
                (at..at + name.len(), "name")
            })
            .collect();
        assert!(!inside.joined.contains("carl"));
        let placed = inside.places(&text, found);
        let written: Vec<&str> = placed.iter().map(|(at, _)| &body[at.clone()]).collect();
        assert_eq!(written, [r"\\u0061nn", r"\\u0062ob", "dora"]);
    }

    #[test]
    fn texts_without_strings_have_nothing_inside() {
        for text in ["", "plain", r"C:\temp", "he said \"x\"", "\"", "[1]"] {
            assert!(Inside::of(text).is_none(), "{text}");
        }
        let encoded = Inside::of(r#"{"a":"YW5uQGV4YW1wbGUub3Jn"}"#)
            .unwrap()
            .encoded;
        assert_eq!(encoded.as_deref(), Some("ann@example.org\n\0\n"));
    }
}
