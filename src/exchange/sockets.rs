//! WebSockets of both kinds: those whose frames are requests, and sessions.

use http::{Request, Response};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::realtime::PendingSession;
use super::websocket::Pending;
use super::{Gateway, Verified};
use crate::formats::Format;
use crate::wire::Body;

/// A WebSocket that a caller has asked for and that has to be served.
pub enum PendingSocket {
    /// Its frames are requests.
    Requests(Box<Pending>),
    /// It is a session.
    Session(Box<PendingSession>),
}

impl Gateway {
    /// Answers the request for a WebSocket in a format: with 101, and what [`Gateway::serve_any`] then has to
    /// serve, or with a refusal.
    pub async fn open_any(
        &self,
        format: &'static Format,
        who: Verified,
        request: Request<Incoming>,
    ) -> (Response<Body>, Option<PendingSocket>) {
        match format.realtime {
            None => {
                let (response, pending) = self.open_socket(format, who, request);
                (
                    response,
                    pending.map(|pending| PendingSocket::Requests(Box::new(pending))),
                )
            }
            Some(realtime) => {
                let opening = self.open_session(format, realtime, who, request);
                let (response, pending) = Box::pin(opening).await;
                let pending = pending.map(|pending| PendingSocket::Session(Box::new(pending)));
                (response, pending)
            }
        }
    }

    /// Serves a WebSocket to its end. Once `stop` is cancelled it ends with the response that runs.
    pub async fn serve_any(&self, pending: PendingSocket, stop: CancellationToken) {
        match pending {
            PendingSocket::Requests(pending) => self.serve_socket(*pending, stop).await,
            PendingSocket::Session(pending) => self.serve_session(*pending, stop).await,
        }
    }
}
