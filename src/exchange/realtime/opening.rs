//! Opening a session: an exchange of its own, which costs nothing and connects one provider.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;
use http::request::Parts;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::surface;
use crate::base::clock::within;
use crate::exchange::attempts::{Ask, Outcome, Tries};
use crate::exchange::clear::Cleared;
use crate::exchange::ending::{Ended, Ending, Stage};
use crate::exchange::entry::Ticket;
use crate::exchange::failure::Failure;
use crate::exchange::fund::Funded;
use crate::exchange::refusal::Refused;
use crate::exchange::upstream::Socket;
use crate::exchange::websocket::{Caller, End, broke_off, received, verify};
use crate::exchange::{Gateway, Verified};
use crate::formats::Format;
use crate::formats::realtime::{Names, Realtime};
use crate::wire::{Mask, Rejection, Revocation};

/// A provider that is connected for a session.
pub(super) struct Link {
    pub(super) socket: Socket,
    /// Hides what its messages quote.
    pub(super) mask: Mask,
    /// What the session's model is called.
    pub(super) names: Arc<Names>,
    /// The session, as records name it.
    pub(super) session: String,
    /// Why the caller may no longer have it, once that is so.
    pub(super) revoked: Revocation,
}

/// What names the model.
pub(super) enum First<'c> {
    /// The request for the WebSocket.
    Head,
    /// The first message, which goes on to the provider.
    Message(&'c mut Caller),
}

impl Gateway {
    /// Opens a session at one of the providers of its model. What names the model is judged before any
    /// provider hears of it.
    pub(super) async fn link(
        &self,
        mut who: Verified,
        head: Arc<Parts>,
        format: &'static Format,
        realtime: &Realtime,
        first: First<'_>,
    ) -> Result<Link, Rejection> {
        let message = match first {
            First::Head => Bytes::new(),
            First::Message(caller) => {
                let message = self.first_message(caller).await?;
                verify(&mut who).await?;
                message
            }
        };
        let identified = self.identify(&who, &head.headers).await?;
        let surface = surface(realtime);
        let admitted = self
            .admit(Ticket::new(), who, identified, &head, surface, format)
            .await?;
        let routed = self.route(admitted, head, message);
        let routed = routed.map_err(Refused::record)?;
        let cleared = self.clear(routed).await;
        let mut cleared = cleared.map_err(Refused::record)?;
        let mut opening = Opening {
            gateway: self,
            sends: realtime.opens_with_message,
        };
        let mut tries = Tries::new();
        let (opened, _) = self.ask(&mut opening, &mut tries, &mut cleared).await;
        match opened {
            Ok((socket, mask)) => self.opened(cleared, socket, mask),
            Err(rejection) => Err(Refused::new(cleared.draft, Stage::Send, rejection).record()),
        }
    }

    fn opened(&self, mut cleared: Cleared, socket: Socket, mask: Mask) -> Result<Link, Rejection> {
        let revoked = self.watch(&cleared);
        let last = cleared.draft.attempts.last();
        let route = last.map(|last| last.route.clone());
        let route = route.ok_or_else(Rejection::panicked)?;
        let names = Names {
            asked: cleared.asked().call.model.clone(),
            served: route.model.clone(),
            provider: route.provider.id.clone(),
        };
        let session = cleared.draft.entry.session.to_string();
        cleared.draft.end(Ended::new(Ending::Complete));
        Ok(Link {
            socket,
            mask,
            names: Arc::new(names),
            session,
            revoked,
        })
    }

    /// The message that opens a session, which has as long to come as a request's head.
    async fn first_message(&self, caller: &mut Caller) -> Result<Bytes, Rejection> {
        let bad = |status, why: String| Rejection::new(status, "invalid_request", why);
        let limit = self.rules.borrow().file.timeouts.head;
        let first = async {
            loop {
                match received(caller.next().await, true) {
                    Ok(Some(text)) => return Ok(Bytes::from(text)),
                    Ok(None) => {}
                    Err(End::Close(CloseCode::Size, why)) => {
                        return Err(bad(StatusCode::PAYLOAD_TOO_LARGE, why));
                    }
                    Err(End::Close(_, why)) => return Err(bad(StatusCode::BAD_REQUEST, why)),
                    Err(End::Gone) => return Err(bad(StatusCode::BAD_REQUEST, String::new())),
                }
            }
        };
        within(limit, first).await.unwrap_or_else(|_| {
            let why = "no message came that opens the session".to_owned();
            Err(bad(StatusCode::REQUEST_TIMEOUT, why))
        })
    }
}

/// Asks providers for a session.
struct Opening<'g> {
    gateway: &'g Gateway,
    /// What the caller has sent first is sent first.
    sends: bool,
}

impl Ask for Opening<'_> {
    type Response = (Socket, Mask);

    async fn attempt(&mut self, mut funded: Funded<'_>, _: bool) -> Outcome<Self::Response> {
        let routing = funded.rules.file.routing;
        let gateway = self.gateway;
        let (mut socket, mask) = loop {
            match self.connect(&funded).await {
                Ok(connected) => break connected,
                Err(Failure::Declined { status, wait })
                    if gateway.has_other_key(&mut funded, status, || wait) => {}
                Err(failure) => {
                    funded.attempt.fail(&failure, &routing);
                    return Outcome::failed(&failure, &funded.route().provider.id);
                }
            }
        };
        if let Some(request) = funded.attempt.in_flight() {
            request.answering(&routing);
        }
        funded.attempt.ask();
        if self.sends {
            let sent = gateway.upstream.send_frame(&funded, &mut socket).await;
            if sent.is_err() {
                let why = "it closed the connection before the first message".to_owned();
                let failure = Failure::Unreachable { why, sent: true };
                funded.attempt.fail(&failure, &routing);
                return Outcome::Failed {
                    why: failure.of(&funded.route().provider.id),
                    is_unsent: false,
                    instead: Err(broke_off()),
                };
            }
        }
        funded.entry.status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
        funded.entry.overhead_ms = Some(funded.attempt.before_ms);
        Outcome::Answered((socket, mask))
    }
}

impl Opening<'_> {
    async fn connect(&self, funded: &Funded<'_>) -> Result<(Socket, Mask), Failure> {
        let upstream = &self.gateway.upstream;
        let handshake = upstream.handshake(funded).await?;
        upstream.socket(&handshake, self.gateway.bounds()).await
    }
}
