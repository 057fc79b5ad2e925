//! The body of a response, which keeps its connection, or its place on a shared one, until it has ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Inner;
use super::error::ExchangeError;
use super::kept::Slot;
use super::open::{Http1, Server};
use crate::net::client::http1;

/// The body of a provider's response.
pub struct Received(Kind);

enum Kind {
    Http1 {
        body: http1::Body,
        home: Option<Home>,
    },
    Http2 {
        body: Incoming,
        slot: Option<Slot>,
    },
}

/// Where a connection of HTTP/1.1 goes once its response is over.
pub(super) struct Home {
    pub(super) pool: Arc<Inner>,
    pub(super) server: Arc<Server>,
}

impl Received {
    /// A body that has a connection for itself.
    pub(super) fn alone(body: http1::Body, home: Home) -> Self {
        let mut kind = Kind::Http1 {
            body,
            home: Some(home),
        };
        kind.give_back();
        Self(kind)
    }

    /// A body that others share the connection with.
    pub(super) fn shared(body: Incoming, slot: Slot) -> Self {
        let slot = (!body.is_end_stream()).then_some(slot);
        Self(Kind::Http2 { body, slot })
    }

    /// The connection, if the server has agreed to another protocol.
    #[must_use]
    pub fn into_upgraded(mut self) -> Option<http1::Upgraded> {
        match &mut self.0 {
            Kind::Http1 { body, .. } => body.take_upgraded(),
            Kind::Http2 { .. } => None,
        }
    }
}

impl Kind {
    /// Keeps the connection for other requests, if the response is over.
    fn give_back(&mut self) {
        let Self::Http1 { body, home } = self else {
            return;
        };
        if let Some(connection) = body.take_free()
            && let Some(home) = home.take()
        {
            home.pool.keep(Http1::free(connection, home.server));
        }
    }
}

impl Drop for Received {
    /// A body that nobody is interested in may have come to its end already.
    fn drop(&mut self) {
        if let Kind::Http1 { body, .. } = &mut self.0
            && tokio::runtime::Handle::try_current().is_ok()
        {
            body.skip();
            self.0.give_back();
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = ExchangeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        match &mut self.0 {
            Kind::Http1 { body, .. } => {
                let next = ready!(body.poll_piece(cx));
                if body.is_ended() {
                    self.0.give_back();
                }
                Poll::Ready(next.map(|next| next.map(Frame::data).map_err(Into::into)))
            }
            Kind::Http2 { body, slot } => {
                let next = ready!(Pin::new(&mut *body).poll_frame(cx));
                if matches!(next, None | Some(Err(_))) || body.is_end_stream() {
                    *slot = None;
                }
                Poll::Ready(next.map(|next| next.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Http1 { body, .. } => body.is_ended(),
            Kind::Http2 { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Http1 { body, .. } => body.size_hint(),
            Kind::Http2 { body, .. } => body.size_hint(),
        }
    }
}
