//! One request of a connection of HTTP/2, to the end of its response. The time limit for writes to the
//! connection isn't enough: a caller may read every response but one, whose body is then no longer
//! polled, so that none of its own limits applies.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use hyper::body::{Bytes, Frame, SizeHint};
use hyper::rt::Executor;

use super::idle::OpenRequest;
use crate::net::sent::Served;
use crate::wire::Body;

tokio::task_local! {
    static SERVED: Arc<Served>;
}

/// Runs the requests of a connection, and resets those whose callers take nothing of the response for
/// too long, or when they may no longer have it.
#[derive(Clone)]
pub(super) struct Streams {
    /// How long a caller may take for a piece; zero waits without end.
    pub(super) within: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, request: F) {
        let (served, within) = (Arc::new(Served::new()), self.within);
        tokio::spawn(async move {
            // What is dropped resets the stream, and cancels what is behind the response.
            tokio::select! {
                biased;
                () = SERVED.scope(Arc::clone(&served), request) => {}
                () = served.pace.stalled(within) => {
                    tracing::debug!("a caller takes none of an answer");
                }
                () = served.sent.revoked() => {
                    tracing::debug!("a caller takes nothing of a response that it may no longer have");
                }
            }
        });
    }
}

/// A response that is open until its last byte is taken, or it is dropped.
pub(super) struct ResponseBody {
    body: Body,
    served: Arc<Served>,
    _open: OpenRequest,
}

impl ResponseBody {
    /// The response to the request that runs, which is one of [`Streams`].
    pub(super) fn of(mut response: Response<Body>, open: OpenRequest) -> Response<Self> {
        let served = SERVED.with(Arc::clone);
        served.sent.begin(&mut response);
        // It may never be asked for a first piece.
        served.pace.give();
        response.map(|body| Self {
            body,
            served,
            _open: open,
        })
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
            Poll::Ready(_) => self.served.pace.give(),
            Poll::Pending => self.served.pace.ask(),
        }
        self.served.sent.asked(&next);
        // What is still to be taken belongs to a response that is whole.
        if self.body.is_end_stream() {
            self.served.sent.end();
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
