//! Requests that make a file or a batch.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;

use crate::formats::body::bad_request;
use crate::wire::{Rejection, multipart};

/// The purpose of a file with the lines of a batch.
pub const PURPOSE: &str = "batch";

/// Purposes of files: the lines of a batch, or content of messages.
pub const PURPOSES: [&str; 4] = [PURPOSE, "user_data", "vision", "assistants"];

/// Content types by the ends of names, for clients that send none.
const KINDS: [(&str, &str); 10] = [
    (".pdf", "application/pdf"),
    (".png", "image/png"),
    (".jpg", "image/jpeg"),
    (".jpeg", "image/jpeg"),
    (".gif", "image/gif"),
    (".webp", "image/webp"),
    (".txt", "text/plain"),
    (".md", "text/markdown"),
    (".csv", "text/csv"),
    (".json", "application/json"),
];
const UNKNOWN: &str = "application/octet-stream";

/// The time that OpenAI gives batches, and the longest that this gateway does.
const DAY: Duration = Duration::from_hours(24);
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Bounds of OpenAI's on `expires_after`.
const SHORTEST_KEPT: u64 = 3_600;
const LONGEST_KEPT: u64 = 30 * 86_400;

/// Bytes of a content type.
const MOST_KIND: usize = 100;
/// Letters of a file's name.
const MOST_NAME: usize = 256;
/// Bounds of OpenAI's on `metadata`.
const MOST_PAIRS: usize = 16;
const MOST_KEY: usize = 64;
const MOST_VALUE: usize = 512;

/// A file that is sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Upload<'b> {
    /// None if the form has none.
    pub purpose: Option<&'b str>,
    pub name: &'b str,
    /// Its content type.
    pub kind: String,
    /// Where its content stands in the body.
    pub content: Range<usize>,
    /// How long it is to be kept.
    pub lasts: Duration,
}

impl<'b> Upload<'b> {
    /// Reads a form.
    ///
    /// # Errors
    /// A 400 that says what is wrong with it.
    pub fn read(body: &'b [u8], content_type: &str) -> Result<Self, Rejection> {
        let odd = |error| bad_request(format!("the form is not acceptable: {error}"));
        let names = ["purpose", "expires_after[anchor]", "expires_after[seconds]"];
        let fields = multipart::scan(body, content_type, &names).map_err(odd)?;
        let text = |nth: usize| {
            let range = fields[nth].clone();
            range.and_then(|range| std::str::from_utf8(&body[range]).ok())
        };
        let purpose = text(0).filter(|purpose| !purpose.is_empty());
        let lasts = lasts(text(1), text(2))?;
        let mut file = None;
        for part in multipart::parts(body, content_type).map_err(odd)? {
            if names.contains(&part.name) {
                continue;
            }
            if part.name != "file" || file.is_some() {
                let shown: String = part.name.chars().take(80).collect();
                let why = format!(
                    "the form has the field {shown:?}: expected `purpose`, one `file`, and \
                     `expires_after`"
                );
                return Err(bad_request(why));
            }
            file = Some((part.filename.unwrap_or("file"), part.kind, part.at));
        }
        let (name, kind, content) =
            file.ok_or_else(|| bad_request("the form has no field `file`"))?;
        if name.chars().count() > MOST_NAME || name.chars().any(char::is_control) {
            let why = format!("the file's name must have at most {MOST_NAME} visible characters");
            return Err(bad_request(why));
        }
        Ok(Self {
            purpose,
            name,
            kind: content_type_of(kind, name),
            content,
            lasts,
        })
    }
}

/// The content type of a file: the one that it was sent with, without parameters, or that of its name.
fn content_type_of(sent: &str, name: &str) -> String {
    let sent = sent.split(';').next().unwrap_or_default().trim();
    let sent = sent.to_ascii_lowercase();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.+-_".contains(&byte);
    if sent.contains('/')
        && sent != UNKNOWN
        && sent.len() <= MOST_KIND
        && sent.bytes().all(is_plain)
    {
        return sent;
    }
    let name = name.to_ascii_lowercase();
    let mut kinds = KINDS.iter();
    let kind = kinds.find(|(end, _)| name.ends_with(end));
    kind.map_or(UNKNOWN, |(_, kind)| kind).to_owned()
}

/// How long a file is kept: as long as a form says, or as long as possible.
fn lasts(anchor: Option<&str>, seconds: Option<&str>) -> Result<Duration, Rejection> {
    let Some(seconds) = seconds else {
        return Ok(Duration::from_secs(LONGEST_KEPT));
    };
    let read = seconds.parse().ok();
    let read = read.filter(|seconds| (SHORTEST_KEPT..=LONGEST_KEPT).contains(seconds));
    match (anchor, read) {
        (Some("created_at"), Some(seconds)) => Ok(Duration::from_secs(seconds)),
        _ => Err(bad_request(format!(
            "expected `expires_after[anchor]` to be \"created_at\", and `expires_after[seconds]` to \
             be between {SHORTEST_KEPT} and {LONGEST_KEPT}"
        ))),
    }
}

/// A batch that is to be made.
#[derive(Debug, Deserialize)]
pub struct CreateBatch {
    pub input_file_id: String,
    pub endpoint: String,
    pub completion_window: String,
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
}

impl CreateBatch {
    /// Reads a body.
    ///
    /// # Errors
    /// A 400 that says what is wrong with it.
    pub fn read(body: &[u8]) -> Result<Self, Rejection> {
        let read: Self = serde_json::from_slice(body)
            .map_err(|error| bad_request(format!("the batch is not acceptable: {error}")))?;
        if !super::ENDPOINTS.contains(&read.endpoint.as_str()) {
            let shown: String = read.endpoint.chars().take(80).collect();
            let known = super::ENDPOINTS.join(", ");
            let why = format!("invalid endpoint {shown:?}: expected one of {known}");
            return Err(bad_request(why));
        }
        read.window()?;
        let pairs = read.metadata.iter().flatten();
        let fits = |(key, value): (&String, &String)| {
            key.chars().count() <= MOST_KEY && value.chars().count() <= MOST_VALUE
        };
        if pairs.clone().count() > MOST_PAIRS || !pairs.clone().all(fits) {
            let why = format!(
                "invalid metadata: expected at most {MOST_PAIRS} pairs, with keys of up to {MOST_KEY} \
                 characters and values of up to {MOST_VALUE}"
            );
            return Err(bad_request(why));
        }
        Ok(read)
    }

    /// How long the batch may take.
    ///
    /// # Errors
    /// A 400 if it isn't such a time.
    pub fn window(&self) -> Result<Duration, Rejection> {
        let window = &self.completion_window;
        let hours = window
            .strip_suffix('h')
            .and_then(|hours| hours.parse().ok());
        let hours = hours.map(|hours: u16| Duration::from_hours(hours.into()));
        let hours = hours.filter(|hours| !hours.is_zero() && *hours <= LONGEST);
        hours.ok_or_else(|| {
            let shown: String = window.chars().take(80).collect();
            bad_request(format!(
                "invalid completion_window {shown:?}: expected hours such as \"{}h\", at most {}h",
                DAY.as_secs() / 3_600,
                LONGEST.as_secs() / 3_600
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=X";

    fn form(fields: &[(&str, &str)]) -> String {
        let mut form = String::new();
        for (head, value) in fields {
            let part = format!("--X\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n");
            form.push_str(&part);
        }
        form + "--X--\r\n"
    }

    const FILE: (&str, &str) = ("name=\"file\"; filename=\"a.jsonl\"", "{}\n");
    const FOR: (&str, &str) = ("name=\"purpose\"", "batch");

    #[test]
    fn the_content_type_is_the_one_sent_or_that_of_the_name() {
        for (sent, name, kind) in [
            ("image/png", "a.pdf", "image/png"),
            ("Text/Plain; charset=utf-8", "a", "text/plain"),
            ("", "A.PDF", "application/pdf"),
            ("application/octet-stream", "a.jpeg", "image/jpeg"),
            ("text/<script>", "a.txt", "text/plain"),
            ("", "a", UNKNOWN),
        ] {
            assert_eq!(content_type_of(sent, name), kind, "{sent} {name}");
        }
    }

    #[test]
    fn a_form_has_a_purpose_and_one_file() {
        let body = form(&[FOR, FILE]);
        let upload = Upload::read(body.as_bytes(), KIND).unwrap();
        assert_eq!((upload.purpose, upload.name), (Some("batch"), "a.jsonl"));
        assert_eq!(upload.kind, "application/octet-stream");
        assert_eq!(&body[upload.content.clone()], "{}\n");
        assert_eq!(upload.lasts, Duration::from_hours(30 * 24));
        for wrong in [
            &[FOR][..],
            &[FOR, FILE, FILE],
            &[FOR, FILE, ("name=\"model\"", "m")],
            &[FOR, FILE, ("name=\"expires_after[seconds]\"", "7200")],
        ] {
            let body = form(wrong);
            assert!(Upload::read(body.as_bytes(), KIND).is_err(), "{body}");
        }
        let anchor = ("name=\"expires_after[anchor]\"", "created_at");
        for (seconds, expected) in [("7200", Some(7_200)), ("60", None), ("x", None)] {
            let body = form(&[
                FOR,
                FILE,
                anchor,
                ("name=\"expires_after[seconds]\"", seconds),
            ]);
            let upload = Upload::read(body.as_bytes(), KIND).ok();
            let lasts = upload.map(|upload| upload.lasts.as_secs());
            assert_eq!(lasts, expected, "{seconds}");
        }
    }

    #[test]
    fn a_batch_names_an_endpoint_and_a_time() {
        let read = |endpoint: &str, window: &str, more: &str| {
            let body = format!(
                r#"{{"input_file_id":"f","endpoint":"{endpoint}","completion_window":"{window}"{more}}}"#
            );
            CreateBatch::read(body.as_bytes())
        };
        let chat = "/v1/chat/completions";
        let batch = read(chat, "24h", r#","metadata":{"a":"b"}"#).unwrap();
        assert_eq!(batch.window().unwrap(), DAY);
        assert!(read(chat, "168h", "").is_ok());
        for (endpoint, window, more) in [
            ("/v1/files", "24h", ""),
            (chat, "0h", ""),
            (chat, "169h", ""),
            (chat, "1d", ""),
            (chat, "24h", r#","endpoint":"/v1/embeddings""#),
            (chat, "24h", r#","metadata":{"a":1}"#),
        ] {
            assert!(
                read(endpoint, window, more).is_err(),
                "{endpoint} {window} {more}"
            );
        }
    }
}
