//! A provider's body of which the beginning may have been waited for.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;

/// An answer's body, as it comes from a provider.
pub struct Begun {
    first: Option<Frame<Bytes>>,
    rest: Incoming,
    ended: bool,
}

impl Begun {
    /// Waits for the first piece: until it is there, another provider can be asked instead.
    ///
    /// # Errors
    /// When the body fails before that. One that ends without a piece is no error here.
    pub async fn begin(mut rest: Incoming) -> Result<Self, hyper::Error> {
        let next = std::future::poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await;
        let ended = next.is_none();
        let first = next.transpose()?;
        Ok(Self { first, rest, ended })
    }

    /// Whether it has ended without a piece.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ended
    }
}

impl From<Incoming> for Begun {
    fn from(rest: Incoming) -> Self {
        Self {
            first: None,
            rest,
            ended: false,
        }
    }
}

impl Body for Begun {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None if self.ended => Poll::Ready(None),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.first.is_none() && self.rest.is_end_stream())
    }
}
