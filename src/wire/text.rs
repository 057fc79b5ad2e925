//! Text that others wrote, on its way to a terminal or into a file.

use std::fmt::{Display, Write as _};

/// Whether a character can steer a terminal, or make text look like other text: controls, line and
/// paragraph separators, marks of direction, and characters without a shape.
#[must_use]
pub fn steers(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}' // widths and directions
            | '\u{2028}'..='\u{202e}' // separators and directions
            | '\u{2060}'..='\u{206f}' // joiners and isolates
            | '\u{fff9}'..='\u{fffb}' // annotations
            | '\u{e0000}'..='\u{e007f}') // tags
}

/// `1 record`, `2 records`.
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// The text with a question mark for each character that steers.
#[must_use]
pub fn harmless(text: &str) -> String {
    let shown = |char: char| if steers(char) { '?' } else { char };
    text.chars().map(shown).collect()
}

/// The same for a text of several lines, whose ends and tabs stay.
#[must_use]
pub fn harmless_lines(text: &str) -> String {
    let is_kept = |char: char| matches!(char, '\n' | '\t') || !steers(char);
    let shown = |char: char| if is_kept(char) { char } else { '?' };
    text.chars().map(shown).collect()
}

/// JSON that says the same without characters that steer. In JSON they stand in strings alone, but
/// for the ends of its lines.
#[must_use]
pub fn harmless_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        if char != '\n' && steers(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_replaced_and_every_script_stays() {
        for (text, shown) in [
            ("\x1b[31mred\x07", "?[31mred?"),
            ("\u{202e}exe.live", "?exe.live"),
            ("a\u{2028}b\nc", "a?b?c"),
            ("x\u{2066}y\u{e0041}", "x?y?"),
            ("zero\u{200b}width", "zero?width"),
            (
                "qwen3-coder:30b-größe-模型-модель",
                "qwen3-coder:30b-größe-模型-модель",
            ),
        ] {
            assert_eq!(harmless(text), shown);
        }
        assert_eq!(harmless_lines("a\tb\nc\r\u{9b}2J"), "a\tb\nc??2J");
    }

    #[test]
    fn json_says_the_same_without_them() {
        let odd = "a\u{9b}2J\u{202e}b\u{e0041}\u{7f}\n\u{2028}é模";
        let value = serde_json::json!({ "name": odd });
        let json = harmless_json(&format!("{value:#}"));
        assert!(
            !json.chars().any(|char| char != '\n' && steers(char)),
            "{json}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json).unwrap(),
            value
        );
        assert!(json.contains("é模"));
    }
}
