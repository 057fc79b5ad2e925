//! One request of a connection of HTTP/2, to the end of its response. The time limit for writes to the
//! connection isn't enough: a caller may read every response but one, whose body is then no longer
//! polled, so that none of its own limits applies.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Bytes, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::Instant;

use super::idle::OpenRequest;
use crate::wire::Body;

tokio::task_local! {
    static PACE: Arc<Pace>;
}

/// Runs the requests of a connection, and resets those whose callers take nothing of the response for
/// too long.
#[derive(Clone)]
pub(super) struct Streams {
    /// How long a caller may take for a piece; zero waits without end.
    pub(super) within: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, request: F) {
        let (pace, within) = (Arc::new(Pace::new()), self.within);
        tokio::spawn(async move {
            tokio::select! {
                () = PACE.scope(Arc::clone(&pace), request) => {}
                // What is dropped resets the stream, and cancels what is behind the response.
                () = pace.stalled(within) => tracing::debug!("a caller takes none of an answer"),
            }
        });
    }
}

/// Since when it has been the caller's turn.
struct Pace {
    began: Instant,
    /// In milliseconds from there, and one; zero while a piece is waited for.
    given: AtomicU64,
}

impl Pace {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            given: AtomicU64::new(0),
        }
    }

    fn give(&self) {
        let now = self.began.elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX - 1) + 1;
        self.given.store(now, Ordering::Relaxed);
    }

    fn ask(&self) {
        self.given.store(0, Ordering::Relaxed);
    }

    /// Waits until it has been the caller's turn for this long.
    async fn stalled(&self, within: Duration) {
        if within.is_zero() {
            return std::future::pending().await;
        }
        loop {
            // A piece that is given right after this look is due when it is looked at next.
            let given = self.given.load(Ordering::Relaxed);
            let due = match given.checked_sub(1) {
                Some(given) => self.began + Duration::from_millis(given) + within,
                None => Instant::now() + within,
            };
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

/// A response that is open until its last byte is taken, or it is dropped.
pub(super) struct ResponseBody {
    body: Body,
    pace: Arc<Pace>,
    _open: OpenRequest,
}

impl ResponseBody {
    /// The body of the response to the request that runs, which is one of [`Streams`].
    pub(super) fn of(body: Body, open: OpenRequest) -> Self {
        let pace = PACE.with(Arc::clone);
        // It may never be asked for a first piece.
        pace.give();
        Self {
            body,
            pace,
            _open: open,
        }
    }
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = Pin::new(&mut self.body).poll_frame(cx);
        match next {
            Poll::Ready(_) => self.pace.give(),
            Poll::Pending => self.pace.ask(),
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn only_a_piece_that_is_not_taken_is_waited_for() {
        let pace = Arc::new(Pace::new());
        let began = Instant::now();
        let gives = Arc::clone(&pace);
        tokio::spawn(async move {
            // Nothing comes, pieces are taken, nothing comes, and the last is not taken.
            sleep(5 * LONG).await;
            for _ in 0..10 {
                gives.give();
                sleep(LONG / 2).await;
            }
            gives.ask();
            sleep(3 * LONG).await;
            gives.give();
        });
        pace.stalled(LONG).await;
        assert_eq!(began.elapsed(), (5 + 5 + 3 + 1) * LONG);
    }
}
