//! Model requests over a WebSocket, as Codex makes them: each text frame that asks for an answer
//! is a request of its own, with its grant, its route and its record. The frames of the answer
//! are relayed as they come.

mod asking;
mod pace;
mod running;
mod session;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;

use self::pace::Paced;
use self::session::{Caller, Session};
use super::context::{Formats, Surface};
use super::{Gateway, Verified};
use crate::formats::Format;
use crate::wire::{Body, Rejection, body, headers, hops};

/// A WebSocket that a caller has asked for.
pub struct Pending {
    api: &'static Format,
    flag: &'static str,
    who: Verified,
    head: Parts,
    upgrade: OnUpgrade,
}

impl Gateway {
    /// Answers the request for a WebSocket: with 101, and what [`Gateway::serve_socket`] then
    /// has to serve, or with a refusal. Who finds no provider that takes WebSockets is told to
    /// use requests instead (426).
    pub fn open_socket<B>(
        &self,
        api: &'static Format,
        who: Verified,
        mut request: Request<B>,
    ) -> (Response<Body>, Option<Pending>) {
        let Some(flag) = api.socket.map(|socket| socket.flag.name) else {
            return (api.refuse(&no_socket()), None);
        };
        if let Err(rejection) = hops::check(request.headers()) {
            return (api.refuse(&rejection), None);
        }
        let rules = self.rules.borrow().clone();
        let permit = match rules.access.cached_permit(&who.caller) {
            Ok(permit) => permit,
            Err(none) => return (api.refuse(&none.rejection(&who.caller)), None),
        };
        let takes = |route: &crate::policy::route::Provider| route.flags.contains(&flag);
        if !rules
            .routes
            .models(&permit)
            .any(|found| takes(found.provider))
        {
            let mut response = api.refuse(&no_socket());
            let headers = response.headers_mut();
            headers.insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
            return (response, None);
        }
        let mut response = match create_response_with_body(&request, body::empty) {
            Ok(response) => response,
            Err(error) => {
                let why = format!("invalid request for a WebSocket: {error}");
                let rejection = Rejection::new(StatusCode::BAD_REQUEST, "invalid_request", why);
                return (api.refuse(&rejection), None);
            }
        };
        // Clients that offer some give up when none is taken.
        if let Some(protocol) = headers::subprotocol(request.headers()) {
            let name = header::SEC_WEBSOCKET_PROTOCOL;
            response.headers_mut().insert(name, protocol);
        }
        let upgrade = hyper::upgrade::on(&mut request);
        let pending = Pending {
            api,
            flag,
            who,
            head: request.into_parts().0,
            upgrade,
        };
        (response, Some(pending))
    }

    /// Serves a WebSocket to its end. Once `stop` is cancelled it ends with the answer that is
    /// in the making.
    pub async fn serve_socket(&self, pending: Pending, stop: CancellationToken) {
        let upgraded = match pending.upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "a WebSocket was not opened");
                return;
            }
        };
        let io = Paced::new(TokioIo::new(upgraded), self.rules.borrow().body_idle);
        let caller = Caller::from_raw_socket(io, Role::Server, Some(self.bounds())).await;
        Session {
            gateway: self,
            formats: Formats::both(pending.api),
            surface: Surface::WebSocket { flag: pending.flag },
            who: pending.who,
            head: Arc::new(pending.head),
            caller,
            upstream: None,
            running: None,
            stop,
        }
        .serve()
        .await;
    }

    fn bounds(&self) -> WebSocketConfig {
        let limit = Some(self.rules.borrow().request_body);
        WebSocketConfig::default()
            .max_message_size(limit)
            .max_frame_size(limit)
    }
}

fn no_socket() -> Rejection {
    Rejection::new(
        StatusCode::UPGRADE_REQUIRED,
        "no_websocket",
        "no provider that you may use takes WebSockets: send POST requests instead",
    )
}
