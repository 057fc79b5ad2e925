//! A capture as a row. Bodies are compressed; what is kept for months is mostly they.

use std::cell::RefCell;

use bytes::Bytes;
use zstd::bulk::Compressor;

use super::Capture;
use super::database::{Failure, Row, Value};

/// zstd's own default: higher levels cost several times the work for a tenth of the size.
const LEVEL: i32 = 3;

pub(super) const INSERT: &str = "INSERT INTO captures (entry_id, request_headers, request_body, \
    request_size, response_headers, response_body, response_size, raw, raw_size, truncated) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// The columns for [`read`].
pub(super) const SELECTED: &str = "captures.request_headers, captures.request_body, \
    captures.request_size, captures.response_headers, captures.response_body, \
    captures.response_size, captures.raw, captures.raw_size, captures.truncated";

pub(super) fn write(id: &str, capture: &Capture, raws: bool) -> Result<Vec<Value>, Failure> {
    let raw = capture.raw.as_ref().filter(|_| raws);
    Ok(vec![
        id.into(),
        json(&capture.request_headers),
        compress(&capture.request_body)?,
        size(&capture.request_body),
        json(&capture.response_headers),
        compress(&capture.response_body)?,
        size(&capture.response_body),
        raw.map(compress).transpose()?.unwrap_or(Value::Null),
        raw.map_or(Value::Null, size),
        capture.truncated.into(),
    ])
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

fn json(headers: &[(String, String)]) -> Value {
    Value::Text(serde_json::json!(headers).to_string())
}

fn size(body: &Bytes) -> Value {
    i64::try_from(body.len()).unwrap_or(i64::MAX).into()
}

fn compress(body: &Bytes) -> Result<Value, Failure> {
    thread_local! {
        /// Making one takes longer than most bodies do.
        static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    }
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(LEVEL)?),
        };
        Ok(Value::Bytes(compressor.compress(body)?))
    })
}

/// A body and the size that it had.
fn body(row: &mut Row) -> Result<Option<Bytes>, Failure> {
    let compressed = row.maybe_bytes()?;
    let size = row.maybe_integer()?.unwrap_or(0);
    let size = usize::try_from(size).map_err(|_| Failure::Value("a size below zero".to_owned()))?;
    let body = compressed.map(|bytes| zstd::bulk::decompress(&bytes, size));
    Ok(body.transpose()?.map(Bytes::from))
}
