//! JSON as people read it: indented, in its order, with a style for each kind. The
//! bytes are shown as they are; nothing is parsed into values and written again.

use maud::{Markup, html};

/// Bytes that are shown; a capture has all.
const SHOWN: usize = 192 << 10;

/// A body as text, and whether something was left out.
pub(super) fn body(bytes: &[u8]) -> (Markup, bool) {
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    let text = String::from_utf8_lossy(bytes);
    let end = text.floor_char_boundary(SHOWN);
    let (shown, cut) = (&text[..end], end < text.len());
    if is_json {
        (indented(shown), cut)
    } else {
        (html! { (shown) }, cut)
    }
}

/// A piece of JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'t> {
    /// With its quotes; keys are told from values by what follows.
    Text(&'t str),
    /// A number, or a word such as `null`.
    Word(&'t str),
    Sign(char),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at = text.ceil_char_boundary((at + 1).min(bytes.len()));
                found.push(Piece::Text(&text[start..at]));
            }
            sign @ (b'{' | b'}' | b'[' | b']' | b':' | b',') => {
                at += 1;
                found.push(Piece::Sign(char::from(sign)));
            }
            byte if byte.is_ascii_whitespace() => at += 1,
            _ => {
                while at < bytes.len() && !b" \t\r\n\"{}[]:,".contains(&bytes[at]) {
                    at += 1;
                }
                found.push(Piece::Word(&text[start..at]));
            }
        }
    }
    found
}

fn indented(text: &str) -> Markup {
    let pieces = pieces(text);
    let mut depth = 0usize;
    let line = |depth: usize| format!("\n{}", "  ".repeat(depth.min(64)));
    html! {
        @for (nth, piece) in pieces.iter().copied().enumerate() {
            @let next = pieces.get(nth + 1).copied();
            @match piece {
                Piece::Text(text) => {
                    @let is_key = next == Some(Piece::Sign(':'));
                    span class=(if is_key { "k" } else { "s" }) { (text) }
                }
                Piece::Word(word) => span.w { (word) },
                Piece::Sign(':') => ": ",
                Piece::Sign(',') => { "," (line(depth)) }
                Piece::Sign(sign @ ('{' | '[')) => {
                    (sign)
                    @if !matches!(next, Some(Piece::Sign('}' | ']'))) {
                        @let () = depth += 1;
                        (line(depth))
                    }
                }
                Piece::Sign(sign) => {
                    @if !matches!(pieces.get(nth.wrapping_sub(1)), Some(Piece::Sign('{' | '['))) {
                        @let () = depth = depth.saturating_sub(1);
                        (line(depth))
                    }
                    (sign)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        let markup = body(text.as_bytes()).0.into_string();
        let mut out = String::new();
        let mut inside = false;
        for char in markup.chars() {
            match char {
                '<' => inside = true,
                '>' => inside = false,
                _ if !inside => out.push(char),
                _ => {}
            }
        }
        out.replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
    }

    #[test]
    fn order_and_digits_stay_as_they_came() {
        assert_eq!(
            plain(r#"{"b":1.50,"a":[],"c":[true,{"d":"x,y"}],"e":{}}"#),
            "{\n  \"b\": 1.50,\n  \"a\": [],\n  \"c\": [\n    true,\n    {\n      \"d\": \"x,y\"\n    }\n  ],\n  \"e\": {}\n}"
        );
        assert_eq!(plain(r#"{"a":"\"<b>é"}"#), "{\n  \"a\": \"\\\"<b>é\"\n}");
    }

    #[test]
    fn what_is_no_json_and_what_is_too_long_is_shown_as_text() {
        assert_eq!(plain("data: <x>"), "data: <x>");
        let long = format!("[\"{}é\"]", "a".repeat(SHOWN - 3));
        assert!(body(long.as_bytes()).1);
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert!(!body(deep.as_bytes()).1);
    }
}
