//! What is said in a request: the strings of an object and the parts of a form, text files that are
//! sent along in base64 included.

use std::borrow::Cow;
use std::ops::Range;

use aws_smithy_types::base64;
use percent_encoding::percent_decode;

use super::text::Text;
use super::{Request, opaque};
use crate::wire::{json, multipart};

/// Shorter ones hold nothing that a detector knows.
const SHORTEST_ENCODED: usize = 16;
/// The longest type of a file in a URL.
const LONGEST_TYPE: usize = 256;

/// Everything that a model may read of a request.
pub(super) struct Said<'a> {
    pub(super) texts: Vec<Piece<'a>>,
    /// What there is besides that can't be read.
    pub(super) unreadable: Option<&'static str>,
}

/// A text of a request.
pub(super) enum Piece<'a> {
    /// As it stands there.
    Plain(Text<'a>),
    /// In another encoding, as a string or the end of one.
    Encoded {
        /// The string, without its quotes.
        at: Range<usize>,
        /// What of the string stands before what is encoded.
        before: String,
        /// The text.
        text: String,
        /// How it is encoded.
        way: Encoding,
    },
}

#[derive(Clone, Copy)]
pub(super) enum Encoding {
    Base64,
    /// Base64 of base64.
    Twice,
    Percent,
    /// JSON in a string, with escapes. It is taken out whole.
    Json,
}

impl Piece<'_> {
    /// As it reads.
    pub(super) fn decoded(&self) -> &str {
        match self {
            Self::Plain(text) => text.decoded(),
            Self::Encoded { text, .. } => text,
        }
    }

    /// The changes to the body that take out what was found, which is in order.
    pub(super) fn redacted(&self, found: &[(Range<usize>, &str)]) -> Vec<(Range<usize>, String)> {
        let note = |what: &str| format!("[redacted {what}]");
        let (at, before, text, way) = match self {
            Self::Plain(text) => {
                let mut places = text.places();
                let edits = found.iter();
                return edits
                    .map(|(at, what)| (places.of(at.clone()), note(what)))
                    .collect();
            }
            Self::Encoded {
                at,
                before,
                text,
                way,
            } => (at, before, text, way),
        };
        if found.is_empty() {
            return Vec::new();
        }
        let (mut left, mut upto) = (String::with_capacity(text.len()), 0);
        for (range, what) in found {
            left.push_str(&text[upto..range.start]);
            left.push_str(&note(what));
            upto = range.end;
        }
        left.push_str(&text[upto..]);
        let encoded = match way {
            Encoding::Base64 => base64::encode(left),
            Encoding::Twice => base64::encode(base64::encode(left)),
            Encoding::Json => note(found[0].1),
            Encoding::Percent => {
                let all = percent_encoding::NON_ALPHANUMERIC;
                percent_encoding::utf8_percent_encode(&left, all).to_string()
            }
        };
        let literal = serde_json::Value::from(format!("{before}{encoded}")).to_string();
        vec![(at.clone(), literal[1..literal.len() - 1].to_owned())]
    }
}

pub(super) fn said(request: Request<'_>) -> Said<'_> {
    if request.is_form() {
        return form(&request.call.body, request.kind);
    }
    let body = &request.call.body[..];
    let model = request.call.splice.model.as_ref();
    let opaque = opaque::places(body, request.api.opaque_places());
    let mut texts = Vec::new();
    for found in json::strings(body) {
        // By the model's name it is decided already where the request goes.
        if model == Some(&found.at) || opaque.binary_search(&found.at.start).is_ok() {
            continue;
        }
        let at = found.at.start + 1..found.at.end - 1;
        if let Some(text) = Text::of_json(body, found.at) {
            string(at, text, &mut texts);
        }
    }
    Said {
        texts,
        unreadable: None,
    }
}

/// The parts of a form. One that is not UTF-8 is a file, or can't be judged: servers read it in
/// whatever character set they like.
fn form<'a>(body: &'a [u8], kind: &str) -> Said<'a> {
    let mut said = Said {
        texts: Vec::new(),
        unreadable: None,
    };
    let Ok(parts) = multipart::parts(body, kind) else {
        said.unreadable = Some("a form that can't be read");
        return said;
    };
    for part in parts {
        match Text::plain(body, part.at) {
            Some(text) if !part.is_recoded => said.texts.push(Piece::Plain(text)),
            _ if part.is_file => {}
            _ => said.unreadable = Some("a field of a form that is not in UTF-8"),
        }
    }
    said
}

/// A string, and the text that it has in another encoding.
fn string<'a>(at: Range<usize>, text: Text<'a>, texts: &mut Vec<Piece<'a>>) {
    let whole = text.decoded();
    let Some((kind, data)) = data_url(whole) else {
        let encoded = (whole.len() >= SHORTEST_ENCODED)
            .then(|| decode(whole.as_bytes()))
            .flatten()
            .and_then(|bytes| as_text(&bytes));
        let twice = encoded
            .as_deref()
            .filter(|text| text.len() >= SHORTEST_ENCODED)
            .and_then(|text| as_text(&decode(text.as_bytes())?));
        let json = escaped(whole);
        let ways = [
            (encoded, Encoding::Base64),
            (twice, Encoding::Twice),
            (json, Encoding::Json),
        ];
        for (text, way) in ways {
            texts.extend(text.map(|text| Piece::Encoded {
                at: at.clone(),
                before: String::new(),
                text,
                way,
            }));
        }
        texts.push(Piece::Plain(text));
        return;
    };
    let before = whole[..whole.len() - data.len()].to_owned();
    let mut raw: Cow<'_, [u8]> = percent_decode(data.as_bytes()).into();
    let is_base64 = kind.to_ascii_lowercase().ends_with(";base64");
    if is_base64 {
        let Some(bytes) = decode(&raw) else {
            texts.push(Piece::Plain(text));
            return;
        };
        raw = Cow::Owned(bytes);
    }
    let mut decoded = as_text(&raw);
    if decoded.is_none() && is_text(&kind) {
        decoded = Some(String::from_utf8_lossy(&raw).into_owned());
    }
    texts.extend(decoded.map(|text| Piece::Encoded {
        at,
        before,
        text,
        way: if is_base64 {
            Encoding::Base64
        } else {
            Encoding::Percent
        },
    }));
    if !is_base64 || !is_plain_type(&kind) {
        texts.push(Piece::Plain(text));
    }
}

/// The type and the data of a `data:` URL. Its readers leave out tabs and line breaks, and spaces in
/// front.
fn data_url(text: &str) -> Option<(String, &str)> {
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

/// The text of a file: UTF-8, UTF-16, or nearly ASCII, of which readers take what they can.
fn as_text(bytes: &[u8]) -> Option<String> {
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

/// What the strings of JSON in a string read as, where they have escapes that hide letters.
fn escaped(text: &str) -> Option<String> {
    let is_json = text.trim_start().starts_with(['{', '[']) && text.contains("\\u");
    if !is_json || serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return None;
    }
    let strings = json::strings(text.as_bytes()).into_iter();
    let hidden = strings.filter_map(|one| {
        let literal = &text[one.at];
        let is_hidden = literal.contains("\\u");
        is_hidden
            .then(|| json::string(literal.as_bytes()))
            .flatten()
    });
    let hidden: Vec<_> = hidden.collect();
    (!hidden.is_empty()).then(|| hidden.join("\n"))
}

/// Whether the type of a file says nothing but what it is.
fn is_plain_type(kind: &str) -> bool {
    kind.len() < 128
        && kind
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/+.-=;".contains(&byte))
}

/// Whether a file of this type is text, as far as the type says. None is `text/plain`.
fn is_text(kind: &str) -> bool {
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

/// Base64 of either alphabet, with or without padding and line breaks; `None` if it is none.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> Vec<String> {
        let body = serde_json::json!({ "a": text }).to_string();
        let at = json::strings(body.as_bytes())[0].at.clone();
        let mut texts = Vec::new();
        let read = Text::of_json(body.as_bytes(), at.clone()).unwrap();
        string(at.start + 1..at.end - 1, read, &mut texts);
        texts
            .iter()
            .map(|piece| piece.decoded().to_owned())
            .collect()
    }

    #[test]
    fn files_that_are_text_are_read() {
        let secret = "the secret of ann\u{fffd}";
        let base64 = base64::encode("the secret of ann\u{fffd}");
        for url in [
            format!("data:text/plain;base64,{base64}"),
            format!("DATA:text/csv;charset=utf-8;BASE64,{base64}"),
            format!("data:;base64,{base64}"),
            format!("data:application/json;base64,{}", base64.replace('=', "")),
            format!("data:application/octet-stream;base64,{base64}"),
            format!(
                "data:text/plain;base64,{}",
                base64.replace('+', "-").replace('/', "_")
            ),
            base64.clone(),
        ] {
            assert!(encoded(&url).iter().any(|text| text == secret), "{url}");
        }
        let utf16 = |unit: fn(u16) -> [u8; 2]| {
            base64::encode(secret.encode_utf16().flat_map(unit).collect::<Vec<u8>>())
        };
        for hidden in [
            format!(" data:text/plain;base64,{base64}"),
            format!("da\tta:text/plain;base64,{base64}"),
            format!(
                "data:text/plain;charset=utf-16;base64,{}",
                utf16(u16::to_le_bytes)
            ),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
            base64::encode(b"the secret of ann\xff"),
            base64::encode(&base64),
            r#"{"a":"\u0074he secret of ann\ufffd"}"#.to_owned(),
        ] {
            assert!(
                encoded(&hidden).iter().any(|text| text == secret),
                "{hidden:?}"
            );
        }
        let percent = "data:text/plain,the%20secret%20of%20ann";
        assert_eq!(encoded(percent), ["the secret of ann", percent]);
    }

    #[test]
    fn other_files_are_not() {
        let png = base64::encode([0x89, b'P', b'N', b'G', 0xff, 0xd8]);
        let url = format!("data:image/png;base64,{png}");
        assert!(encoded(&url).is_empty());
        // A type that says more is read, and so is what is no base64.
        for url in [
            format!("data:image/png;name=a b@c;base64,{png}"),
            "data:image/png;base64,not base64!".to_owned(),
        ] {
            assert_eq!(encoded(&url), [url]);
        }
    }
}
