//! Files of the gateway's that requests name: each format says which of its objects name one, and what
//! stands there instead for a provider, which doesn't have the file.

use std::ops::Range;

use aws_smithy_types::base64;
use http::StatusCode;
use serde_json::Value;

use super::body::bad_request;
use crate::wire::Rejection;
use crate::wire::json::{Oddities, Outline, Part};

/// What ids of files begin with. No provider's do.
pub const FILE_PREFIX: &str = "file-iris-";
/// Files that one request can name.
const MOST: usize = 100;

/// How requests of a format name files.
#[derive(Clone, Copy, Debug)]
pub struct Attaching {
    /// The id that an object names, if it is one of those that a file can stand in for.
    pub named: for<'p> fn(Part<'p>) -> Option<std::borrow::Cow<'p, str>>,
    /// The same object with the file in it.
    pub inline: fn(Part<'_>, &Attachment) -> Result<Value, Rejection>,
}

/// A file that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub name: String,
    /// Its content type.
    pub kind: String,
    pub content: Vec<u8>,
}

impl Attachment {
    /// Whether models see it as a picture.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.kind.starts_with("image/")
    }

    /// Its content as base64.
    #[must_use]
    pub fn base64(&self) -> String {
        base64::encode(&self.content)
    }

    /// Its content as a URL.
    #[must_use]
    pub fn data_url(&self) -> String {
        format!("data:{};base64,{}", self.kind, self.base64())
    }

    /// Its content, if that is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        let is_text = self.kind.starts_with("text/");
        std::str::from_utf8(&self.content).ok().filter(|_| is_text)
    }
}

/// A place of a body where a file is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The object that names it.
    pub range: Range<usize>,
    pub id: String,
}

/// The files that a body names, in their order. Bodies that aren't JSON name none.
///
/// # Errors
/// A 400 for more than can be attached, and for a file that is named where none can stand.
pub fn named(body: &[u8], attaching: &Attaching) -> Result<Vec<NamedFile>, Rejection> {
    let mut found = Vec::new();
    // Most requests name none.
    if memchr::memmem::find(body, FILE_PREFIX.as_bytes()).is_none() {
        return Ok(found);
    }
    let mut outline = Outline::default();
    let Some(whole) = outline.of(body, Oddities::Ignored) else {
        return Ok(found);
    };
    let mut left = vec![whole];
    while let Some(part) = left.pop() {
        if part.is_array() {
            left.extend(part.elements());
            continue;
        }
        if !part.is_object() {
            continue;
        }
        let own = |id: &str| id.starts_with(FILE_PREFIX);
        if let Some(id) = (attaching.named)(part).filter(|id| own(id)) {
            found.push(NamedFile {
                range: part.range(),
                id: id.into_owned(),
            });
            if found.len() > MOST {
                let why = format!("a request can name at most {MOST} files of this gateway");
                return Err(bad_request(why));
            }
            continue;
        }
        for (key, value) in part.members() {
            let mut named = std::iter::once(value).chain(value.elements());
            let is_own = |part: Part<'_>| part.text().is_some_and(|id| own(&id));
            if (key == "file_id" || key == "file_ids") && named.any(is_own) {
                return Err(bad_request(format!(
                    "{key:?} names a file of this gateway where only a provider's can stand: this gateway's \
                     files can be content of messages"
                )));
            }
            left.push(value);
        }
    }
    found.sort_by_key(|one| one.range.start);
    Ok(found)
}

/// The body with the content of the files that it names; `files` has one for each of `named`.
///
/// # Errors
/// A 400 for a file of a kind that the format takes nowhere, and a 413 for a body of more than `most` bytes.
pub fn inlined(
    body: &[u8],
    attaching: &Attaching,
    named: &[NamedFile],
    files: &[&Attachment],
    most: usize,
) -> Result<Vec<u8>, Rejection> {
    let mut written = Vec::new();
    let mut at = 0;
    for (one, file) in named.iter().zip(files) {
        let mut outline = Outline::default();
        let part = outline.of(&body[one.range.clone()], Oddities::Ignored);
        let part = part.ok_or_else(|| bad_request("the request isn't JSON"))?;
        let inline = (attaching.inline)(part, file)?;
        written.extend_from_slice(&body[at..one.range.start]);
        written.extend_from_slice(inline.to_string().as_bytes());
        at = one.range.end;
        if written.len() + body.len() - at > most {
            return Err(too_long(most));
        }
    }
    written.extend_from_slice(&body[at..]);
    Ok(written)
}

/// The refusal of a request whose files are too long for it.
#[must_use]
pub fn too_long(most: usize) -> Rejection {
    let why = format!(
        "with the files that it names, the request would be longer than limits.request_body allows ({most} bytes)"
    );
    Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", why)
}

/// The refusal of a file that a format has no place for.
#[must_use]
pub fn unfit(file: &Attachment, wanted: &str) -> Rejection {
    let shown: String = file.kind.chars().take(80).collect();
    let why = format!("a file of the type {shown:?} can't stand here: expected {wanted}");
    Rejection::new(StatusCode::BAD_REQUEST, "unsupported_file", why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{anthropic_messages, openai_chat, openai_responses};
    use super::*;

    const ID: &str = "file-iris-0123";

    fn file(kind: &str) -> Attachment {
        Attachment {
            name: "a.bin".to_owned(),
            kind: kind.to_owned(),
            content: b"hi".to_vec(),
        }
    }

    /// A body with files in it.
    fn with(attaching: Option<Attaching>, body: &Value, kind: &str) -> Result<Value, Rejection> {
        let attaching = attaching.unwrap();
        let body = body.to_string();
        let named = named(body.as_bytes(), &attaching)?;
        let file = file(kind);
        let files = vec![&file; named.len()];
        let body = inlined(body.as_bytes(), &attaching, &named, &files, 100_000)?;
        Ok(serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn each_format_has_the_content_where_a_file_was_named() {
        for (attaching, kind, named, inline) in [
            (
                openai_chat::FORMAT.attaching,
                "application/pdf",
                json!({ "type": "file", "file": { "file_id": ID } }),
                json!({ "type": "file", "file": { "filename": "a.bin", "file_data": "data:application/pdf;base64,aGk=" } }),
            ),
            (
                openai_chat::FORMAT.attaching,
                "image/png",
                json!({ "type": "file", "file": { "file_id": ID } }),
                json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,aGk=" } }),
            ),
            (
                openai_responses::FORMAT.attaching,
                "application/pdf",
                json!({ "type": "input_file", "file_id": ID }),
                json!({ "type": "input_file", "filename": "a.bin", "file_data": "data:application/pdf;base64,aGk=" }),
            ),
            (
                openai_responses::FORMAT.attaching,
                "image/png",
                json!({ "type": "input_image", "detail": "low", "file_id": ID }),
                json!({ "type": "input_image", "detail": "low", "image_url": "data:image/png;base64,aGk=" }),
            ),
            (
                anthropic_messages::FORMAT.attaching,
                "application/pdf",
                json!({ "type": "document", "title": "t", "source": { "type": "file", "file_id": ID } }),
                json!({ "type": "document", "title": "t", "source": { "type": "base64", "media_type": "application/pdf", "data": "aGk=" } }),
            ),
            (
                anthropic_messages::FORMAT.attaching,
                "text/plain",
                json!({ "type": "document", "source": { "type": "file", "file_id": ID } }),
                json!({ "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "hi" } }),
            ),
        ] {
            let body = |part: &Value| json!({ "a": [part, { "x": "file-iris-" }, part], "z": ID });
            let with = with(attaching, &body(&named), kind).unwrap();
            assert_eq!(with, body(&inline), "{named}");
        }
    }

    #[test]
    fn a_file_that_can_not_stand_where_it_is_named_is_refused() {
        let chat = openai_chat::FORMAT.attaching;
        for body in [
            json!({ "tools": [{ "type": "code", "container": { "file_ids": ["other", ID] } }] }),
            json!({ "input": { "file_id": ID } }),
        ] {
            let refused = with(chat, &body, "text/plain").unwrap_err();
            assert!(refused.message.contains("content of messages"), "{body}");
        }
        let image = json!({ "type": "input_image", "file_id": ID });
        let responses = openai_responses::FORMAT.attaching;
        assert!(with(responses, &image, "application/pdf").is_err());
        let many = vec![json!({ "type": "file", "file": { "file_id": ID } }); MOST + 1];
        assert!(with(chat, &json!({ "a": many }), "text/plain").is_err());
    }

    #[test]
    fn files_make_no_request_longer_than_it_may_be() {
        let chat = &openai_chat::FORMAT.attaching.unwrap();
        let body = json!({ "type": "file", "file": { "file_id": ID } }).to_string();
        let named = named(body.as_bytes(), chat).unwrap();
        let file = Attachment {
            content: vec![0; 300],
            ..file("application/pdf")
        };
        let length = |most| {
            let inlined = inlined(body.as_bytes(), chat, &named, &[&file], most);
            inlined
                .map(|body| body.len())
                .map_err(|refused| refused.status)
        };
        let whole = length(1_000).unwrap();
        assert!(whole > 400);
        assert_eq!(length(whole), Ok(whole));
        assert_eq!(length(whole - 1), Err(StatusCode::PAYLOAD_TOO_LARGE));
    }

    #[test]
    fn what_names_no_file_of_the_gateway_stays_as_it_is() {
        let chat = &openai_chat::FORMAT.attaching.unwrap();
        for body in [
            &br#"{"file":{"file_id":"file-abc"},"type":"file"}"#[..],
            br#"{"content":"file-iris-0123"}"#,
            b"file-iris- is no JSON",
            b"",
        ] {
            assert!(named(body, chat).unwrap().is_empty());
        }
    }
}
