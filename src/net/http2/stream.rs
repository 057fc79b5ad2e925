//! One request of a connection of HTTP/2, to the end of its response. The time limit for writes to the
//! connection isn't enough: a caller may read every response but one, whose body is then no longer
//! polled, so that none of its own limits applies.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::idle::OpenRequest;
use crate::net::pace::Pace;
use crate::wire::Body;
use hyper::body::{Bytes, Frame, SizeHint};
use hyper::rt::Executor;

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
