//! Sessions: WebSockets on which a caller and a model talk at any time, as the realtime API of OpenAI and the
//! live API of Gemini have them.
//!
//! ```text
//! opening   the request, or the first message: grant, guards, hooks ─▶ a connection to one provider
//! message   guards and hooks judge what a model will read; it goes on, and belongs to the next turn
//! turn      admit ─▶ route ─▶ clear ─▶ fund ─▶ events ─▶ settle, asked for or begun by the provider
//! ```
//!
//! The opening and each turn are exchanges with a record. A session keeps its provider, which has the
//! conversation.

mod journal;
mod judging;
mod opening;
mod serving;
mod session;
mod turn;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;

use self::journal::Journal;
use self::opening::{First, Link};
use self::session::Session;
use super::context::{Surface, head_of};
use super::websocket::acknowledged;
use super::{Gateway, Verified};
use crate::formats::realtime::Realtime;
use crate::formats::{Format, Sound, Tokens};
use crate::wire::{Body, Rejection, body, headers, hops};

/// A session that a caller has asked for.
pub struct PendingSession {
    format: &'static Format,
    realtime: Realtime,
    who: Verified,
    head: Arc<Parts>,
    upgrade: OnUpgrade,
    /// The provider, unless the first message names the model.
    link: Option<Link>,
}

impl Gateway {
    /// Answers the request for a session: with 101 once a provider is connected, if the request names the
    /// model, or with a refusal.
    pub async fn open_session(
        &self,
        format: &'static Format,
        realtime: Realtime,
        who: Verified,
        mut request: Request<Incoming>,
    ) -> (Response<Body>, Option<PendingSession>) {
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, _) = request.into_parts();
        let head = Arc::new(head);
        let opened = self.accept_session(format, &realtime, &who, &head).await;
        match opened {
            Ok((response, link)) => {
                let pending = PendingSession {
                    format,
                    realtime,
                    who,
                    head,
                    upgrade,
                    link,
                };
                (response, Some(pending))
            }
            Err(rejection) => (format.refuse(&rejection), None),
        }
    }

    async fn accept_session(
        &self,
        format: &'static Format,
        realtime: &Realtime,
        who: &Verified,
        head: &Arc<Parts>,
    ) -> Result<(Response<Body>, Option<Link>), Rejection> {
        hops::check(&head.headers)?;
        // What leads past the gateway is refused with the reason.
        if (format.recognises)(head.uri.path()) {
            format.read(&head_of(head), Bytes::new())?;
        }
        let mut response = handshake(head)?;
        if let Some(protocol) = headers::subprotocol(&head.headers) {
            let name = header::SEC_WEBSOCKET_PROTOCOL;
            response.headers_mut().insert(name, protocol);
        }
        if realtime.opens_with_message {
            self.has_model(realtime, who)?;
            return Ok((response, None));
        }
        let link = self.link(who.clone(), Arc::clone(head), format, realtime, First::Head);
        let link = Box::pin(link).await?;
        match acknowledged(self).await {
            None => Ok((response, Some(link))),
            Some(_) => Err(Rejection::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger_unavailable",
                "requests cannot be recorded right now",
            )),
        }
    }

    /// Sees that the caller may use some model of which sessions can be opened.
    fn has_model(&self, realtime: &Realtime, who: &Verified) -> Result<(), Rejection> {
        let rules = self.rules.borrow().clone();
        let permit = rules.access.cached_permit(&who.caller);
        let permit = permit.map_err(|none| none.rejection(&who.caller))?;
        let mut models = rules.routes.models(&permit);
        if models.any(|model| model.provider.flags.contains(&realtime.flag)) {
            return Ok(());
        }
        Err(Rejection::new(
            StatusCode::NOT_FOUND,
            "model_not_found",
            format!(
                "no model that you may use can be asked in this API: its provider needs \"{}\": true in \
                 `compatibility`",
                realtime.flag
            ),
        ))
    }

    /// Serves a session to its end. Once `stop` is cancelled it ends with the turn that runs.
    pub async fn serve_session(&self, pending: PendingSession, stop: CancellationToken) {
        let upgraded = match pending.upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "a WebSocket was not opened");
                return;
            }
        };
        let mut caller = self.caller(upgraded).await;
        let link = if let Some(link) = pending.link {
            link
        } else {
            let (who, head) = (pending.who.clone(), Arc::clone(&pending.head));
            let first = First::Message(&mut caller);
            let opening = self.link(who, head, pending.format, &pending.realtime, first);
            let opened = tokio::select! {
                opened = Box::pin(opening) => Some(opened),
                () = stop.cancelled() => None,
            };
            match opened {
                Some(Ok(link)) => link,
                Some(Err(rejection)) => {
                    session::refuse(&mut caller, pending.format, &rejection).await;
                    return;
                }
                None => {
                    session::close(&mut caller, CloseCode::Restart, session::STOPS).await;
                    return;
                }
            }
        };
        let session = Session {
            gateway: self,
            format: pending.format,
            realtime: pending.realtime,
            who: pending.who,
            head: pending.head,
            caller,
            link,
            turns: Vec::new(),
            journal: Journal::default(),
            reasons: Vec::new(),
            hears_with: None,
            held_tokens: 0,
            sound: Sound {
                held_tokens: 0,
                may_answer: true,
            },
            charged: Tokens::default(),
            late_until: Instant::now(),
            heard: Instant::now(),
            stop,
        };
        Box::pin(session.serve()).await;
    }
}

/// How sessions of a format come.
fn surface(realtime: &Realtime) -> Surface {
    Surface::WebSocket {
        flag: realtime.flag,
    }
}

/// The answer to a request for a WebSocket.
fn handshake(head: &Parts) -> Result<Response<Body>, Rejection> {
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers.clone();
    create_response_with_body(&request, body::empty).map_err(|error| {
        let why = format!("invalid request for a WebSocket: {error}");
        Rejection::new(StatusCode::BAD_REQUEST, "invalid_request", why)
    })
}
