//! Text as a model reads it, where its characters are not those that a detector looks for: full-width
//! letters and digits, digits of other scripts, typographic dashes and spaces, and invisible characters.
//! Letters of another alphabet that only look alike are left as they are.

use std::ops::Range;

/// The first of the ten digits of scripts that write numbers with their own.
const ZEROS: [u32; 32] = [
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66,
    0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90,
    0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xabf0,
];

/// The text as it is read; `None` if that is how it is written.
pub(super) fn folded(text: &str) -> Option<String> {
    if text.is_ascii() || text.chars().all(|char| read(char) == Some(char)) {
        return None;
    }
    Some(text.chars().filter_map(read).collect())
}

/// The places in the text of what was found in it as it is read, which must be in order.
pub(super) fn places<T>(text: &str, found: Vec<(Range<usize>, T)>) -> Vec<(Range<usize>, T)> {
    // Each character that is read: where it begins as it is read, and its place in the text.
    let mut upto = 0;
    let chars = text.char_indices().filter_map(|(at, char)| {
        let start = upto;
        upto += read(char)?.len_utf8();
        Some((start, at..at + char.len_utf8()))
    });
    let mut chars = chars.peekable();
    let mut placed = Vec::with_capacity(found.len());
    for (at, what) in found {
        while chars.next_if(|(start, _)| *start < at.start).is_some() {}
        let Some(mut place) = chars.peek().map(|(_, place)| place.clone()) else {
            break;
        };
        while let Some((_, next)) = chars.next_if(|(start, _)| *start < at.end) {
            place.end = next.end;
        }
        placed.push((place, what));
    }
    placed
}

/// What a character is read as; `None` for one that is invisible by itself.
fn read(char: char) -> Option<char> {
    let code = u32::from(char);
    if code < 0x80 {
        return Some(char);
    }
    let ascii = |from: u32, first: char| char::from_u32(u32::from(first) + (code - from));
    let digit = |value| char::from_digit(value, 10);
    match code {
        // Marks on the letter in front, and what only changes how it is drawn.
        0x0300..=0x036f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe20..=0xfe2f
        | 0xfe00..=0xfe0f | 0xe0100..=0xe01ef
        // Joiners, marks of direction, soft hyphens and other characters without a width.
        | 0x00ad | 0x061c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f
        | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfeff | 0xffa0
        | 0xfff9..=0xfffb | 0xe0000..=0xe001f | 0xe007f => None,
        // Tags: ASCII that is not drawn, and that models read.
        0xe0020..=0xe007e => ascii(0xe0020, ' '),
        0xff01..=0xff5e => ascii(0xff01, '!'),
        0x00a0 | 0x1680 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => Some(' '),
        0x2028 | 0x2029 | 0x0085 => Some('\n'),
        0x058a | 0x2010..=0x2015 | 0x2043 | 0x2212 | 0xfe58 | 0xfe63 => Some('-'),
        0x2024 | 0xfe52 => Some('.'),
        0x2044 | 0x2215 => Some('/'),
        0xfe55 => Some(':'),
        0xfe66 => Some('='),
        0xfe6b => Some('@'),
        0x2460..=0x2468 => ascii(0x2460, '1'),
        0x24b6..=0x24cf => ascii(0x24b6, 'A'),
        0x24d0..=0x24e9 => ascii(0x24d0, 'a'),
        0x24ea => Some('0'),
        // Letters of mathematics: thirteen alphabets, capitals first.
        0x1d400..=0x1d6a3 => {
            let nth = (code - 0x1d400) % 52;
            ascii(code - nth % 26, if nth < 26 { 'A' } else { 'a' })
        }
        0x1d7ce..=0x1d7ff => digit((code - 0x1d7ce) % 10),
        _ => {
            let zero = ZEROS[..ZEROS.partition_point(|zero| *zero <= code)].last();
            match zero.map(|zero| code - zero) {
                Some(value @ 0..=9) => digit(value),
                _ => Some(char),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_it_looks() {
        for (written, read) in [
            ("ＡＫＩＡ２７：＠", "AKIA27:@"),
            ("٤١١١ ۴۱۱۱ ४१११ ๔๑๑๑", "4111 4111 4111 4111"),
            ("𝐀𝐙𝐚𝐳 𝟎𝟗 𝙰𝟶", "AZaz 09 A0"),
            ("Ⓐⓩ⓪①⑨", "Az019"),
            ("AK\u{200b}I\u{2060}A\u{feff}\u{ad}2\u{fe0f}", "AKIA2"),
            ("\u{e0041}\u{e004b}\u{e007f}", "AK"),
            ("A\u{301}K\u{336}", "AK"),
            (
                "078‑05–1120 4111\u{a0}1111\u{3000}1",
                "078-05-1120 4111 1111 1",
            ),
        ] {
            assert_eq!(folded(written).as_deref(), Some(read), "{written}");
        }
        for same in ["", "plain", "请检查。 Ключ größe"] {
            assert_eq!(folded(same), None, "{same}");
        }
        assert!(ZEROS.is_sorted());
    }

    #[test]
    fn what_is_found_is_placed_where_it_is_written() {
        let text = "请\u{200b}ＡＢ\u{301}Ｃ\u{200b} x ４２é２\u{200b}";
        let read = folded(text).unwrap();
        let found: Vec<_> = ["ABC", "42é2"]
            .iter()
            .map(|part| {
                let at = read.find(part).unwrap();
                (at..at + part.len(), ())
            })
            .collect();
        let placed = places(text, found);
        let written: Vec<&str> = placed.iter().map(|(at, ())| &text[at.clone()]).collect();
        assert_eq!(written, ["ＡＢ\u{301}Ｃ", "４２é２"]);
    }
}
