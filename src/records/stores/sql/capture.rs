//! A capture as a row. Bodies are compressed; what is kept for months is mostly they.

use std::cell::RefCell;

use bytes::Bytes;
use zstd::bulk::Compressor;

use super::Failure;
use super::value::{Row, Value};
use crate::records::Capture;

/// zstd's own default: higher levels cost several times the work for a tenth of the size.
const LEVEL: i32 = 3;

/// Bytes below which a body is kept as it is: making the tables of a frame costs more than what
/// is saved.
const SHORT: usize = 512;

pub(super) const INSERT: &str = "INSERT INTO captures (entry_id, request_headers, request_body, \
    request_size, response_headers, response_body, response_size, raw, raw_size, truncated) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// The columns for [`read`].
pub(super) const SELECTED: &str = "captures.request_headers, captures.request_body, \
    captures.request_size, captures.response_headers, captures.response_body, \
    captures.response_size, captures.raw, captures.raw_size, captures.truncated";

/// What may not be kept of it was left out when it was packed.
pub(super) fn write<'r>(id: &'r str, capture: &'r Capture) -> Result<Vec<Value<'r>>, Failure> {
    let raw = capture.raw.as_ref();
    Ok(vec![
        id.into(),
        Value::json(&capture.request_headers),
        stored(&capture.request_body)?,
        size(&capture.request_body),
        Value::json(&capture.response_headers),
        stored(&capture.response_body)?,
        size(&capture.response_body),
        raw.map(stored).transpose()?.unwrap_or(Value::Null),
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

fn size(body: &Bytes) -> Value<'static> {
    (body.len() as u64).into()
}

/// A body as it is stored: compressed, or as it is if that is shorter or equal. The size tells which.
fn stored(body: &Bytes) -> Result<Value<'_>, Failure> {
    let as_it_is = Value::Bytes(body.as_ref().into());
    if body.len() < SHORT {
        return Ok(as_it_is);
    }
    let compressed = compress(body)?;
    if compressed.len() < body.len() {
        return Ok(Value::Bytes(compressed.into()));
    }
    Ok(as_it_is)
}

fn compress(body: &Bytes) -> std::io::Result<Vec<u8>> {
    thread_local! {
        /// Making one takes longer than most bodies do.
        static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    }
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(LEVEL)?),
        };
        compressor.compress(body)
    })
}

/// A body, which the size that it had follows.
fn body(row: &mut Row) -> Result<Option<Bytes>, Failure> {
    let stored = row.maybe_bytes()?;
    let size = row.maybe_integer()?.unwrap_or(0);
    let size = usize::try_from(size).map_err(|_| Failure::Value("a size below zero".to_owned()))?;
    let body = stored.map(|bytes| {
        if bytes.len() == size {
            return Ok(bytes);
        }
        zstd::bulk::decompress(&bytes, size)
    });
    Ok(body.transpose()?.map(Bytes::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_however_they_are_stored() {
        let noise: Vec<u8> = (0..4_096)
            .map(|_| getrandom::u32().unwrap().to_le_bytes()[0])
            .collect();
        for (written, is_shorter) in [
            (Vec::new(), false),
            (b"{}".to_vec(), false),
            (vec![b'x'; SHORT - 1], false),
            (vec![b'x'; SHORT], true),
            (b"says it again ".repeat(100), true),
            (noise, false),
        ] {
            let written = Bytes::from(written);
            let Value::Bytes(kept) = stored(&written).unwrap() else {
                panic!("bytes are stored as bytes");
            };
            assert_eq!(kept.len() < written.len(), is_shorter);
            let kept = Value::Bytes(kept.into_owned().into());
            let size = match size(&written) {
                Value::Integer(size) => Value::Integer(size),
                other => panic!("{other:?} is no size"),
            };
            let read = body(&mut Row::new(vec![kept, size])).unwrap().unwrap();
            assert_eq!(read, written);
        }
    }
}
