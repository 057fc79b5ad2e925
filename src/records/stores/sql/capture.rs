//! A capture as a row.

use bytes::Bytes;

use super::Failure;
use super::value::{Row, Value};
use crate::records::Capture;
use crate::records::body::StoredBody;
use crate::records::journal::packed::StoredCapture;

pub(super) const INSERT: &str = "INSERT INTO captures (entry_id, request_headers, request_body, \
    request_size, response_headers, response_body, response_size, raw, raw_size, truncated) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// The columns for [`read`].
pub(super) const SELECTED: &str = "captures.request_headers, captures.request_body, \
    captures.request_size, captures.response_headers, captures.response_body, \
    captures.response_size, captures.raw, captures.raw_size, captures.truncated";

/// What may not be kept of it was left out when it was packed.
pub(super) fn write<'r>(id: &'r str, capture: &'r StoredCapture) -> Vec<Value<'r>> {
    let raw = capture.raw.as_ref();
    vec![
        id.into(),
        Value::json(&capture.request_headers),
        stored(&capture.request_body),
        size(&capture.request_body),
        Value::json(&capture.response_headers),
        stored(&capture.response_body),
        size(&capture.response_body),
        raw.map_or(Value::Null, stored),
        raw.map_or(Value::Null, size),
        capture.truncated.into(),
    ]
}

pub(super) fn read(row: &mut Row) -> Result<Capture, Failure> {
    Ok(Capture {
        request_headers: row.json()?,
        request_body: body(row)?.unwrap_or_default(),
        response_headers: row.json()?,
        response_body: body(row)?.unwrap_or_default(),
        raw: body(row)?,
        truncated: row.integer()? != 0,
    })
}

fn stored(body: &StoredBody) -> Value<'_> {
    Value::Bytes(body.bytes.as_ref().into())
}

fn size(body: &StoredBody) -> Value<'static> {
    (body.size as u64).into()
}

/// A body, which the size that it had follows.
fn body(row: &mut Row) -> Result<Option<Bytes>, Failure> {
    let stored = row.maybe_bytes()?;
    let size = row.maybe_integer()?.unwrap_or(0);
    let size = usize::try_from(size).map_err(|_| Failure::Value("a size below zero".to_owned()))?;
    let body = stored.map(|bytes| {
        let bytes = bytes.into();
        StoredBody { size, bytes }.plain()
    });
    Ok(body.transpose()?)
}
