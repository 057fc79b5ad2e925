//! Text in another encoding: base64, `data:` URLs, and character sets.

use super::BETWEEN;

/// The longest type of a file in a URL.
const LONGEST_TYPE: usize = 256;
/// Shorter strings hold nothing that a detector knows.
const SHORTEST: usize = 16;
/// Fewer bytes look like text by chance.
const SHORTEST_UNMARKED: usize = 24;

/// The type and the data of a `data:` URL. Its readers ignore tabs, line breaks and leading spaces.
pub(super) fn data_url(text: &str) -> Option<(String, &str)> {
    let near = text.as_bytes().iter().take(2 * LONGEST_TYPE);
    let comma = near.enumerate().find(|(_, byte)| **byte == b',')?.0;
    let (head, data) = (&text[..comma], &text[comma + 1..]);
    let kept = head
        .chars()
        .filter(|char| !matches!(char, '\t' | '\r' | '\n'));
    let head: String = kept.collect();
    let head = head.trim_start_matches(|char: char| char <= ' ');
    let (scheme, kind) = head.split_at_checked(5)?;
    let is_url = scheme.eq_ignore_ascii_case("data:") && kind.len() < LONGEST_TYPE;
    is_url.then(|| (kind.to_owned(), data))
}

/// The text of a file: UTF-8, UTF-16, or nearly ASCII, of which readers use what they can.
pub(super) fn as_text(bytes: &[u8]) -> Option<String> {
    let is_zero = |nth: usize| {
        let looked = bytes.chunks_exact(2).take(512);
        let count = looked.len();
        let zeros = looked.filter(|pair| pair[nth] == 0).count();
        count > 0 && zeros * 2 > count
    };
    let wide = |unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units)
            .map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER))
            // In UTF-32 there is another zero behind each character.
            .filter(|char| *char != '\0')
            .collect()
    };
    if bytes.starts_with(&[0xff, 0xfe]) || (is_zero(1) && !is_zero(0)) {
        return Some(wide(u16::from_le_bytes));
    }
    if bytes.starts_with(&[0xfe, 0xff]) || (is_zero(0) && !is_zero(1)) {
        return Some(wide(u16::from_be_bytes));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(text.to_owned());
    }
    let is_plain = |byte: &&u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    let plain = bytes.iter().filter(is_plain).count();
    (plain * 10 >= bytes.len() * 7).then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// What can be read of a file that may be text though nothing marks it as such: in an older character
/// set, of which the ASCII is kept, or in UTF-16 of a script whose letters hold no zeros. `None` for
/// bytes that aren't text.
pub(super) fn as_unmarked_text(bytes: &[u8]) -> Option<String> {
    if bytes.len() < SHORTEST_UNMARKED {
        return None;
    }
    let mut read = String::new();
    let is_control = |byte: &&u8| matches!(byte, 0..=7 | 14..=25 | 28..=31 | 127);
    let controls = bytes.iter().filter(is_control).count();
    if controls * 50 <= bytes.len() {
        read.push_str(&String::from_utf8_lossy(bytes));
        read.push_str(BETWEEN);
        // In the sets of East Asia, the second half of a character can be an ASCII letter. A word
        // after one is read again without it.
        for (at, three) in bytes.windows(3).enumerate() {
            let [lead, second, next] = three else {
                continue;
            };
            if *lead >= 0x80 && second.is_ascii_alphanumeric() && next.is_ascii_alphanumeric() {
                let is_word = |byte: &&u8| byte.is_ascii_graphic();
                let word = bytes[at + 2..].iter().take_while(is_word);
                read.extend(word.map(|byte| char::from(*byte)));
                read.push_str(BETWEEN);
            }
        }
    }
    for unit in [u16::from_le_bytes, u16::from_be_bytes] {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let is_char = |char: &char| {
            let is_space = matches!(char, '\t'..='\r' | '\u{85}');
            let is_private = matches!(char, '\u{e000}'..='\u{f8ff}');
            (is_space || !char.is_control()) && !is_private
        };
        let kept = |char: char| Some(char).filter(char::is_ascii);
        let kept = |char| kept(char).unwrap_or(char::REPLACEMENT_CHARACTER);
        let chars = char::decode_utf16(units).map(|char| char.ok().filter(is_char).map(kept));
        if let Some(text) = chars.collect::<Option<String>>() {
            read.push_str(&text);
            read.push_str(BETWEEN);
        }
    }
    (!read.is_empty()).then_some(read)
}

/// Whether the type of a file holds nothing but a type, so no text to inspect.
pub(super) fn is_plain_type(kind: &str) -> bool {
    kind.len() < 128
        && kind
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/+.-=;".contains(&byte))
}

/// Whether a file of this type is text, as far as the type says. Without a type it is `text/plain`.
pub(super) fn is_text(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let bare = kind.split(';').next().unwrap_or_default().trim();
    let words = [
        "json", "xml", "yaml", "toml", "csv", "script", "markdown", "html", "sql", "x-sh",
        "x-python",
    ];
    bare.is_empty()
        || bare.starts_with("text/")
        || kind.contains("charset=")
        || words.iter().any(|word| bare.contains(word))
}

/// Base64 of either alphabet, with or without padding and line breaks; `None` for anything else.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held, mut padded) = (0_u32, 0_u32, false);
    for byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                padded = true;
                continue;
            }
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            _ => return None,
        };
        if padded {
            return None;
        }
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(out)
}

/// Whether a type names a character set in which ASCII bytes are other letters, and which
/// [`as_text`] doesn't recognize.
pub(super) fn is_in_odd_charset(kind: &str) -> bool {
    const READABLE: [&str; 11] = [
        "utf-8", "utf8", "us-ascii", "ascii", "utf-16", "utf-16le", "utf-16be", "utf-32",
        "utf-32le", "utf-32be", "latin1",
    ];
    let mut parameters = kind
        .split(';')
        .skip(1)
        .filter_map(|one| one.split_once('='));
    parameters.any(|(name, value)| {
        let value = value.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
        let is_wider_ascii = value.starts_with("iso-8859-") || value.starts_with("windows-125");
        name.trim().eq_ignore_ascii_case("charset")
            && !is_wider_ascii
            && !READABLE.contains(&value.as_str())
    })
}

/// The text of a string in base64, marked as text or not; `None` if it has none.
pub(super) fn any_of_base64(text: &str) -> Option<String> {
    let bytes = decode_long(text)?;
    as_text(&bytes).or_else(|| as_unmarked_text(&bytes))
}

/// What can be read of a string in base64 in which [`of_base64`] finds no text.
pub(super) fn unmarked_of_base64(text: &str) -> Option<String> {
    let bytes = decode_long(text).filter(|bytes| as_text(bytes).is_none())?;
    as_unmarked_text(&bytes)
}

/// The text of a string in base64; `None` if it has none, or is too short to hold anything.
pub(super) fn of_base64(text: &str) -> Option<String> {
    as_text(&decode_long(text)?)
}

fn decode_long(text: &str) -> Option<Vec<u8>> {
    Some(text)
        .filter(|text| text.len() >= SHORTEST)
        .and_then(|text| decode(text.as_bytes()))
}

/// Whether a file begins like a picture, a sound, a film or an archive, whose bytes aren't text.
pub(super) fn is_media(bytes: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 11] = [
        b"\x89PNG",
        b"\xff\xd8\xff",
        b"GIF8",
        b"RIFF",
        b"ID3",
        b"\xff\xfb",
        b"OggS",
        b"fLaC",
        b"\x1aE\xdf\xa3",
        b"%PDF",
        b"PK\x03\x04",
    ];
    BEGINNINGS
        .iter()
        .any(|beginning| bytes.starts_with(beginning))
        || bytes.get(4..8) == Some(b"ftyp")
}
