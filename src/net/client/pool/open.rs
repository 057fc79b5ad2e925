//! Opening a connection: what it takes to speak HTTP/1.1 or HTTP/2 on it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::Origin;
use crate::net::client::connect::{self, Connector, Io};
use crate::net::client::connect_error::ConnectError;
use crate::net::client::http1::{Connection, HEAD_BYTES};

pub(super) use crate::net::client::connect::Forward;

/// Bytes of a response over HTTP/2 that are read before its caller has taken those before them.
const STREAM_WINDOW: u32 = 256 << 10;
/// Requests that share a connection, if the server allows more: they also share a window.
const STREAMS: u32 = 512;
/// For all of a connection together: so much that callers who read slowly can't use it up for the
/// others.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
/// How often it is looked whether a server has said how many requests it allows at once.
const LOOK: Duration = Duration::from_millis(2);
/// Stands for a limit of requests that the server has not sent yet; no server can send this one.
const UNANNOUNCED: usize = usize::MAX - 1;

/// The other end of a connection of HTTP/1.1.
pub(super) struct Server {
    pub(super) origin: Origin,
    /// A proxy there forwards requests.
    pub(super) forward: Option<Forward>,
}

/// A connection of HTTP/1.1, which one request at a time uses.
pub(super) struct Http1 {
    pub(super) connection: Box<Connection>,
    /// Where it leads.
    pub(super) to: Arc<Server>,
    /// Since when it is idle.
    pub(super) since: Instant,
}

impl Http1 {
    /// A connection that is free from now on.
    pub(super) fn free(connection: Box<Connection>, to: Arc<Server>) -> Self {
        Self {
            connection,
            to,
            since: Instant::now(),
        }
    }
}

/// A connection of HTTP/2, which requests share.
pub(super) struct Shared {
    pub(super) sender: http2::SendRequest<Full<Bytes>>,
    driven: Driven,
    /// A response has begun on it.
    pub(super) has_responded: AtomicBool,
    /// Requests that run on it, and since when that number is what it is.
    pub(super) running: AtomicUsize,
    pub(super) since: Mutex<Instant>,
}

impl Shared {
    /// Requests that may run on it at once: one, until the server has said how many.
    pub(super) fn most(&self) -> usize {
        self.driven
            .allowed()
            .map_or(1, |most| most.min(STREAMS as usize))
    }

    /// Waits until the server has said how many requests it allows, which takes a round trip.
    pub(super) async fn settled(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.driven.allowed().is_none() && !self.is_closed() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        (self.running.load(Ordering::Acquire) == 0).then_some(*since)
    }
}

pub(super) enum Opened {
    Http1(Http1),
    Http2(Arc<Shared>),
}

type Http2 = http2::Connection<TokioIo<Box<dyn Io>>, Full<Bytes>, TokioExecutor>;

/// A connection of HTTP/2 that a task drives, and that others may ask for its limit.
struct Driven(Arc<Mutex<Option<Http2>>>);

impl Driven {
    fn spawn(connection: Http2) -> Self {
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
    fn allowed(&self) -> Option<usize> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = connection.as_ref().map(Http2::current_max_send_streams);
        limit.filter(|most| *most != UNANNOUNCED)
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
    let connect::Opened {
        io,
        is_http2,
        forward,
    } = connector.open_in_time(uri).await?;
    if is_http2 {
        // Half of the time for silence, half for the reply to the question whether it lives.
        let half = connector.silence() / 2;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(UNANNOUNCED)
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
            .keep_alive_interval(half)
            .keep_alive_timeout(half)
            .handshake(TokioIo::new(io))
            .await
            .map_err(ConnectError::Protocol)?;
        let driven = Driven::spawn(connection);
        return Ok(Opened::Http2(Arc::new(Shared {
            sender,
            driven,
            has_responded: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            since: Mutex::new(Instant::now()),
        })));
    }
    let origin = origin.clone();
    let to = Arc::new(Server { origin, forward });
    Ok(Opened::Http1(Http1::free(Connection::new(io), to)))
}
