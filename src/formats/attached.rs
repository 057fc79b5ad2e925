//! Files of the gateway's that requests name: each format says which of its objects name one, and what
//! stands there instead for a provider, which doesn't have the file.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::LazyLock;

use aws_smithy_types::base64;
use http::StatusCode;
use memchr::memmem;
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
    /// The keys under which content stands. Arguments of tools and other objects of callers' own are not looked at.
    pub inside: &'static [&'static str],
    /// The id that an object names, if it is one of those that a file can stand in for.
    pub named: for<'p> fn(Part<'p>) -> Option<Cow<'p, str>>,
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
/// A 400 for more than can be attached.
pub fn named(body: &[u8], attaching: &Attaching) -> Result<Vec<NamedFile>, Rejection> {
    // Made once: to make a finder takes longer than to look through a short body.
    static PREFIX: LazyLock<memmem::Finder<'_>> =
        LazyLock::new(|| memmem::Finder::new(FILE_PREFIX));
    let mut found = Vec::new();
    // Most requests name none.
    if PREFIX.find(body).is_none() {
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
        let id = (attaching.named)(part).filter(|id| id.starts_with(FILE_PREFIX));
        if let Some(id) = id {
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
        let members = part.members();
        let content = members.filter(|(key, _)| attaching.inside.contains(key));
        left.extend(content.map(|(_, value)| value));
    }
    found.sort_by_key(|one| one.range.start);
    Ok(found)
}

/// The body with the content of the files that it names. Each is read by `file` when its place comes, so that one
/// is in memory at a time beside the body.
///
/// # Errors
/// A 400 for a file of a kind that the format doesn't take there, a 413 for a body of more than `most` bytes, and
/// those of `file`.
pub fn inlined(
    body: &[u8],
    attaching: &Attaching,
    named: &[NamedFile],
    mut file: impl FnMut(&str) -> Result<Attachment, Rejection>,
    most: usize,
) -> Result<Vec<u8>, Rejection> {
    let mut written = Vec::new();
    let mut at = 0;
    for one in named {
        let mut outline = Outline::default();
        let part = outline.of(&body[one.range.clone()], Oddities::Ignored);
        let part = part.ok_or_else(|| bad_request("the request isn't JSON"))?;
        let inline = (attaching.inline)(part, &file(&one.id)?)?;
        written.extend_from_slice(&body[at..one.range.start]);
        at = one.range.end;
        let mut bounded = Bounded {
            most: most.saturating_sub(body.len() - at),
            written: &mut written,
        };
        let fits = serde_json::to_writer(&mut bounded, &inline);
        fits.map_err(|_| too_long(most))?;
    }
    written.extend_from_slice(&body[at..]);
    Ok(written)
}

/// Takes as many bytes as a body may have: a text can be six times as long in JSON.
struct Bounded<'w> {
    written: &'w mut Vec<u8>,
    most: usize,
}

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written.len() + bytes.len() > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

    use super::super::{
        anthropic_messages, gemini_generate_content, google_generate_content, openai_chat,
        openai_responses,
    };
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
        let body = inlined(
            body.as_bytes(),
            &attaching,
            &named,
            |_| Ok(file(kind)),
            100_000,
        )?;
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
            (
                openai_chat::FORMAT.attaching,
                "text/plain",
                json!({ "type": "file", "file": { "file_id": ID } }),
                json!({ "type": "text", "text": "hi" }),
            ),
            (
                gemini_generate_content::FORMAT.attaching,
                "application/pdf",
                json!({ "fileData": { "mimeType": "x/y", "fileUri": format!("http://ai/v1beta/files/{ID}") }, "thought": true }),
                json!({ "inlineData": { "mimeType": "application/pdf", "data": "aGk=" }, "thought": true }),
            ),
            (
                google_generate_content::FORMAT.attaching,
                "image/png",
                json!({ "file_data": { "file_uri": format!("https://ai/files/{ID}") } }),
                json!({ "inlineData": { "mimeType": "image/png", "data": "aGk=" } }),
            ),
        ] {
            for (outer, inner) in [
                ("messages", "content"),
                ("input", "content"),
                ("contents", "parts"),
            ] {
                let body = |part: &Value| {
                    let parts = json!([part, { "x": "file-iris-" }, part]);
                    json!({ outer: [{ "role": "user", inner: parts }], "z": ID })
                };
                let attached = attaching.unwrap();
                if !attached.inside.contains(&outer) {
                    continue;
                }
                let with = with(attaching, &body(&named), kind).unwrap();
                assert_eq!(with, body(&inline), "{named}");
            }
        }
    }

    #[test]
    fn a_file_that_can_not_stand_where_it_is_named_is_refused() {
        let refused = |attaching: Option<Attaching>, part: &Value, kind: &str| {
            let body =
                json!({ "messages": [{ "content": [part] }], "input": [{ "content": [part] }] });
            with(attaching, &body, kind).is_err()
        };
        let image = json!({ "type": "input_image", "file_id": ID });
        let responses = openai_responses::FORMAT.attaching;
        assert!(refused(responses, &image, "application/pdf"));
        let anthropic = anthropic_messages::FORMAT.attaching;
        let source = json!({ "type": "file", "file_id": ID });
        for (block, kind) in [
            ("document", "image/png"),
            ("image", "application/pdf"),
            ("image", "image/svg+xml"),
        ] {
            let block = json!({ "type": block, "source": source });
            assert!(refused(anthropic, &block, kind), "{block} {kind}");
        }
        let chat = openai_chat::FORMAT.attaching;
        let many = vec![json!({ "type": "file", "file": { "file_id": ID } }); MOST + 1];
        assert!(refused(chat, &json!({ "content": many }), "text/plain"));
    }

    #[test]
    fn what_a_model_has_called_a_tool_with_is_left_alone() {
        let file = json!({ "type": "file", "file_id": ID, "file": { "file_id": ID } });
        let call = json!({ "type": "tool_use", "input": { "file": file, "content": [file] } });
        let body = json!({
            "messages": [{ "role": "assistant", "content": [call] }],
            "tools": [{ "input_schema": { "default": file } }],
            "metadata": { "content": [file] },
        });
        for attaching in [
            anthropic_messages::FORMAT.attaching,
            openai_chat::FORMAT.attaching,
        ] {
            assert_eq!(with(attaching, &body, "text/plain").unwrap(), body);
        }
    }

    #[test]
    fn files_make_no_request_longer_than_it_may_be() {
        let chat = &openai_chat::FORMAT.attaching.unwrap();
        let body = json!({ "type": "file", "file": { "file_id": ID } }).to_string();
        let named = named(body.as_bytes(), chat).unwrap();
        let control = |_: &str| {
            Ok(Attachment {
                content: vec![1; 300],
                ..file("text/plain")
            })
        };
        let length = |most| {
            let inlined = inlined(body.as_bytes(), chat, &named, control, most);
            inlined
                .map(|body| body.len())
                .map_err(|refused| refused.status)
        };
        let whole = length(10_000).unwrap();
        assert!(whole > 1_800, "each character is six");
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
