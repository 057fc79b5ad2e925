//! The content of a request: the strings of an object and the parts of a form, with the text of files
//! in base64.

use std::borrow::Cow;
use std::ops::Range;

use aws_smithy_types::base64;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::detector::{Detector, Hit, first_and_longest, hits};
use super::encoded::{
    any_of_base64, as_text, as_unmarked_text, data_url, decode, is_in_odd_charset, is_media,
    is_plain_type, is_text, of_base64, unmarked_of_base64,
};
use super::inside::Inside;
use super::keys::keys_and_numbers;
use super::limits::{Limits, Stopped};
use super::text::Text;
use super::{BETWEEN, Edit, Request, opaque, spliced};
use crate::wire::{json, multipart};

/// Fields of forms that hold files which are not text.
const FILES: [&str; 7] = ["audio", "file", "files", "image", "images", "mask", "video"];
/// Fields whose text can be a list of numbers.
const TEXTS: [&str; 6] = ["documents", "input", "inputs", "prompt", "query", "suffix"];
const TOKENS: &str = "text as token numbers, which no guardrail can read: send it as text (LangChain: \
                      check_embedding_ctx_length=False)";
const CHARSET: &str = "a file in a character set that no guardrail can read";

/// Everything in a request that a model may read.
#[derive(Default)]
pub(super) struct Content<'a> {
    pub(super) texts: Vec<Piece<'a>>,
    /// What else there is that can't be read.
    pub(super) unreadable: Option<&'static str>,
    /// What can be read but not replaced, one after the other.
    fixed: String,
}

/// A text of a request.
pub(super) enum Piece<'a> {
    /// As it is written.
    Plain {
        text: Text<'a>,
        /// Strings inside it that are written with escapes.
        inside: Option<Inside>,
    },
    /// In another encoding, as a string or the end of one.
    Encoded {
        /// The string, without its quotes.
        at: Range<usize>,
        /// The part of the string that is not encoded.
        before: String,
        text: String,
        encoding: Encoding,
        /// Whether the string is one of JSON.
        is_json: bool,
    },
    /// Something that can't be replaced.
    Fixed(String),
}

pub(super) enum Encoding {
    Base64,
    /// Base64 of base64.
    Twice,
    Percent,
}

impl Piece<'_> {
    /// What is found in it, with its place in the body, or for encoded text its place in the text.
    pub(super) fn find<'d>(
        &self,
        detectors: &'d [Detector],
        limits: &Limits,
    ) -> Result<Vec<Hit<'d>>, Stopped> {
        let (text, inside) = match self {
            Self::Plain { text, inside } => (text, inside),
            Self::Encoded { text, .. } | Self::Fixed(text) => {
                return hits(detectors, text, limits);
            }
        };
        let mut found = hits(detectors, text.decoded(), limits)?;
        let mut places = text.places();
        for (at, _) in &mut found {
            *at = places.of(at.clone());
        }
        if let Some(inside) = inside {
            found.extend(inside.places(text, hits(detectors, &inside.joined, limits)?));
            first_and_longest(&mut found);
        }
        Ok(found)
    }

    /// The edits of the body that take out what was found, which is in order. `None` if it can't
    /// be taken out.
    pub(super) fn redacted(&self, found: &[Hit<'_>]) -> Option<Vec<Edit>> {
        let notes = found.iter();
        let notes = notes.map(|(at, what)| (at.clone(), format!("[redacted {what}]")));
        let notes: Vec<Edit> = notes.collect();
        let (at, before, text, encoding, is_json) = match self {
            Self::Plain { .. } => return Some(notes),
            _ if notes.is_empty() => return Some(notes),
            Self::Fixed(_) => return None,
            Self::Encoded {
                at,
                before,
                text,
                encoding,
                is_json,
            } => (at, before, text, encoding, *is_json),
        };
        let text = spliced(text.as_bytes(), &notes);
        let encoded = match encoding {
            Encoding::Base64 => base64::encode(text),
            Encoding::Twice => base64::encode(base64::encode(text)),
            Encoding::Percent => percent_encode(&text, NON_ALPHANUMERIC).to_string(),
        };
        let whole = format!("{before}{encoded}");
        if !is_json {
            return Some(vec![(at.clone(), whole)]);
        }
        let literal = serde_json::Value::from(whole).to_string();
        Some(vec![(at.clone(), literal[1..literal.len() - 1].to_owned())])
    }
}

impl<'a> Content<'a> {
    pub(super) fn of(request: Request<'a>) -> Self {
        let mut content = Self::default();
        if request.is_form() {
            content.form(&request.call.body, request.kind);
        } else {
            content.object(request);
        }
        if !content.fixed.is_empty() {
            let fixed = std::mem::take(&mut content.fixed);
            content.texts.push(Piece::Fixed(fixed));
        }
        content
    }

    fn object(&mut self, request: Request<'a>) {
        let body = &request.call.body[..];
        let model = request.call.splice.model.as_ref();
        let opaque = opaque::places(body, request.api.opaque_places);
        self.fixed = keys_and_numbers(body);
        if has_tokens(body) {
            self.unreadable = Some(TOKENS);
        }
        for found in json::strings(body) {
            // The model's name has already decided where the request goes.
            if model == Some(&found.at) {
                continue;
            }
            let nth = opaque.binary_search_by_key(&found.at.start, |one| one.at);
            if let Ok(nth) = nth {
                for text in &opaque[nth].readable {
                    self.fix_string(text);
                }
                continue;
            }
            let at = found.at.start + 1..found.at.end - 1;
            if let Some(text) = Text::of_json(body, found.at) {
                self.string(at, text, true);
            }
        }
    }

    /// The parts of a form. One that is not UTF-8 must be a file: servers read other fields in whatever
    /// character set they like.
    fn form(&mut self, body: &'a [u8], kind: &str) {
        let Ok(parts) = multipart::parts(body, kind) else {
            self.unreadable = Some("a form that can't be read");
            return;
        };
        for part in parts {
            let name = part.name;
            self.fix(name);
            let filename = part.filename.map(|name| multipart::place(body, name));
            if let Some(text) = filename.and_then(|at| Text::plain(body, at)) {
                self.texts.push(Piece::Plain { text, inside: None });
            }
            let text = Text::plain(body, part.at.clone());
            match text.filter(|_| !part.is_recoded) {
                Some(text) => self.string(part.at, text, false),
                None if part.filename.is_some_and(|name| !name.is_empty()) => {
                    self.file(&body[part.at], name, part.kind.trim());
                }
                None => self.unreadable = Some("a field of a form that is not in UTF-8"),
            }
        }
    }

    /// A file of a form that is not plain text.
    fn file(&mut self, bytes: &[u8], name: &str, kind: &str) {
        let holds_files = FILES.contains(&multipart::bare(name));
        let is_in_odd_charset = is_in_odd_charset(kind);
        if holds_files && is_media(bytes) && !is_in_odd_charset {
            return;
        }
        if is_in_odd_charset {
            self.unreadable = Some(CHARSET);
        } else if let Some(text) = as_text(bytes) {
            self.fix(&text);
        } else if !kind.is_empty() && is_text(kind) {
            self.fix(&String::from_utf8_lossy(bytes));
        } else if !holds_files {
            self.unreadable = Some("a file in a field of a form that takes text");
        } else if let Some(text) = as_unmarked_text(bytes) {
            self.fix(&text);
        }
    }

    /// Something that is read, and that can't be replaced.
    fn fix(&mut self, text: &str) {
        self.fixed.push_str(text);
        self.fixed.push_str(BETWEEN);
    }

    /// A string that is read and can't be replaced, with the text that it has in another encoding.
    fn fix_string(&mut self, text: &str) {
        self.fix(text);
        let once = any_of_base64(text);
        let twice = once.as_deref().and_then(any_of_base64);
        for text in [once, twice].into_iter().flatten() {
            self.fix(&text);
        }
        if let Some(inside) = Inside::of(text) {
            self.fix(&inside.joined);
            if let Some(hidden) = &inside.encoded {
                self.fix(hidden);
            }
        }
    }

    /// A string, and the text that it has in another encoding.
    fn string(&mut self, at: Range<usize>, text: Text<'a>, is_json: bool) {
        let whole = text.decoded();
        // In another place than its own, a seal is a text with a text in it.
        if let Some(seal) = opaque::sealed(whole) {
            self.fix_string(&seal.value);
            self.fix_string(&seal.id.unwrap_or_default());
        }
        let encoded = |before: &str, text: String, encoding| Piece::Encoded {
            at: at.clone(),
            before: before.to_owned(),
            text,
            encoding,
            is_json,
        };
        let Some((kind, data)) = data_url(whole) else {
            let once = of_base64(whole);
            if let Some(text) = unmarked_of_base64(once.as_deref().unwrap_or(whole)) {
                self.fix(&text);
            }
            let twice = once.as_deref().and_then(of_base64);
            for (text, encoding) in [(once, Encoding::Base64), (twice, Encoding::Twice)] {
                self.texts
                    .extend(text.map(|text| encoded("", text, encoding)));
            }
            return self.plain(text);
        };
        let before = &whole[..whole.len() - data.len()];
        let mut bytes: Cow<'_, [u8]> = percent_decode(data.as_bytes()).into();
        let is_base64 = kind.to_ascii_lowercase().ends_with(";base64");
        if is_base64 {
            let Some(decoded) = decode(&bytes) else {
                return self.plain(text);
            };
            bytes = Cow::Owned(decoded);
        }
        if is_in_odd_charset(&kind) {
            self.unreadable = Some(CHARSET);
        }
        let lossy = || is_text(&kind).then(|| String::from_utf8_lossy(&bytes).into_owned());
        if let Some(text) = as_text(&bytes).or_else(lossy) {
            let encoding = if is_base64 {
                Encoding::Base64
            } else {
                Encoding::Percent
            };
            self.texts.push(encoded(before, text, encoding));
        } else if let Some(text) = as_unmarked_text(&bytes) {
            self.fix(&text);
        }
        if !is_base64 || !is_plain_type(&kind) {
            self.plain(text);
        }
    }

    /// A text as it is written, with the strings inside it.
    fn plain(&mut self, text: Text<'a>) {
        // Text in UTF-16 can be UTF-8 with a zero behind each letter.
        if text.decoded().contains('\0') {
            self.fix(&text.decoded().replace('\0', ""));
        }
        let inside = Inside::of(text.decoded());
        if let Some(hidden) = inside.as_ref().and_then(|inside| inside.encoded.as_deref()) {
            self.fix(hidden);
        }
        let inside = inside.filter(|inside| !inside.joined.is_empty());
        self.texts.push(Piece::Plain { text, inside });
    }
}

/// Whether a request has numbers of tokens where others have text.
fn has_tokens(body: &[u8]) -> bool {
    let is_number = |value: &[u8]| {
        let first = value.first();
        first.is_some_and(|byte| b"-0123456789".contains(byte))
    };
    let elements = |list: &[u8]| {
        json::elements(list, usize::MAX)
            .unwrap_or_default()
            .into_iter()
    };
    let has_number = |list: &[u8]| elements(list).any(|at| is_number(&list[at]));
    let has_tokens = |list: &[u8]| {
        elements(list).any(|at| is_number(&list[at.clone()]) || has_number(&list[at]))
    };
    let mut members = json::members(body).unwrap_or_default().into_iter();
    members.any(|(key, value)| {
        let key = json::string(&body[key]).unwrap_or_default();
        TEXTS.contains(&&*key) && has_tokens(&body[value])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> Vec<String> {
        let body = serde_json::json!({ "a": text }).to_string();
        let at = json::strings(body.as_bytes())[0].at.clone();
        let mut content = Content::default();
        let read = Text::of_json(body.as_bytes(), at.clone()).unwrap();
        content.string(at.start + 1..at.end - 1, read, true);
        let fixed = Some(content.fixed).filter(|fixed| !fixed.is_empty());
        content.texts.extend(fixed.map(Piece::Fixed));
        let texts = content.texts.iter().flat_map(|piece| match piece {
            Piece::Plain { text, inside } => {
                let mut texts = vec![text.decoded().to_owned()];
                let inside = inside.as_ref().map(|inside| inside.joined.split(BETWEEN));
                texts.extend(inside.into_iter().flatten().map(str::to_owned));
                texts
            }
            Piece::Encoded { text, .. } | Piece::Fixed(text) => vec![text.clone()],
        });
        texts.collect()
    }

    #[test]
    fn files_that_are_text_are_read() {
        let secret = "the secret of ann\u{fffd}";
        let base64 = base64::encode(secret);
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
        let old = |letter: &[u8]| [&letter.repeat(30), &b" the secret of ann"[..]].concat();
        for old in [old(b"\xea\xeb"), old(b"\x83A"), old(b"\xcf\xe5")] {
            let old = base64::encode(old);
            for text in [
                old.clone(),
                base64::encode(&old),
                format!("data:application/octet-stream;base64,{old}"),
                format!("{{\"a\":\"{old}\"}}"),
            ] {
                let read = encoded(&text).concat();
                assert!(read.contains(" the secret of ann"), "{text}: {read}");
            }
        }
        let touching = [&b"\x83A".repeat(30)[..], b"AKIAIOSFODNN7EXAMPLE"].concat();
        let read = encoded(&base64::encode(touching)).concat();
        let mut parts = read.split(BETWEEN);
        assert!(parts.any(|part| part == "AKIAIOSFODNN7EXAMPLE"), "{read}");
        let wide = |unit: fn(u16) -> [u8; 2]| {
            let text = "секретное слово, и затем the secret of ann";
            base64::encode(text.encode_utf16().flat_map(unit).collect::<Vec<u8>>())
        };
        for wide in [wide(u16::to_le_bytes), wide(u16::to_be_bytes)] {
            let read = encoded(&wide).concat();
            assert!(read.contains(" the secret of ann"), "{wide}: {read}");
        }
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
        // A type with more than that is read, and so is invalid base64.
        for url in [
            format!("data:image/png;name=a b@c;base64,{png}"),
            "data:image/png;base64,not base64!".to_owned(),
        ] {
            assert_eq!(encoded(&url), [url]);
        }
    }
}
