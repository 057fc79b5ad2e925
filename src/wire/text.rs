//! Text that others wrote, on its way to a terminal or into a file.

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

/// The text with a question mark for each character that steers.
#[must_use]
pub fn harmless(text: &str) -> String {
    let shown = |char: char| if steers(char) { '?' } else { char };
    text.chars().map(shown).collect()
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
    }
}
