//! Model requests over a WebSocket, as Codex makes them: each text frame that asks for an answer
//! is a request of its own, with its grant, its route and its record. The frames of the answer
//! are relayed as they come.

mod asking;
mod continued;
mod pace;
mod relayed;
mod running;
mod session;
mod shared;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;

use self::pace::Paced;
pub(super) use self::running::{Parts as TurnParts, Running};
use self::session::Session;
pub(super) use self::shared::{
    Caller, End, FAREWELL, Frame, acknowledged, broke_off, counted, masked, received, silent,
    verify,
};
use super::context::Surface;
use super::{Gateway, Verified};
use crate::formats::Format;
use crate::policy::route::{Evidence, Fit, Provider, Traffic};
use crate::wire::{Body, Rejection, body, headers, hops};

/// A WebSocket that a caller has asked for.
pub struct Pending {
    format: &'static Format,
    surface: Surface,
    who: Verified,
    head: Parts,
    upgrade: OnUpgrade,
}

impl Gateway {
    /// Answers the request for a WebSocket: with 101, and what [`Gateway::serve_socket`] then
    /// has to serve, or with a refusal. If no provider takes WebSockets, or none of the model that the
    /// handshake names, the caller is told to use requests instead (426).
    pub fn open_socket(
        &self,
        format: &'static Format,
        who: Verified,
        mut request: Request<Incoming>,
    ) -> (Response<Body>, Option<Pending>) {
        match self.accept_socket(format, &who, &request) {
            Ok((response, surface)) => {
                let upgrade = hyper::upgrade::on(&mut request);
                let pending = Pending {
                    format,
                    surface,
                    who,
                    head: request.into_parts().0,
                    upgrade,
                };
                (response, Some(pending))
            }
            Err(rejection) => {
                let mut response = format.refuse(&rejection);
                if format.socket.is_some() && rejection.status == StatusCode::UPGRADE_REQUIRED {
                    let requests = HeaderValue::from_static("HTTP/1.1");
                    response.headers_mut().insert(header::UPGRADE, requests);
                }
                (response, None)
            }
        }
    }

    fn accept_socket(
        &self,
        format: &Format,
        who: &Verified,
        request: &Request<Incoming>,
    ) -> Result<(Response<Body>, Surface), Rejection> {
        let no_socket = |of: &str| {
            let why = format!("no provider {of} takes WebSockets: send POST requests instead");
            Rejection::new(StatusCode::UPGRADE_REQUIRED, "no_websocket", why)
        };
        let of_any = "that you may use";
        let socket = format.socket.ok_or_else(|| no_socket(of_any))?;
        let flag = socket.flag.name;
        hops::check(request.headers())?;
        let rules = self.rules.borrow().clone();
        let permit = rules.access.cached_permit(&who.caller);
        let permit = permit.map_err(|none| none.rejection(&who.caller))?;
        let mut models = rules.routes.models(&permit);
        if !models.any(|model| model.provider.flags.contains(&flag)) {
            return Err(no_socket(of_any));
        }
        if let Some(model) = (socket.model)(request.headers()) {
            let evidence = Evidence {
                traffic: &Traffic::default(),
                conversation: None,
                holder: None,
            };
            let takes = |provider: &Provider| provider.flags.contains(&flag).then_some(Fit::Native);
            let (routes, fits) = (&rules.routes, |provider: &Provider| provider.fit(format));
            let over_socket = routes.select(&permit, &model, &takes, evidence);
            // A model that can't be asked for in any way is refused by its first frame.
            if over_socket.is_err() && routes.select(&permit, &model, &fits, evidence).is_ok() {
                return Err(no_socket(&format!("of {model:?}")));
            }
        }
        let mut response = create_response_with_body(request, body::empty).map_err(|error| {
            let why = format!("invalid request for a WebSocket: {error}");
            Rejection::new(StatusCode::BAD_REQUEST, "invalid_request", why)
        })?;
        // Clients that offer some give up when none is taken.
        if let Some(protocol) = headers::subprotocol(request.headers()) {
            let name = header::SEC_WEBSOCKET_PROTOCOL;
            response.headers_mut().insert(name, protocol);
        }
        Ok((response, Surface::WebSocket { flag }))
    }

    /// Serves a WebSocket to its end. Once `stop` is cancelled it ends with the response that
    /// runs.
    pub async fn serve_socket(&self, pending: Pending, stop: CancellationToken) {
        let upgraded = match pending.upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "a WebSocket was not opened");
                return;
            }
        };
        let caller = self.caller(upgraded).await;
        Session {
            gateway: self,
            format: pending.format,
            surface: pending.surface,
            who: pending.who,
            head: Arc::new(pending.head),
            caller,
            upstream: None,
            running: None,
            relayed: None,
            last: None,
            stop,
        }
        .serve()
        .await;
    }

    /// A caller's end of a WebSocket.
    pub(super) async fn caller(&self, upgraded: Upgraded) -> Caller {
        let io = Paced::new(TokioIo::new(upgraded), self.rules.borrow().body_idle);
        Caller::from_raw_socket(io, Role::Server, Some(self.bounds())).await
    }

    pub(super) fn bounds(&self) -> WebSocketConfig {
        let limit = Some(self.rules.borrow().request_body);
        WebSocketConfig::default()
            .max_message_size(limit)
            .max_frame_size(limit)
    }
}
