//! Opening a connection: what it takes to speak HTTP/1.1 or HTTP/2 on it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::Origin;
use super::error::{HEAD_BYTES, HEAD_FIELDS};
use crate::net::client::connect::{Connector, Upstreamed};
use crate::net::client::connect_error::ConnectError;
use crate::net::client::used::Used;

pub(super) use crate::net::client::connect::Forward;

/// Bytes of an answer over HTTP/2 that are read before its caller has taken those before them.
const STREAM_WINDOW: u32 = 256 << 10;
/// Requests that share a connection, if the server allows more: they also share a window.
pub(super) const STREAMS: u32 = 512;
/// For all of a connection together: so much that callers who read slowly can't use it up for the
/// others.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
/// Stands for a number of requests that the server has not told yet; none can tell it.
const UNTOLD: usize = usize::MAX - 1;

/// A connection of HTTP/1.1, which one request at a time uses.
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<Full<Bytes>>,
    pub(super) used: Used,
    /// A proxy at its end forwards requests.
    pub(super) forward: Option<Forward>,
    /// Since when it is idle.
    pub(super) since: Instant,
}

/// A connection of HTTP/2, which requests share.
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<Full<Bytes>>,
    pub(super) driven: Driven,
    pub(super) used: Used,
}

pub(super) enum Opened {
    Http1(Http1),
    Http2(Http2),
}

type Connection = http2::Connection<Upstreamed, Full<Bytes>, TokioExecutor>;

/// A connection of HTTP/2 that a task drives, and that others may ask for its limit.
pub(super) struct Driven(Arc<Mutex<Option<Connection>>>);

impl Driven {
    fn spawn(connection: Connection) -> Self {
        let driven = Arc::new(Mutex::new(Some(connection)));
        let connection = Arc::clone(&driven);
        tokio::spawn(async move {
            let ended = poll_fn(|cx| {
                let mut slot = connection.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(connection) = &mut *slot else {
                    return Poll::Ready(Ok(()));
                };
                let ended = ready!(Pin::new(connection).poll(cx));
                // Requests that it has not begun come back only when it is dropped.
                *slot = None;
                Poll::Ready(ended)
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "a connection of HTTP/2 has ended");
            }
        });
        Self(driven)
    }

    /// Requests that the server allows at once, once it has said so.
    pub(super) fn allowed(&self) -> Option<usize> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = connection
            .as_ref()
            .map(Connection::current_max_send_streams);
        told.filter(|most| *most != UNTOLD)
    }
}

/// Opens a connection.
pub(super) async fn open(connector: &Connector, origin: &Origin) -> Result<Opened, ConnectError> {
    let uri = http::Uri::builder()
        .scheme(origin.0.clone())
        .authority(origin.1.clone())
        .path_and_query("/")
        .build()
        .map_err(|_| ConnectError::Impossible("the URL has no host"))?;
    let io = connector.open_in_time(uri).await?;
    let used = io.used();
    if io.is_http2() {
        // Half of the time for silence, half for the reply to the question whether it lives.
        let half = connector.silence() / 2;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(UNTOLD)
            .max_header_list_size(HEAD_BYTES)
            .keep_alive_interval(half)
            .keep_alive_timeout(half)
            .handshake(io)
            .await
            .map_err(ConnectError::Protocol)?;
        let driven = Driven::spawn(connection);
        return Ok(Opened::Http2(Http2 {
            sender,
            driven,
            used,
        }));
    }
    let forward = io.forward();
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES as usize)
        .max_headers(HEAD_FIELDS)
        .handshake(io)
        .await
        .map_err(ConnectError::Protocol)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection of HTTP/1.1 has ended");
        }
    });
    Ok(Opened::Http1(Http1 {
        sender,
        used,
        forward,
        since: Instant::now(),
    }))
}
