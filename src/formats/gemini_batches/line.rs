//! One line of a batch: a request, and what its result repeats of it.

use std::fmt::Display;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::formats::google::error::code;
use crate::formats::openai_batches::Flaw;

/// Characters of an error that are repeated.
const MOST_WORDS: usize = 2_000;
/// Bytes of a line's key and metadata, which its result repeats.
const MOST_TAG: usize = 16 << 10;

/// A request of a batch. Those of a file have a key, and those that come with the batch may have metadata.
#[derive(Debug)]
pub struct Line<'l> {
    /// Key and metadata as JSON. Two lines may have the same.
    pub tag: String,
    /// What is asked.
    pub request: &'l RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<'l> {
    #[serde(default)]
    key: Option<String>,
    #[serde(borrow, default)]
    metadata: Option<&'l RawValue>,
    #[serde(borrow)]
    request: &'l RawValue,
}

#[derive(Serialize)]
struct Tag<'l> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'l RawValue>,
}

impl<'l> Line<'l> {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(line: &'l [u8]) -> Result<Self, Flaw> {
        let wrong = |why: &dyn Display| {
            let why = format!("this is not a request of a batch: {why}");
            Flaw::new("invalid_json_line", None, why)
        };
        let read: Read<'_> = serde_json::from_slice(line).map_err(|error| wrong(&error))?;
        let Read {
            key,
            metadata,
            request,
        } = read;
        if metadata.is_some_and(|metadata| !metadata.get().starts_with('{')) {
            return Err(wrong(&"expected metadata to be an object"));
        }
        // Texts and JSON always are JSON.
        let tag = serde_json::to_string(&Tag { key, metadata }).unwrap_or_default();
        if tag.len() > MOST_TAG {
            let why = format!("key and metadata take more than {MOST_TAG} bytes");
            return Err(wrong(&why));
        }
        Ok(Self { tag, request })
    }
}

/// The result of a request that was asked.
#[must_use]
pub fn result_line(tag: &str, status: u16, body: &Value) -> Value {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_success() {
        return with(tag, "response", body.clone());
    }
    // Some servers answer with a list of one.
    let error = body.get(0).unwrap_or(body).get("error");
    let message = error.and_then(|error| error.get("message")?.as_str());
    let message = message.map_or_else(|| body.to_string(), str::to_owned);
    let message: String = message.chars().take(MOST_WORDS).collect();
    with(tag, "error", error_of(code(status).1, &message))
}

/// The result of a request that was not asked, or whose response broke off; `code` is a `google.rpc.Code`.
#[must_use]
pub fn failed_line(tag: &str, code: u8, message: &str) -> Value {
    with(tag, "error", error_of(code, message))
}

/// An error as results and operations have it: a `google.rpc.Status`. It has no details, because Google's SDK for
/// Python reads only those that are texts.
pub(super) fn error_of(code: u8, message: &str) -> Value {
    json!({ "code": code, "message": message })
}

fn with(tag: &str, key: &str, value: Value) -> Value {
    // A line that could not be read has no tag.
    let mut line: Map<String, Value> = serde_json::from_str(tag).unwrap_or_default();
    line.insert(key.to_owned(), value);
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_repeats_key_and_metadata() {
        let read = |line: &str| {
            let line = Line::read(line.as_bytes()).map_err(|flaw| flaw.code)?;
            Ok((line.tag, line.request.get().to_owned()))
        };
        for (line, expected) in [
            (
                r#"{"key":"a","request":{"contents":[]}}"#,
                json!({ "key": "a", "response": { "x": 1 } }),
            ),
            (
                r#"{"request":{},"metadata":{"key":"a","n":1}}"#,
                json!({ "metadata": { "key": "a", "n": 1 }, "response": { "x": 1 } }),
            ),
            (r#"{"request":{}}"#, json!({ "response": { "x": 1 } })),
        ] {
            let (tag, _) = read(line).unwrap();
            assert_eq!(result_line(&tag, 200, &json!({ "x": 1 })), expected);
        }
        for wrong in [
            "",
            "{",
            "[]",
            r#"{"key":"a"}"#,
            r#"{"key":1,"request":{}}"#,
            r#"{"key":"a","key":"b","request":{}}"#,
            r#"{"metadata":[],"request":{}}"#,
            r#"{"request":{},"systemInstruction":{}}"#,
            &format!(r#"{{"key":"{}","request":{{}}}}"#, "k".repeat(MOST_TAG)),
            "{\"key\":\"\u{0}\",\"request\":{}}",
        ] {
            assert_eq!(read(wrong), Err("invalid_json_line"), "{wrong}");
        }
    }

    #[test]
    fn an_error_has_a_code_and_a_message() {
        let error =
            json!({ "error": { "code": 404, "message": "no such model", "details": [{}] } });
        let expected = json!({ "key": "a", "error": { "code": 5, "message": "no such model" } });
        assert_eq!(result_line(r#"{"key":"a"}"#, 404, &error), expected);
        let listed = json!([error]);
        assert_eq!(result_line(r#"{"key":"a"}"#, 404, &listed), expected);
        let odd = result_line("", 0, &json!("bad gateway"));
        assert_eq!(
            odd,
            json!({ "error": { "code": 13, "message": "\"bad gateway\"" } })
        );
        let cancelled = failed_line("{}", 1, "late");
        assert_eq!(
            cancelled,
            json!({ "error": { "code": 1, "message": "late" } })
        );
    }
}
