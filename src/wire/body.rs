//! The body type of every request and response that Iris builds.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, timeout_at};

use crate::base::clock::within;
use crate::base::memory::{self, Hold, Memory, WEIGHT};

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
    /// Longer than any body that fits into memory beside others.
    #[error(
        "the request body is longer than {limit} bytes, the most that limits.memory allows for one"
    )]
    OverMemory {
        /// The bound in bytes.
        limit: usize,
    },
    /// Others hold the memory that it needs.
    #[error(transparent)]
    Full(#[from] memory::Full),
    /// Nothing arrived for the whole idle time, or so little that it would never end.
    #[error("the request body stalled")]
    Stalled,
    /// The caller closed or reset the connection, or broke the framing.
    #[error("the request body broke off: {0}")]
    Broken(String),
}

/// A body that is read here.
pub trait Readable: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Unpin {}
impl<B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Unpin> Readable for B {}

/// Bytes a second that must come on average, once the idle time is over.
const PACE: u64 = 1_024;

/// For a body to come of which the length was declared. After that, what has come of it counts, so
/// that a caller who sends nothing keeps no others waiting.
const PLEDGE: Duration = Duration::from_secs(10);

/// For the rest of a body that is refused.
const FAREWELL: Duration = Duration::from_secs(30);

/// Half the buffer that hyper reads into.
const SHORT: usize = 4_096;

/// Reads a body once, up to `limit` bytes; `idle` bounds the wait for each piece, and for all of
/// them beyond the time that a slow line needs (zero waits without end). The bytes count as memory
/// for as long as they are held.
///
/// # Errors
/// [`ReadError`] as its variants say.
pub async fn read(body: impl Readable, limit: usize, idle: Duration) -> Result<Bytes, ReadError> {
    read_within(memory::all(), body, limit, idle).await
}

async fn read_within(
    memory: &Memory,
    body: impl Readable,
    limit: usize,
    idle: Duration,
) -> Result<Bytes, ReadError> {
    let (whole, hold) = collect(memory, WEIGHT, body, limit, idle).await?;
    Ok(hold.keep(whole))
}

/// The same for a body that is compressed, of which nothing but what it opens to is worked with. It
/// counts as its length, and what counts it may grow to what it opens to.
///
/// # Errors
/// Likewise.
pub async fn read_packed(
    body: impl Readable,
    limit: usize,
    idle: Duration,
) -> Result<(Bytes, Hold), ReadError> {
    collect(memory::all(), 1, body, limit, idle).await
}

async fn collect(
    memory: &Memory,
    weight: usize,
    mut body: impl Readable,
    limit: usize,
    idle: Duration,
) -> Result<(Bytes, Hold), ReadError> {
    let weighed = |length: usize| length.saturating_mul(weight);
    let longest = memory.longest();
    let fits = |length: u64| {
        if length > limit as u64 {
            return Err(ReadError::TooLarge { limit });
        }
        if length > longest as u64 {
            return Err(ReadError::OverMemory { limit: longest });
        }
        Ok(())
    };
    // A declared length over the bound is refused before the first byte is read.
    fits(body.size_hint().lower())?;
    let declared = body
        .size_hint()
        .exact()
        .and_then(|length| usize::try_from(length).ok());
    let mut hold = memory.hold();
    // One that waits for room before it is read holds none.
    if let Err(full) = hold.reserve(weighed(declared.unwrap_or(0))).await {
        discard(body, limit).await;
        return Err(full.into());
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let started = Instant::now();
    let mut pledged = declared.map(|_| started + PLEDGE);
    // Time in which it was not read.
    let mut paused = Duration::ZERO;
    loop {
        let held = first.as_ref().map_or(0, Bytes::len) + rest.len();
        // Mostly all of it has come with the head: then no time has passed.
        let mut next = at_once(&mut body).await;
        if next.is_none() {
            let elapsed = started.elapsed().saturating_sub(paused);
            let wait = patience(idle, held, elapsed).ok_or(ReadError::Stalled)?;
            let waited = within(wait, body.frame());
            let Ok(waited) = (match pledged {
                Some(until) => timeout_at(until, waited).await,
                None => Ok(waited.await),
            }) else {
                pledged = None;
                hold.shrink(weighed(held));
                continue;
            };
            next = Some(waited.map_err(|_| ReadError::Stalled)?);
        }
        let Some(frame) = next.flatten() else {
            break;
        };
        let frame = frame.map_err(|error| ReadError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        fits((held + data.len()) as u64)?;
        let wanted = weighed(held + data.len());
        if wanted > hold.bytes() {
            let began = Instant::now();
            if let Err(full) = hold.reserve(wanted).await {
                drop((hold, first, rest, data));
                discard(body, limit).await;
                return Err(full.into());
            }
            paused += began.elapsed();
        }
        add(data, declared, &mut first, &mut rest);
    }
    let whole = first.unwrap_or_else(|| rest.freeze());
    hold.shrink(weighed(whole.len()));
    Ok((whole, hold))
}

/// Adds a piece to what has come of a body: to `rest`, unless it is the `first` one.
fn add(data: Bytes, declared: Option<usize>, first: &mut Option<Bytes>, rest: &mut BytesMut) {
    let held = first.as_ref().map_or(0, Bytes::len) + rest.len();
    // Most requests arrive in one piece, which is then kept without a copy, but for a short
    // one: it is a part of the connection's buffer, which would be held for as long.
    if held == 0 {
        *first = Some(if data.len() < SHORT {
            Bytes::copy_from_slice(&data)
        } else {
            data
        });
        return;
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

/// The next piece of a body, if it is there already.
async fn at_once<B: Readable>(body: &mut B) -> Option<Option<Result<Frame<Bytes>, B::Error>>> {
    let next = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx)));
    match next.await {
        Poll::Ready(next) => Some(next),
        Poll::Pending => None,
    }
}

/// Reads the rest of a body and keeps nothing of it: most clients look for a response only once they have
/// sent all, and miss one if the connection closes before that.
async fn discard(mut body: impl Readable, limit: usize) {
    let all = async {
        let mut length = 0;
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, Bytes::len);
            if length > limit {
                break;
            }
        }
    };
    let _in_time = within(FAREWELL, all).await;
}

/// How long to wait for the next piece, `held` bytes having come in `elapsed`; zero waits without end.
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
    use http_body_util::StreamBody;

    use super::*;
    use crate::base::memory::weighed;

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

    /// A body that sends a piece and then nothing any more.
    fn stuck(
        length: u64,
        piece: usize,
    ) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin {
        struct Stuck(u64, Option<Bytes>);
        impl http_body::Body for Stuck {
            type Data = Bytes;
            type Error = Infallible;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                self.1.take().map_or(Poll::Pending, |piece| {
                    Poll::Ready(Some(Ok(Frame::data(piece))))
                })
            }
            fn size_hint(&self) -> http_body::SizeHint {
                http_body::SizeHint::with_exact(self.0)
            }
        }
        Stuck(length, Some(vec![7; piece].into()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_length_counts_until_it_is_not_kept_and_bytes_for_as_long_as_they_are_held() {
        const MIB: usize = 1 << 20;
        let memory = Memory::new(64 * MIB);
        let minute = Duration::from_mins(1);
        let whole = read_within(&memory, full(vec![7; 4 * MIB]), 9 * MIB, minute)
            .await
            .unwrap();
        assert_eq!(memory.usage().held, weighed(4 * MIB));
        drop(whole);
        assert_eq!(memory.usage().held, 0);
        let mut reading = Box::pin(read_within(&memory, stuck(9 << 20, MIB), 9 * MIB, minute));
        assert!(
            tokio::time::timeout(PLEDGE / 2, &mut reading)
                .await
                .is_err()
        );
        assert_eq!(memory.usage().held, weighed(9 * MIB));
        assert!(tokio::time::timeout(PLEDGE, &mut reading).await.is_err());
        assert_eq!(memory.usage().held, weighed(MIB));
        assert!(matches!(reading.await, Err(ReadError::Stalled)));
        assert_eq!(memory.usage().held, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_for_room_and_is_refused_in_the_end() {
        const MIB: usize = 1 << 20;
        let memory = Memory::new(64 * MIB);
        let mut other = memory.hold();
        other.reserve(56 * MIB).await.unwrap();
        let idle = Duration::from_secs(1);
        let long = || full(vec![7; 2 * MIB]);
        let refused = read_within(&memory, long(), 9 * MIB, idle)
            .await
            .unwrap_err();
        assert!(matches!(refused, ReadError::Full(_)));
        // Without a declared length, it is found out as it grows.
        let pieces =
            || (0..8).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![7; MIB / 4]))));
        let chunked = || StreamBody::new(futures_util::stream::iter(pieces()));
        let refused = read_within(&memory, chunked(), 9 * MIB, idle)
            .await
            .unwrap_err();
        assert!(matches!(refused, ReadError::Full(_)));
        let short = read_within(&memory, full("short"), 9 * MIB, idle).await;
        assert_eq!(short.unwrap(), "short");
        let mut waiting = Box::pin(read_within(&memory, chunked(), 9 * MIB, idle));
        assert!(tokio::time::timeout(10 * idle, &mut waiting).await.is_err());
        drop(other);
        assert_eq!(waiting.await.unwrap().len(), 2 * MIB);
        let over = read_within(&memory, full(vec![7; 20 * MIB]), 64 * MIB, idle).await;
        assert!(matches!(over, Err(ReadError::OverMemory { .. })));
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
