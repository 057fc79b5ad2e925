//! The body of a response, which keeps its place on a shared connection until it has ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::kept::Slot;

/// The body of a provider's response.
pub struct Received {
    body: Incoming,
    slot: Option<Slot>,
}

impl Received {
    /// A body that others share the connection with.
    pub(super) fn shared(body: Incoming, slot: Slot) -> Self {
        let slot = (!body.is_end_stream()).then_some(slot);
        Self { body, slot }
    }
}

impl From<Incoming> for Received {
    fn from(body: Incoming) -> Self {
        Self { body, slot: None }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if matches!(next, None | Some(Err(_))) || self.body.is_end_stream() {
            self.slot = None;
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
