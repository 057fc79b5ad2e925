//! A WebSocket to a provider, opened over HTTP/1.1 with the same connection, credential and
//! headers as a request.

use futures_util::SinkExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::limits::asked_wait;
use super::send::{Failure, Upstream, failure};
use crate::base::clock::within;
use crate::config::{Certificates, Network, Proxying};
use crate::exchange::fund::Funded;
use crate::exchange::lists;
use crate::net::client::{Received, Reuse, Way};
use crate::wire::{Mask, headers};

/// An open WebSocket.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How a WebSocket is opened: where, with which credential and headers. A connection may be used
/// for another request only if that one would be opened in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    provider: String,
    fingerprint: u64,
    network: Network,
    ca: Option<Certificates>,
    proxy: Proxying,
    uri: Uri,
    headers: HeaderMap,
}

/// Why a frame was not sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The provider has closed the connection.
    BrokeOff,
    /// The provider reads nothing.
    Silent,
}

impl Upstream {
    /// How a WebSocket for a frame that is paid for is opened.
    ///
    /// # Errors
    /// [`Failure`] when the configuration makes no valid request, or there is no credential.
    pub async fn handshake(&self, funded: &Funded<'_>) -> Result<Handshake, Failure> {
        let provider = &funded.route().provider;
        let from = &lists::headers(funded.formats.served, provider, &funded.head.headers);
        let uri = provider
            .url(&funded.outbound().path, None)
            .map_err(|error| Failure::Misconfigured {
                provider: provider.id.clone(),
                why: error.to_string(),
            })?;
        let (mut headers, _) = self.dressed(funded, from).await?;
        // The caller's own handshake is with the gateway.
        headers::strip_hop_by_hop(&mut headers);
        if let Some(protocol) = &from.subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        if let Some(via) = &from.via {
            headers.insert(header::VIA, via.clone());
        }
        Ok(Handshake {
            provider: provider.id.clone(),
            fingerprint: provider.fingerprint(),
            network: provider.network,
            ca: provider.ca.clone(),
            proxy: provider.proxy.clone(),
            uri,
            headers,
        })
    }

    /// Sends the frame that is paid for. Errors are those of its connection.
    ///
    /// # Errors
    /// [`Unsent`] when it was not taken.
    pub async fn send_frame(&self, funded: &Funded<'_>, socket: &mut Socket) -> Result<(), Unsent> {
        let limit = self.timeouts().first_byte;
        let body = funded.outbound().body.to_vec();
        let frame = Utf8Bytes::from(String::from_utf8(body).unwrap_or_default());
        match within(limit, socket.send(Message::Text(frame))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Unsent::BrokeOff),
            Err(_) => Err(Unsent::Silent),
        }
    }

    /// Opens a WebSocket. With it comes what hides the credentials that the provider was sent.
    ///
    /// # Errors
    /// [`Failure`], also when the provider answers with anything but a WebSocket.
    pub async fn socket(
        &self,
        handshake: &Handshake,
        config: WebSocketConfig,
    ) -> Result<(Socket, Mask), Failure> {
        let provider = &handshake.provider;
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = handshake.uri.clone();
        let mut head = handshake.headers.clone();
        let key = generate_key();
        for (name, value) in [
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, key.as_str()),
        ] {
            let value = HeaderValue::from_str(value).map_err(|error| Failure::Misconfigured {
                provider: provider.clone(),
                why: error.to_string(),
            })?;
            head.insert(name, value);
        }
        let mask = Mask::of(&head);
        *request.headers_mut() = head;
        let limit = self.timeouts().first_byte;
        let way = Way {
            network: handshake.network,
            proxy: &handshake.proxy,
            ca: handshake.ca.as_ref(),
        };
        let pool = self.client.socket_pool(way, handshake.fingerprint);
        let response = within(limit, pool.request(request, Reuse::Never))
            .await
            .map_err(|_| Failure::TimedOut {
                provider: provider.clone(),
                within: limit,
            })?
            .map_err(|unanswered| failure(provider, &unanswered.error))?;
        let unreachable = |why: String| Failure::Unreachable {
            provider: provider.clone(),
            why,
            sent: true,
        };
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(Failure::Declined {
                provider: provider.clone(),
                status,
                wait: asked_wait(response.headers(), Timestamp::now()),
            });
        }
        if !is_accepted(&response, &key) {
            let why = format!("it answered {} instead of a WebSocket", response.status());
            return Err(unreachable(why));
        }
        let upgraded = hyper::upgrade::on(response)
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let io = TokioIo::new(upgraded);
        let socket = Socket::from_raw_socket(io, Role::Client, Some(config)).await;
        Ok((socket, mask))
    }
}

/// Whether the provider agreed (RFC 6455, section 4.1).
fn is_accepted(response: &Response<Received>, key: &str) -> bool {
    let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        && accept.is_some_and(|value| value == derive_accept_key(key.as_bytes()).as_str())
}
