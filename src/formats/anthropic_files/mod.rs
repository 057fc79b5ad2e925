//! Anthropic's files as its clients read them. Their paths are those of OpenAI's: which API is meant,
//! `anthropic-version` says.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use super::body::bad_request;
use super::{
    Call, Format, Head, Meter, MeteredRequest, anthropic_messages, known, openai_companions,
};
use crate::wire::Rejection;

/// The header that all requests of Anthropic's API have.
const VERSION: &str = "anthropic-version";

/// `/v1/files`.
pub static FORMAT: Format = Format {
    refusals: anthropic_messages::REFUSALS,
    operation: "batch",
    accepts: &["multipart/form-data"],
    ..Format::new(
        "anthropic_files",
        &known::COMPANIONS,
        not_for_a_model,
        meter,
    )
};

/// Whether a request is one of Anthropic's API.
#[must_use]
pub fn recognises(headers: &HeaderMap) -> bool {
    headers.contains_key(VERSION)
}

fn not_for_a_model(_: &Head<'_>, _: Bytes) -> Result<Call, Rejection> {
    Err(bad_request("requests for files name no model"))
}

fn meter(request: &MeteredRequest<'_>) -> Box<dyn Meter> {
    Box::new(openai_companions::Whole::new((FORMAT.density)(
        request.path,
    )))
}

/// A file. `made` is in Unix seconds.
#[must_use]
pub fn file(id: &str, name: &str, kind: &str, bytes: u64, made: i64) -> Value {
    json!({
        "id": id,
        "type": "file",
        "filename": name,
        "mime_type": kind,
        "size_bytes": bytes,
        "created_at": jiff::Timestamp::from_second(made).ok().map(|made| made.to_string()),
        "downloadable": true,
    })
}

/// The answer to the deletion of a file.
#[must_use]
pub fn deleted(id: &str) -> Value {
    json!({ "id": id, "type": "file_deleted" })
}
