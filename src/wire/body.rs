//! The body type of every request and response that Iris builds.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;

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
    /// Nothing arrived for the whole idle time, or so little that it would never end.
    #[error("the request body stalled")]
    Stalled,
    /// The caller closed or reset the connection, or broke the framing.
    #[error("the request body broke off: {0}")]
    Broken(String),
}

/// Bytes a second that must come on average, once the idle time is over.
const PACE: u64 = 1_024;

/// Half the buffer that hyper reads into.
const SHORT: usize = 4_096;

/// Reads a body once, up to `limit` bytes; `idle` bounds the wait for each piece, and for all of
/// them beyond the time that a slow line needs (zero waits without end).
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
    let started = Instant::now();
    loop {
        let held = first.as_ref().map_or(0, Bytes::len) + rest.len();
        let wait = patience(idle, held, started.elapsed()).ok_or(ReadError::Stalled)?;
        let frame = within(wait, body.frame())
            .await
            .map_err(|_| ReadError::Stalled)?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| ReadError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
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

/// How long to wait for the next piece, `held` bytes having come in `elapsed`; zero is for ever.
#[must_use]
pub fn patience(idle: Duration, held: usize, elapsed: Duration) -> Option<Duration> {
    if idle.is_zero() {
        return Some(idle);
    }
    let whole = idle + Duration::from_secs(held as u64 / PACE);
    let left = whole.saturating_sub(elapsed);
    (!left.is_zero()).then(|| left.min(idle))
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[test]
    fn drops_do_not_keep_a_body_open() {
        let second = Duration::from_secs(1);
        let idle = 30 * second;
        assert_eq!(patience(idle, 0, Duration::ZERO), Some(idle));
        // A byte a second.
        assert_eq!(patience(idle, 29, 29 * second), Some(second));
        assert_eq!(patience(idle, 30, 30 * second), None);
        // A slow line.
        assert_eq!(patience(idle, 200 << 10, 60 * second), Some(idle));
        assert_eq!(
            patience(Duration::ZERO, 1, 9_999 * second),
            Some(Duration::ZERO)
        );
    }

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
