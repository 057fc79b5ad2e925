//! What is said in a request: the strings of an object and the parts of a form, text files that are
//! sent along in base64 included.

use std::borrow::Cow;
use std::ops::Range;

use aws_smithy_types::base64;
use percent_encoding::percent_decode;

use super::encoded::{
    as_text, as_unmarked_text, data_url, decode, is_in_odd_charset, is_media, is_plain_type,
    is_text, of_base64, unmarked_of_base64,
};
use super::inside::Inside;
use super::keys::{BETWEEN, keys_and_numbers};
use super::limits::{Limits, Stopped};
use super::patterns::{Detector, Hit, hits};
use super::text::Text;
use super::{Request, opaque};
use crate::wire::{json, multipart};

/// Fields of forms that hold files which are not text.
const FILES: [&str; 7] = ["audio", "file", "files", "image", "images", "mask", "video"];
/// Lists of numbers in place of text.
const TOKENS: &str = "text as token numbers, which no guardrail can read: send it as text (LangChain: \
                      check_embedding_ctx_length=False)";
const CHARSET: &str = "a file in a character set that no guardrail can read";

/// Everything that a model may read of a request.
#[derive(Default)]
pub(super) struct Said<'a> {
    pub(super) texts: Vec<Piece<'a>>,
    /// What there is besides that can't be read.
    pub(super) unreadable: Option<&'static str>,
    /// What can be read but not replaced, one after the other.
    fixed: String,
}

/// A text of a request.
pub(super) enum Piece<'a> {
    /// As it stands there.
    Plain {
        text: Text<'a>,
        /// Strings inside it that are written with escapes.
        inside: Option<Inside>,
    },
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
        /// It stands in JSON.
        is_json: bool,
    },
    /// Something that can't be replaced.
    Fixed(String),
}

#[derive(Clone, Copy)]
pub(super) enum Encoding {
    Base64,
    /// Base64 of base64.
    Twice,
    Percent,
}

impl Piece<'_> {
    /// What is found in it: where it stands in the body, for what is encoded where in the text.
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
        let found = hits(detectors, text.decoded(), limits)?;
        let mut places = text.places();
        let placed = found.into_iter();
        let mut placed: Vec<Hit<'_>> = placed.map(|(at, what)| (places.of(at), what)).collect();
        if let Some(inside) = inside {
            let found = hits(detectors, inside.joined(), limits)?;
            placed.extend(inside.places(text, found));
            super::patterns::first_and_longest(&mut placed);
        }
        Ok(placed)
    }

    /// The changes to the body that take out what was found, which is in order. `None` if it can't
    /// be taken out.
    pub(super) fn redacted(&self, found: &[Hit<'_>]) -> Option<Vec<(Range<usize>, String)>> {
        let note = |what: &str| format!("[redacted {what}]");
        if found.is_empty() {
            return Some(Vec::new());
        }
        let (at, before, text, way, is_json) = match self {
            Self::Fixed(_) => return None,
            Self::Plain { .. } => {
                let edits = found.iter().map(|(at, what)| (at.clone(), note(what)));
                return Some(edits.collect());
            }
            Self::Encoded {
                at,
                before,
                text,
                way,
                is_json,
            } => (at, before, text, way, *is_json),
        };
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
            Encoding::Percent => {
                let all = percent_encoding::NON_ALPHANUMERIC;
                percent_encoding::utf8_percent_encode(&left, all).to_string()
            }
        };
        let whole = format!("{before}{encoded}");
        if !is_json {
            return Some(vec![(at.clone(), whole)]);
        }
        let literal = serde_json::Value::from(whole).to_string();
        Some(vec![(at.clone(), literal[1..literal.len() - 1].to_owned())])
    }
}

pub(super) fn said(request: Request<'_>) -> Said<'_> {
    let mut said = Said::default();
    if request.is_form() {
        said.form(&request.call.body, request.kind);
    } else {
        said.object(request);
    }
    if !said.fixed.is_empty() {
        said.texts
            .push(Piece::Fixed(std::mem::take(&mut said.fixed)));
    }
    said
}

impl<'a> Said<'a> {
    fn object(&mut self, request: Request<'a>) {
        let body = &request.call.body[..];
        let model = request.call.splice.model.as_ref();
        let opaque = opaque::places(body, request.api.opaque_places);
        self.fixed = keys_and_numbers(body);
        if has_tokens(body) {
            self.unreadable = Some(TOKENS);
        }
        for found in json::strings(body) {
            // By the model's name it is decided already where the request goes.
            if model == Some(&found.at) || opaque.binary_search(&found.at.start).is_ok() {
                continue;
            }
            let at = found.at.start + 1..found.at.end - 1;
            if let Some(text) = Text::of_json(body, found.at) {
                self.string(at, text, true);
            }
        }
    }

    /// The parts of a form. One that is not UTF-8 is a file, or can't be judged: servers read it in
    /// whatever character set they like.
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
                    self.file(&body[part.at], name, part.kind);
                }
                None => self.unreadable = Some("a field of a form that is not in UTF-8"),
            }
        }
    }

    /// A file of a form that is not plain text.
    fn file(&mut self, bytes: &[u8], name: &str, kind: &str) {
        if is_in_odd_charset(kind) {
            self.unreadable = Some(CHARSET);
            return;
        }
        if FILES.contains(&multipart::bare(name)) && is_media(bytes) {
            return;
        }
        let text = as_text(bytes).or_else(|| {
            is_text(kind.trim())
                .then(|| String::from_utf8_lossy(bytes).into_owned())
                .filter(|_| !kind.trim().is_empty())
        });
        match text {
            Some(text) => self.fix(&text),
            None if FILES.contains(&multipart::bare(name)) => {
                if let Some(text) = as_unmarked_text(bytes) {
                    self.fix(&text);
                }
            }
            None => self.unreadable = Some("a file in a field of a form that takes text"),
        }
    }

    /// Something that is read, and that can't be replaced.
    fn fix(&mut self, text: &str) {
        self.fixed.push_str(text);
        self.fixed.push_str(BETWEEN);
    }

    /// A string, and the text that it has in another encoding.
    fn string(&mut self, at: Range<usize>, text: Text<'a>, is_json: bool) {
        let whole = text.decoded();
        let Some((kind, data)) = data_url(whole) else {
            let once = of_base64(whole);
            let inner = once.as_deref().unwrap_or(whole);
            if let Some(text) = unmarked_of_base64(inner) {
                self.fix(&text);
            }
            let twice = once.as_deref().and_then(of_base64);
            for (text, way) in [(once, Encoding::Base64), (twice, Encoding::Twice)] {
                self.texts.extend(text.map(|text| Piece::Encoded {
                    at: at.clone(),
                    before: String::new(),
                    text,
                    way,
                    is_json,
                }));
            }
            self.plain(text);
            return;
        };
        let before = whole[..whole.len() - data.len()].to_owned();
        let mut raw: Cow<'_, [u8]> = percent_decode(data.as_bytes()).into();
        let is_base64 = kind.to_ascii_lowercase().ends_with(";base64");
        if is_base64 {
            let Some(bytes) = decode(&raw) else {
                self.plain(text);
                return;
            };
            raw = Cow::Owned(bytes);
        }
        if is_in_odd_charset(&kind) {
            self.unreadable = Some(CHARSET);
        }
        let mut decoded = as_text(&raw);
        if decoded.is_none() && is_text(&kind) {
            decoded = Some(String::from_utf8_lossy(&raw).into_owned());
        }
        if decoded.is_none()
            && let Some(text) = as_unmarked_text(&raw)
        {
            self.fix(&text);
        }
        self.texts.extend(decoded.map(|text| Piece::Encoded {
            at,
            before,
            text,
            way: if is_base64 {
                Encoding::Base64
            } else {
                Encoding::Percent
            },
            is_json,
        }));
        if !is_base64 || !is_plain_type(&kind) {
            self.plain(text);
        }
    }

    /// A text as it stands there, with the strings inside it.
    fn plain(&mut self, text: Text<'a>) {
        // Text in UTF-16 can be UTF-8 with a zero behind each letter.
        if text.decoded().contains('\0') {
            let kept = text.decoded().replace('\0', "");
            self.fix(&kept);
        }
        let inside = Inside::of(text.decoded());
        if let Some(hidden) = inside.as_ref().and_then(|inside| inside.encoded.as_deref()) {
            self.fix(hidden);
        }
        let inside = inside.filter(|inside| !inside.joined().is_empty());
        self.texts.push(Piece::Plain { text, inside });
    }
}

/// Whether a request has numbers of tokens where others have text.
fn has_tokens(body: &[u8]) -> bool {
    let is_number = |value: &[u8]| {
        value
            .first()
            .is_some_and(|byte| b"-0123456789".contains(byte))
    };
    let mut members = json::members(body).unwrap_or_default().into_iter();
    members.any(|(key, value)| {
        let key = json::string(&body[key]).unwrap_or_default();
        let value = &body[value];
        let is_text = matches!(
            &*key,
            "prompt" | "input" | "inputs" | "suffix" | "query" | "documents"
        );
        is_text
            && json::elements(value, usize::MAX)
                .unwrap_or_default()
                .into_iter()
                .any(|at| {
                    let element = &value[at];
                    let inner = json::elements(element, usize::MAX).unwrap_or_default();
                    is_number(element) || inner.into_iter().any(|at| is_number(&element[at]))
                })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> Vec<String> {
        let body = serde_json::json!({ "a": text }).to_string();
        let at = json::strings(body.as_bytes())[0].at.clone();
        let mut said = Said::default();
        let read = Text::of_json(body.as_bytes(), at.clone()).unwrap();
        said.string(at.start + 1..at.end - 1, read, true);
        said.texts
            .push(Piece::Fixed(std::mem::take(&mut said.fixed)));
        said.texts
            .retain(|piece| !matches!(piece, Piece::Fixed(text) if text.is_empty()));
        let texts = said.texts.iter().flat_map(|piece| match piece {
            Piece::Plain { text, inside } => {
                let mut texts = vec![text.decoded().to_owned()];
                let inside = inside.as_ref().map(|inside| inside.joined().split(BETWEEN));
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
        let old = |letter: &[u8]| [&letter.repeat(30), &b" the secret of ann"[..]].concat();
        for old in [old(b"\xea\xeb"), old(b"\x83A"), old(b"\xcf\xe5")] {
            let old = base64::encode(old);
            for text in [
                old.clone(),
                base64::encode(&old),
                format!("data:application/octet-stream;base64,{old}"),
                format!("{{\"a\":\"{old}\"}}"),
            ] {
                let said = encoded(&text).concat();
                assert!(said.contains(" the secret of ann"), "{text}: {said}");
            }
        }
        let touching = [&b"\x83A".repeat(30)[..], b"AKIAIOSFODNN7EXAMPLE"].concat();
        let said = encoded(&base64::encode(touching)).concat();
        let mut parts = said.split(BETWEEN);
        assert!(parts.any(|part| part == "AKIAIOSFODNN7EXAMPLE"), "{said}");
        let wide = |unit: fn(u16) -> [u8; 2]| {
            let text = "секретное слово, и затем the secret of ann";
            base64::encode(text.encode_utf16().flat_map(unit).collect::<Vec<u8>>())
        };
        for wide in [wide(u16::to_le_bytes), wide(u16::to_be_bytes)] {
            let said = encoded(&wide).concat();
            assert!(said.contains(" the secret of ann"), "{wide}: {said}");
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
        // A type that says more is read, and so is what is no base64.
        for url in [
            format!("data:image/png;name=a b@c;base64,{png}"),
            "data:image/png;base64,not base64!".to_owned(),
        ] {
            assert_eq!(encoded(&url), [url]);
        }
    }
}
