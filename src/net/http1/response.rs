//! The response to a request of HTTP/1. When it has ended, it is the caller's turn to send another request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use hyper::body::{Bytes, Frame, SizeHint};

use crate::net::sent::Served;
use crate::wire::Body;

/// A body that begins the caller's turn when it is dropped.
pub(super) struct ResponseBody {
    body: Body,
    served: Arc<Served>,
}

impl ResponseBody {
    /// The response, which begins to be sent.
    pub(super) fn of(mut response: Response<Body>, served: Arc<Served>) -> Response<Self> {
        served.sent.begin(&mut response);
        response.map(|body| Self { body, served })
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.served.sent.end();
        self.served.pace.give();
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
        self.served.sent.asked(&next);
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
