//! A WebSocket to a provider, opened over HTTP/1.1 with the same connection, credential and
//! headers as a request.

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::send::{Failure, Upstream, failure};
use crate::access::Permit;
use crate::clock::within;
use crate::route::Route;
use crate::wire::Mask;
use crate::wire::headers::{self, Passed};

/// An open WebSocket.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

impl Upstream {
    /// Opens a WebSocket at `path` of the route's provider; `from` is the caller's request. With it
    /// comes what hides the credentials that the provider was sent.
    ///
    /// # Errors
    /// [`Failure`], also when the provider answers with anything but a WebSocket.
    pub async fn socket(
        &self,
        route: &Route,
        permit: &Permit,
        from: &Passed,
        path: &str,
        config: WebSocketConfig,
    ) -> Result<(Socket, Mask), Failure> {
        let provider = &route.provider;
        let unusable = |why: String| Failure::Misconfigured {
            provider: provider.id.clone(),
            why,
        };
        let uri = provider
            .url(path, None)
            .map_err(|error| unusable(error.to_string()))?;
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = uri;
        let (mut head, _) = self.dressed(route, permit, from).await?;
        // The caller's own handshake is with the gateway.
        headers::strip_hop_by_hop(&mut head);
        let key = generate_key();
        for (name, value) in [
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, key.as_str()),
        ] {
            let value = HeaderValue::from_str(value).map_err(|e| unusable(e.to_string()))?;
            head.insert(name, value);
        }
        if let Some(protocol) = &from.subprotocol {
            head.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        let mask = Mask::of(&head);
        *request.headers_mut() = head;
        let limit = self.timeouts().first_byte;
        let asked = self.sockets.of(provider.network).request(request);
        let response = within(limit, asked)
            .await
            .map_err(|_| Failure::TimedOut {
                provider: provider.id.clone(),
                within: limit,
            })?
            .map_err(|error| failure(&provider.id, &error))?;
        if !is_accepted(&response, &key) {
            return Err(Failure::Unreachable {
                provider: provider.id.clone(),
                why: format!("it answered {} instead of a WebSocket", response.status()),
                sent: true,
            });
        }
        let upgraded =
            hyper::upgrade::on(response)
                .await
                .map_err(|error| Failure::Unreachable {
                    provider: provider.id.clone(),
                    why: error.to_string(),
                    sent: true,
                })?;
        let io = TokioIo::new(upgraded);
        let socket = Socket::from_raw_socket(io, Role::Client, Some(config)).await;
        Ok((socket, mask))
    }
}

/// Whether the provider agreed (RFC 6455, section 4.1).
fn is_accepted(response: &Response<Incoming>, key: &str) -> bool {
    let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        && accept.is_some_and(|value| value == derive_accept_key(key.as_bytes()).as_str())
}
