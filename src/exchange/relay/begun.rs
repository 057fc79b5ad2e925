//! A provider's body of which the beginning may have been waited for.

use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use memchr::memmem;

use crate::base::clock::within;
use crate::base::memory::{Hold, weighed};
use crate::exchange::held::Remember;
use crate::net::client::{ExchangeError, Received};
use crate::wire::Mask;

/// What every word for an error has. Made once, because to make a finder takes longer than to look through a
/// short response.
pub(super) static RROR: LazyLock<memmem::Finder<'_>> =
    LazyLock::new(|| memmem::Finder::new(b"rror"));

/// A response's body, as it comes from a provider. Boxed, because it passes through all stages between
/// the connection and the relay.
#[derive(Default)]
pub(in crate::exchange) struct Begun(Box<Parts>);

/// Why a body isn't held.
pub(in crate::exchange) enum Unheld {
    /// It broke off.
    Broken(String),
    /// There is no memory for it.
    Full,
    /// Nothing came for too long.
    Silent,
    /// It is too long.
    TooLong,
}

#[derive(Default)]
struct Parts {
    first: Option<Frame<Bytes>>,
    /// What was looked at, and is read once more.
    seen: BytesMut,
    rest: Option<Received>,
    ended: bool,
    /// What broke while the beginning was looked at, for those who read on.
    broken: Option<ExchangeError>,
    /// Hides what the body may quote of the request.
    mask: Option<Mask>,
    /// The same for a success, in which only an error is expected to quote it.
    error_mask: Option<Mask>,
    remember: Option<Box<Remember>>,
}

impl Begun {
    /// A body that may quote the credentials of its request.
    pub(in crate::exchange) fn masked(mut self, mask: Mask) -> Self {
        self.0.mask = Some(mask);
        self
    }

    /// A successful response, and what hides credentials in an error that it may report.
    pub(in crate::exchange) fn success(mut self, mask: Mask) -> Self {
        self.0.error_mask = Some(mask);
        self
    }

    /// What hides credentials in an error that a successful response may report.
    pub(super) fn take_error_mask(&mut self) -> Option<Mask> {
        self.0.error_mask.take()
    }

    /// Waits for the first piece: until it is there, another provider can be asked instead. A body that
    /// ends without a piece is not an error here.
    pub(in crate::exchange) async fn begin(mut rest: Received) -> Result<Self, ExchangeError> {
        let next = std::future::poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await;
        let ended = next.is_none();
        let first = next.transpose()?;
        let mut begun = Self::from(rest);
        (begun.0.first, begun.0.ended) = (first, ended);
        Ok(begun)
    }

    /// Reads up to about `most` bytes, which are given once more to those who read on. Nothing is
    /// lost if the future is dropped before it is ready.
    pub(in crate::exchange) async fn peek(&mut self, most: usize) -> &[u8] {
        let parts = &mut *self.0;
        while parts.seen.len() < most {
            let next = std::future::poll_fn(|cx| parts.unseen(cx)).await;
            match next.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(piece))) => parts.seen.extend_from_slice(&piece),
                // Trailers are not passed on.
                Some(Ok(Err(_))) => {}
                Some(Err(error)) => {
                    parts.broken = Some(error);
                    break;
                }
                None => {
                    parts.ended = true;
                    break;
                }
            }
        }
        &parts.seen
    }

    /// Has `memory` count what was looked at for as long as any part of it is there.
    pub(in crate::exchange) fn count_seen(&mut self, memory: Hold) {
        let parts = &mut *self.0;
        if !parts.seen.is_empty() && parts.first.is_none() {
            let seen = memory.keep(parts.seen.split().freeze());
            parts.first = Some(Frame::data(seen));
        }
    }

    /// Reads all of it, up to `most` bytes, which `memory` counts and which are given once more to those who
    /// read on. They get what has come if it fails, and nothing after that.
    pub(in crate::exchange) async fn hold(
        &mut self,
        most: usize,
        idle: Duration,
        memory: &mut Hold,
    ) -> Result<Bytes, Unheld> {
        let parts = &mut *self.0;
        let mut whole = parts.seen.split();
        let read = parts.read(&mut whole, most, idle, memory).await;
        let whole = whole.freeze();
        (parts.first, parts.rest) = (Some(Frame::data(whole.clone())), None);
        parts.ended = true;
        read.map(|()| whole)
    }

    /// A successful body, without the credentials that it may quote in an error.
    pub(in crate::exchange) fn masked_error(&self, plain: Bytes) -> Bytes {
        match &self.0.error_mask {
            Some(mask) if RROR.find(&plain).is_some() => mask.whole(plain),
            _ => plain,
        }
    }

    /// Whether it has ended without a piece.
    pub(in crate::exchange) fn is_empty(&self) -> bool {
        self.0.ended && self.0.first.is_none() && self.0.seen.is_empty()
    }
}

impl From<Received> for Begun {
    fn from(rest: Received) -> Self {
        Self(Box::new(Parts {
            rest: Some(rest),
            ..Parts::default()
        }))
    }
}

/// A body that is there already.
impl From<Bytes> for Begun {
    fn from(whole: Bytes) -> Self {
        Self(Box::new(Parts {
            first: Some(Frame::data(whole)),
            ended: true,
            ..Parts::default()
        }))
    }
}

impl Begun {
    /// Has the names remembered of what the provider keeps.
    pub(in crate::exchange) fn remember(&mut self, remember: Remember) {
        self.0.remember = Some(Box::new(remember));
    }
}

impl Parts {
    /// Reads all that wasn't looked at yet.
    async fn read(
        &mut self,
        whole: &mut BytesMut,
        most: usize,
        idle: Duration,
        memory: &mut Hold,
    ) -> Result<(), Unheld> {
        loop {
            let next = std::future::poll_fn(|cx| self.unseen(cx));
            let next = within(idle, next).await.map_err(|_| Unheld::Silent)?;
            let piece = match next.map(|frame| frame.map(Frame::into_data)) {
                None => return Ok(()),
                Some(Err(error)) => return Err(Unheld::Broken(error.to_string())),
                // Trailers are not passed on.
                Some(Ok(Err(_))) => continue,
                Some(Ok(Ok(piece))) => piece,
            };
            let length = whole.len() + piece.len();
            if length > most {
                return Err(Unheld::TooLong);
            }
            let reserved = memory.reserve(weighed(length)).await;
            reserved.map_err(|_| Unheld::Full)?;
            whole.extend_from_slice(&piece);
        }
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
        let parts = &mut *self.get_mut().0;
        let next = ready!(parts.next(cx));
        if let (Some(remember), Some(Ok(frame))) = (&mut parts.remember, &next)
            && let Some(piece) = frame.data_ref()
        {
            remember.read(piece);
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        let parts = &*self.0;
        (parts.first.is_none() && parts.seen.is_empty() && parts.broken.is_none())
            && (parts.ended || parts.rest.as_ref().is_none_or(Body::is_end_stream))
    }
}
