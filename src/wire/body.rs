//! The body type of every request and response that Iris builds.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::clock::within;

/// An error that ends a body; its text is for the log, never for the caller.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body of any origin.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body whose bytes are all known.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// A body without bytes.
#[must_use]
pub fn empty() -> Body {
    full(Bytes::new())
}

/// Why a request body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Longer than the bound.
    #[error("the request body is longer than {limit} bytes")]
    TooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// Nothing arrived for the whole idle time.
    #[error("the request body stalled")]
    Stalled,
    /// The caller closed or reset the connection, or broke the framing.
    #[error("the request body broke off: {0}")]
    Broken(String),
}

/// Half the buffer that hyper reads into.
const SHORT: usize = 4_096;

/// Reads a body once, up to `limit` bytes; `idle` bounds the wait for each piece
/// (zero waits without end).
///
/// # Errors
/// [`ReadError`] as its variants say.
pub async fn read<B>(mut body: B, limit: usize, idle: Duration) -> Result<Bytes, ReadError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    // A declared length over the bound is refused before the first byte is read.
    if body.size_hint().lower() > limit as u64 {
        return Err(ReadError::TooLarge { limit });
    }
    let declared = body
        .size_hint()
        .exact()
        .and_then(|length| usize::try_from(length).ok());
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let frame = within(idle, body.frame())
            .await
            .map_err(|_| ReadError::Stalled)?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| ReadError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let held = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if held + data.len() > limit {
            return Err(ReadError::TooLarge { limit });
        }
        // Most requests arrive in one piece, which is then kept without a copy, but for a short
        // one: it is a part of the connection's buffer, which would be held for as long.
        if held == 0 {
            first = Some(if data.len() < SHORT {
                Bytes::copy_from_slice(&data)
            } else {
                data
            });
            continue;
        }
        if let Some(first) = first.take() {
            rest.extend_from_slice(&first);
        }
        // Room for all of it is made once a quarter has come: a length alone costs nothing.
        let whole = declared.filter(|declared| held >= declared / 4);
        if rest.capacity() < held + data.len()
            && let Some(whole) = whole
        {
            rest.reserve(whole.saturating_sub(held).max(data.len()));
        }
        rest.extend_from_slice(&data);
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test]
    async fn reads_up_to_the_bound_and_not_over_it() {
        let body = full("12345");
        assert_eq!(read(body, 5, Duration::ZERO).await.unwrap(), "12345");
        let error = read(full("123456"), 5, Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { limit: 5 }));
    }

    #[tokio::test]
    async fn pieces_are_put_together() {
        let pieces = [&b""[..], b"a", b"", b"bc", &[b'd'; 5_000][..], b"e"];
        let frames =
            pieces.map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece))));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let whole = read(body, 6_000, Duration::ZERO).await.unwrap();
        assert_eq!(whole, pieces.concat());
        assert!(read(empty(), 0, Duration::ZERO).await.unwrap().is_empty());
    }
}
