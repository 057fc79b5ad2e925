//! Forms in which a text can be quoted: escapes are undone level by level, and base64 has pieces
//! that are the same wherever a text stands in it.

use memchr::{memchr, memchr3};

/// Levels of escapes that are undone: JSON inside JSON inside HTML, in UTF-16.
pub(super) const LEVELS: usize = 4;

/// Named entities of HTML for characters that keys have.
const ENTITIES: [(&[u8], u8); 13] = [
    (b"&amp;", b'&'),
    (b"&lt;", b'<'),
    (b"&gt;", b'>'),
    (b"&quot;", b'"'),
    (b"&apos;", b'\''),
    (b"&sol;", b'/'),
    (b"&equals;", b'='),
    (b"&plus;", b'+'),
    (b"&colon;", b':'),
    (b"&period;", b'.'),
    (b"&lowbar;", b'_'),
    (b"&hyphen;", b'-'),
    (b"&percnt;", b'%'),
];

/// A text without one level of escapes.
pub(super) struct Decoded {
    pub text: Vec<u8>,
    /// Where each byte of `text` was in the text before, and at last where the decoded part ended.
    pub from: Vec<usize>,
    /// The text before ends with the beginning of an escape, which is left out.
    pub is_open: bool,
}

/// What stands at a place.
enum Escape {
    /// A character, and how many bytes its escape takes.
    Of(char, usize),
    /// An escape that may go on behind the end.
    Open,
    /// No escape.
    None,
}

/// Undoes the escapes of JSON, URLs and HTML once, and leaves out zeros; `None` if there are none.
pub(super) fn decoded(text: &[u8]) -> Option<Decoded> {
    let escape_at = memchr3(b'\\', b'%', b'&', text);
    let zero_at = memchr(0, text);
    let first = [escape_at, zero_at].into_iter().flatten().min()?;
    let mut out = Decoded {
        text: Vec::with_capacity(text.len()),
        from: Vec::with_capacity(text.len() + 1),
        is_open: false,
    };
    out.text.extend_from_slice(&text[..first]);
    out.from.extend(0..first);
    let mut at = first;
    let mut is_same = true;
    while at < text.len() {
        match escape(&text[at..]) {
            Escape::Of(char, length) => {
                let mut bytes = [0; 4];
                for byte in char.encode_utf8(&mut bytes).bytes() {
                    out.text.push(byte);
                    out.from.push(at);
                }
                at += length;
                is_same = false;
            }
            Escape::Open => {
                out.is_open = true;
                break;
            }
            // In UTF-16 and UTF-32 there are zeros beside each letter.
            Escape::None if text[at] == 0 => {
                at += 1;
                is_same = false;
            }
            Escape::None => {
                out.text.push(text[at]);
                out.from.push(at);
                at += 1;
            }
        }
    }
    out.from.push(at);
    (!is_same || out.is_open).then_some(out)
}

fn escape(text: &[u8]) -> Escape {
    match text[0] {
        b'\\' => backslash(text),
        b'%' => hex(text, 1, 2),
        b'&' => entity(text),
        _ => Escape::None,
    }
}

fn backslash(text: &[u8]) -> Escape {
    match text.get(1) {
        None => Escape::Open,
        Some(b'u') => hex(text, 2, 4),
        Some(b'x') => hex(text, 2, 2),
        Some(byte @ (b'/' | b'\\' | b'"' | b'\'')) => Escape::Of(char::from(*byte), 2),
        Some(_) => Escape::None,
    }
}

/// So many hexadecimal digits behind `start` bytes.
fn hex(text: &[u8], start: usize, count: usize) -> Escape {
    let given = &text[start..text.len().min(start + count)];
    if !given.iter().all(u8::is_ascii_hexdigit) {
        return Escape::None;
    }
    if given.len() < count {
        return Escape::Open;
    }
    number(given, 16).map_or(Escape::None, |char| Escape::Of(char, start + count))
}

fn number(digits: &[u8], radix: u32) -> Option<char> {
    let code = u32::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()?;
    char::from_u32(code)
}

fn entity(text: &[u8]) -> Escape {
    if text.get(1) == Some(&b'#') {
        return numeric_entity(text);
    }
    for (name, byte) in ENTITIES {
        if text.starts_with(name) {
            return Escape::Of(char::from(byte), name.len());
        }
        if name.starts_with(text) {
            return Escape::Open;
        }
    }
    if text.len() == 1 {
        Escape::Open
    } else {
        Escape::None
    }
}

/// `&#61;` or `&#x3d;`; browsers do without the semicolon.
fn numeric_entity(text: &[u8]) -> Escape {
    /// More zeros in front are not written in practice.
    const DIGITS: usize = 8;
    let is_hex = matches!(text.get(2), Some(b'x' | b'X'));
    let (start, radix) = if is_hex { (3, 16) } else { (2, 10) };
    let digits = text.get(start..).unwrap_or_default();
    let digits = &digits[..digits.len().min(DIGITS)];
    let count = digits
        .iter()
        .take_while(|byte| char::from(**byte).is_digit(radix))
        .count();
    let end = start + count;
    if end >= text.len() && count < DIGITS {
        return Escape::Open;
    }
    let length = end + usize::from(text.get(end) == Some(&b';'));
    number(&digits[..count], radix).map_or(Escape::None, |char| Escape::Of(char, length))
}

/// What of base64 is the same wherever `text` stands in what is encoded, in both alphabets.
pub(super) fn base64(text: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(text);
        let encoded = aws_smithy_types::base64::encode(&bytes);
        // A character has six bits; those at the ends can hold bits of what stands beside the text.
        let from = (before * 8).div_ceil(6);
        let to = bytes.len() * 8 / 6;
        let Some(inner) = encoded.as_bytes().get(from..to) else {
            continue;
        };
        let url_safe: Vec<u8> = inner
            .iter()
            .map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                byte => *byte,
            })
            .collect();
        if url_safe != inner {
            all.push(url_safe);
        }
        all.push(inner.to_vec());
    }
    all
}
