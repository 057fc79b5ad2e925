//! A WebSocket to a provider, opened over HTTP/1.1 with the same connection, credential and
//! headers as a request.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::SinkExt;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use jiff::Timestamp;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::limits::asked_wait;
use super::send::{Upstream, failure, misconfigured};
use crate::base::clock::within;
use crate::exchange::failure::Failure;
use crate::exchange::fund::Funded;
use crate::exchange::lists;
use crate::formats::known;
use crate::formats::realtime::Realtime;
use crate::net::client::{Received, Reuse, Upgraded};
use crate::policy::route::Provider;
use crate::wire::{Mask, headers};

/// An open WebSocket.
pub type Socket = WebSocketStream<Upgraded>;

/// How a WebSocket is opened: where, with which credential and headers. A connection may be used
/// for another request only if that one would be opened in the same way.
#[derive(Clone)]
pub(crate) struct Handshake {
    provider: Arc<Provider>,
    uri: Uri,
    headers: HeaderMap,
}

impl Handshake {
    /// Whether both are opened in the same way.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.provider.id == other.provider.id)
            && self.provider.fingerprint() == other.provider.fingerprint()
            && (&self.uri, &self.headers) == (&other.uri, &other.headers)
    }
}

/// Why a frame was not sent.
#[derive(Debug)]
pub enum Unsent {
    /// The provider has closed the connection.
    BrokeOff,
    /// The provider reads nothing.
    Silent,
}

impl Upstream {
    /// How a WebSocket for a frame that is paid for is opened.
    pub(crate) async fn handshake(&self, funded: &Funded<'_>) -> Result<Handshake, Failure> {
        let provider = &funded.route().provider;
        let own = funded.attempt.own_credential;
        let from = lists::headers(funded.format, provider, &funded.head.headers, own);
        let realtime = funded.format.realtime;
        let query = realtime.and_then(|realtime| query(&realtime, funded));
        let uri = provider.url(
            &funded.outbound().path,
            &funded.route().model,
            query.as_deref(),
        );
        let uri = uri.map_err(misconfigured)?;
        let (mut headers, _) = self.dressed(funded, from.headers).await?;
        // The caller's own handshake is with the gateway.
        headers::strip_hop_by_hop(&mut headers);
        if let Some(realtime) = realtime {
            // Subprotocols are for browsers, which can't send headers.
            if let Some((name, value)) = (realtime.version)(&funded.head.headers) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        } else if let Some(protocol) = headers::subprotocol(&funded.head.headers) {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        if let Some(via) = from.via {
            headers.insert(header::VIA, via);
        }
        Ok(Handshake {
            provider: Arc::clone(provider),
            uri,
            headers,
        })
    }

    /// Sends the frame that is paid for. Errors are those of its connection.
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
    pub(crate) async fn socket(
        &self,
        handshake: &Handshake,
        config: WebSocketConfig,
    ) -> Result<(Socket, Mask), Failure> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = handshake.uri.clone();
        let mut head = handshake.headers.clone();
        let key = generate_key();
        for (name, value) in [
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, key.as_str()),
        ] {
            let value = HeaderValue::from_str(value).map_err(misconfigured)?;
            head.insert(name, value);
        }
        let mask = Mask::of(&head);
        *request.headers_mut() = head;
        let limit = self.timeouts().first_byte;
        let pool = self.client.socket_pool(&handshake.provider);
        let response = within(limit, pool.request(&request, Reuse::Never)).await;
        let response = response.map_err(|_| Failure::TimedOut(limit))?;
        let response = response.map_err(|unanswered| failure(&unanswered.error))?;
        let unreachable = |why| Failure::Unreachable { why, sent: true };
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            let wait = asked_wait(response.headers(), Timestamp::now());
            return Err(Failure::Declined { status, wait });
        }
        if !is_accepted(&response, &key) {
            let why = format!("it answered {status} instead of a WebSocket");
            return Err(unreachable(why));
        }
        let upgraded = response.into_body().into_upgraded();
        let upgraded = upgraded.ok_or_else(|| unreachable("it is no WebSocket".to_owned()))?;
        let socket = Socket::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        Ok((socket, mask))
    }
}

/// The query for a session: its model, and what passes of the caller's.
fn query(realtime: &Realtime, funded: &Funded<'_>) -> Option<String> {
    let route = funded.route();
    let passed = known::passed_query(
        funded.format.known,
        &route.provider.pass_query,
        funded.head.uri.query(),
    );
    let parts = [(realtime.query)(&route.model), passed];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("&"))
}

/// Whether the provider agreed (RFC 6455, section 4.1).
fn is_accepted(response: &Response<Received>, key: &str) -> bool {
    let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        && accept.is_some_and(|value| value == derive_accept_key(key.as_bytes()).as_str())
}
