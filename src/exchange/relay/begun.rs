//! A provider's body of which the beginning may have been waited for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};

use crate::exchange::held::Remember;
use crate::net::client::{ExchangeError, Received};
use crate::wire::Mask;

/// A response's body, as it comes from a provider.
#[derive(Default)]
pub(in crate::exchange) struct Begun {
    first: Option<Frame<Bytes>>,
    /// What was looked at, and is read once more.
    seen: BytesMut,
    rest: Option<Received>,
    ended: bool,
    /// What broke while the beginning was looked at, for those who read on.
    broken: Option<ExchangeError>,
    /// Hides what the body may quote of the request.
    mask: Option<Box<Mask>>,
    /// The same for a success, in which only an error is expected to quote it.
    pub(super) error_mask: Option<Box<Mask>>,
    remember: Option<Box<Remember>>,
}

impl Begun {
    /// A body that may quote the credentials of its request.
    pub(in crate::exchange) fn masked(self, mask: Mask) -> Self {
        Self {
            mask: Some(Box::new(mask)),
            ..self
        }
    }

    /// A successful response, and what hides credentials in an error that it may report.
    pub(in crate::exchange) fn success(self, mask: Mask) -> Self {
        Self {
            error_mask: Some(Box::new(mask)),
            ..self
        }
    }

    /// Waits for the first piece: until it is there, another provider can be asked instead. A body that
    /// ends without a piece is not an error here.
    pub(in crate::exchange) async fn begin(mut rest: Received) -> Result<Self, ExchangeError> {
        let next = std::future::poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await;
        let ended = next.is_none();
        let first = next.transpose()?;
        Ok(Self {
            first,
            ended,
            ..Self::from(rest)
        })
    }

    /// Reads up to about `most` bytes, which are given once more to those who read on. Nothing is
    /// lost if the future is dropped before it is ready.
    pub(in crate::exchange) async fn peek(&mut self, most: usize) -> &[u8] {
        while self.seen.len() < most {
            let next = std::future::poll_fn(|cx| self.unseen(cx)).await;
            match next.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(piece))) => self.seen.extend_from_slice(&piece),
                // Trailers are not passed on.
                Some(Ok(Err(_))) => {}
                Some(Err(error)) => {
                    self.broken = Some(error);
                    break;
                }
                None => {
                    self.ended = true;
                    break;
                }
            }
        }
        &self.seen
    }

    /// Whether it has ended without a piece.
    pub(in crate::exchange) fn is_empty(&self) -> bool {
        self.ended && self.first.is_none() && self.seen.is_empty()
    }
}

impl From<Received> for Begun {
    fn from(rest: Received) -> Self {
        Self {
            rest: Some(rest),
            ..Self::default()
        }
    }
}

/// A body that is there already.
impl From<Bytes> for Begun {
    fn from(whole: Bytes) -> Self {
        Self {
            first: Some(Frame::data(whole)),
            ended: true,
            ..Self::default()
        }
    }
}

impl Begun {
    /// Has the names remembered of what the provider keeps.
    pub(in crate::exchange) fn remember(&mut self, remember: Remember) {
        self.remember = Some(Box::new(remember));
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        if self.seen.is_empty() {
            return self.unseen(cx);
        }
        let seen = self.seen.split().freeze();
        Poll::Ready(Some(Ok(Frame::data(seen))))
    }

    /// The next piece that was not looked at yet.
    fn unseen(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(rest) = self.rest.as_mut().filter(|_| !self.ended) else {
            return Poll::Ready(None);
        };
        let Some(mask) = &mut self.mask else {
            return Pin::new(rest).poll_frame(cx);
        };
        loop {
            let Some(frame) = ready!(Pin::new(&mut *rest).poll_frame(cx)) else {
                self.ended = true;
                let held = mask.rest();
                return Poll::Ready((!held.is_empty()).then(|| Ok(Frame::data(held))));
            };
            let piece = match frame.map(Frame::into_data) {
                Ok(Ok(piece)) => mask.pass(piece),
                Ok(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            // With a declared length nobody asks for more than the last byte.
            let piece = if rest.is_end_stream() {
                [piece, mask.rest()].concat().into()
            } else {
                piece
            };
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
    }
}

impl Body for Begun {
    type Data = Bytes;
    type Error = ExchangeError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        let this = self.get_mut();
        let next = ready!(this.next(cx));
        if let (Some(remember), Some(Ok(frame))) = (&mut this.remember, &next)
            && let Some(piece) = frame.data_ref()
        {
            remember.read(piece);
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        (self.first.is_none() && self.seen.is_empty() && self.broken.is_none())
            && (self.ended || self.rest.as_ref().is_none_or(Body::is_end_stream))
    }
}
