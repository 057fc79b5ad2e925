//! An upload in steps: the first says what comes, and gets a URL to which the content is sent, whole or in
//! pieces. What the first step said stands in that URL, so that nothing has to be kept in between.

use http::{HeaderMap, HeaderName};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;

use crate::formats::attached::FILE_PREFIX;
use crate::formats::body::bad_request;
use crate::wire::Rejection;

/// Where the content is to be sent.
pub const URL: HeaderName = HeaderName::from_static("x-goog-upload-url");
/// `active` until the last step has succeeded, which is `final`.
pub const STATUS: HeaderName = HeaderName::from_static("x-goog-upload-status");

const COMMAND: &str = "x-goog-upload-command";
const OFFSET: &str = "x-goog-upload-offset";
const LENGTH: &str = "x-goog-upload-header-content-length";
const KIND: &str = "x-goog-upload-header-content-type";

/// Letters of a file's name, and of its content type.
const MOST_NAME: usize = 256;
const MOST_KIND: usize = 100;
const UNKNOWN: &str = "application/octet-stream";
/// What Google's examples call the content type of a batch's lines, and what it is.
const LINES: [&str; 2] = ["jsonl", "application/jsonl"];

/// An upload that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    pub id: String,
    pub name: String,
    /// Its content type.
    pub kind: String,
    /// How many bytes it is to have, if the first step said so.
    pub bytes: Option<u64>,
}

/// What a request of an upload asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// That one begins. Its id is the gateway's to give.
    Start(Started),
    /// That these bytes stand at an offset.
    Piece {
        started: Started,
        offset: u64,
        is_last: bool,
    },
}

/// What a first step says of its file, with the names of either spelling.
#[derive(Default, Deserialize)]
struct Begun {
    #[serde(default)]
    file: About,
}

#[derive(Default, Deserialize)]
struct About {
    #[serde(alias = "display_name", rename = "displayName", default)]
    name: Option<String>,
    #[serde(alias = "mime_type", rename = "mimeType", default)]
    kind: Option<String>,
}

impl Step {
    /// Reads a request.
    ///
    /// # Errors
    /// A 400 that says what is wrong with it.
    pub fn read(headers: &HeaderMap, query: Option<&str>, body: &[u8]) -> Result<Self, Rejection> {
        let header = |name: &str| headers.get(name)?.to_str().ok();
        let commands = header(COMMAND).unwrap_or_default().to_ascii_lowercase();
        let commands: Vec<&str> = commands.split(',').map(str::trim).collect();
        match commands[..] {
            ["start"] => {
                let begun = if body.trim_ascii().is_empty() {
                    Begun::default()
                } else {
                    let read = serde_json::from_slice(body);
                    read.map_err(|error| {
                        bad_request(format!("the file is not acceptable: {error}"))
                    })?
                };
                let kind = header(KIND).or(begun.file.kind.as_deref());
                let [short, lines] = LINES;
                let kind = kind.map(|kind| if kind == short { lines } else { kind });
                let started = Started {
                    id: String::new(),
                    name: begun.file.name.unwrap_or_default(),
                    kind: kind.unwrap_or(UNKNOWN).to_owned(),
                    bytes: number(LENGTH, header(LENGTH))?,
                };
                started.checked().map(Self::Start)
            }
            ["upload"] | ["upload", "finalize"] => Ok(Self::Piece {
                started: Started::read(query)?,
                offset: number(OFFSET, header(OFFSET))?.unwrap_or(0),
                is_last: commands.len() == 2,
            }),
            _ => {
                let shown: String = commands.join(", ").chars().take(80).collect();
                Err(bad_request(format!(
                    "invalid {COMMAND} {shown:?}: expected \"start\", then \"upload\" or \"upload, finalize\" \
                     (the resumable protocol)"
                )))
            }
        }
    }
}

fn number(name: &str, text: Option<&str>) -> Result<Option<u64>, Rejection> {
    let read = text.map(|text| text.trim().parse());
    read.transpose()
        .map_err(|_| bad_request(format!("invalid {name}: expected a number of bytes")))
}

impl Started {
    /// Reads the query of an upload's URL.
    fn read(query: Option<&str>) -> Result<Self, Rejection> {
        let mut started = Self {
            id: String::new(),
            name: String::new(),
            kind: UNKNOWN.to_owned(),
            bytes: None,
        };
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            match name {
                "upload_id" => started.id = value.into_owned(),
                "name" => started.name = value.into_owned(),
                "kind" => started.kind = value.into_owned(),
                "bytes" => started.bytes = number(name, Some(&value))?,
                _ => {}
            }
        }
        let digits = started.id.strip_prefix(FILE_PREFIX).unwrap_or_default();
        let is_id = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err(bad_request(
                "this isn't the URL of an upload: begin one first",
            ));
        }
        started.checked()
    }

    fn checked(self) -> Result<Self, Rejection> {
        let is_odd =
            |text: &str, most| text.chars().count() > most || text.chars().any(char::is_control);
        if is_odd(&self.name, MOST_NAME) {
            let why = format!("the file's name must have at most {MOST_NAME} visible characters");
            return Err(bad_request(why));
        }
        if is_odd(&self.kind, MOST_KIND) || !self.kind.contains('/') {
            return Err(bad_request(
                "the file's content type must be one, such as \"image/png\"",
            ));
        }
        Ok(self)
    }
}

/// The URL to which the content is sent.
#[must_use]
pub fn location(origin: &str, path: &str, started: &Started) -> String {
    let text = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let bytes = started.bytes.map(|bytes| format!("&bytes={bytes}"));
    format!(
        "{origin}{path}?upload_id={}&name={}&kind={}{}",
        started.id,
        text(&started.name),
        text(&started.kind),
        bytes.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(command: &str, query: Option<&str>, body: &str) -> Result<Step, Rejection> {
        let mut headers = HeaderMap::new();
        headers.insert(COMMAND, command.parse().unwrap());
        headers.insert(OFFSET, "7".parse().unwrap());
        headers.insert(LENGTH, "9".parse().unwrap());
        Step::read(&headers, query, body.as_bytes())
    }

    #[test]
    fn what_the_first_step_says_comes_back_with_the_content() {
        let body = r#"{"file":{"display_name":"a & b.pdf","mimeType":"application/pdf"}}"#;
        let Ok(Step::Start(mut started)) = read("start", None, body) else {
            panic!("it doesn't start");
        };
        assert_eq!(
            (started.name.as_str(), started.bytes),
            ("a & b.pdf", Some(9))
        );
        started.id = format!("{FILE_PREFIX}{:032x}", 5);
        let url = location("http://ai", "/upload/v1beta/files", &started);
        let (_, query) = url.split_once('?').unwrap();
        for (command, is_last) in [("upload", false), ("upload, finalize", true)] {
            let step = read(command, Some(query), "x").unwrap();
            let expected = Step::Piece {
                started: started.clone(),
                offset: 7,
                is_last,
            };
            assert_eq!(step, expected);
        }
    }

    #[test]
    fn lines_of_a_batch_have_the_type_of_googles_examples() {
        for kind in LINES {
            let body = format!(r#"{{"file":{{"mimeType":"{kind}"}}}}"#);
            let Ok(Step::Start(started)) = read("start", None, &body) else {
                panic!("it doesn't start");
            };
            assert_eq!(started.kind, "application/jsonl");
        }
    }

    #[test]
    fn what_is_no_step_is_refused() {
        let long = format!(
            r#"{{"file":{{"displayName":"{}"}}}}"#,
            "n".repeat(MOST_NAME + 1)
        );
        for (command, query, body) in [
            ("", None, ""),
            ("start, upload", None, ""),
            ("start", None, "["),
            ("start", None, &*long),
            ("start", None, r#"{"file":{"mimeType":"pdf"}}"#),
            ("upload", None, "x"),
            ("upload", Some("upload_id=file-iris-1"), "x"),
            (
                "upload",
                Some("upload_id=../../../../../../etc/passwd"),
                "x",
            ),
        ] {
            assert!(
                read(command, query, body).is_err(),
                "{command} {query:?} {body}"
            );
        }
    }
}
