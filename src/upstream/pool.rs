//! Connections that are kept. Requests share one only if they go to the same provider with the same
//! credential and headers: each configuration of a provider has a pool of its own.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http::Response;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::Connector;
use super::used::Used;
use crate::config::{Certificates, Network};

/// Idle connections kept for each host of a pool.
const IDLE_PER_HOST: usize = 64;
/// How long an idle connection is kept: below the 60 s after which most servers close.
const IDLE_TIME: Duration = Duration::from_secs(50);
/// Bytes of an answer that are read before its caller has taken those before them.
const READ_AHEAD: usize = 32 << 10;
/// The same for each of the answers that share an h2 connection.
const STREAM_WINDOW: u32 = 256 << 10;
/// For all of them together: so much that callers who read slowly can't use it up for the others.
const CONNECTION_WINDOW: u32 = 512 * STREAM_WINDOW;
/// Pools from which on those that have no connections any more are looked for.
const MANY: usize = 64;

type Connect = dyn Fn(Network, Option<&Certificates>) -> Connector + Send + Sync;

/// Which connection a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// One that is kept, if there is one.
    Kept,
    /// Only a new one.
    Never,
}

/// The connections of one configuration of a provider.
#[derive(Clone)]
pub(super) struct Pool {
    kept: Client<Connector, Full<Bytes>>,
    new: Client<Connector, Full<Bytes>>,
}

/// A request that got no response.
pub(super) struct Unanswered {
    pub(super) error: Error,
    /// The connection had served others before, and broke before anything of a response had come.
    pub(super) was_closed: bool,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Self {
        let client = |connector, idle| {
            Client::builder(TokioExecutor::new())
                .http1_max_buf_size(READ_AHEAD)
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIME)
                .pool_max_idle_per_host(idle)
                .build(connector)
        };
        Self {
            kept: client(connector.clone(), IDLE_PER_HOST),
            new: client(connector, 0),
        }
    }

    /// Sends a request, and waits for the head of the response.
    pub(super) async fn request(
        &self,
        mut request: Request<Full<Bytes>>,
        reuse: Reuse,
    ) -> Result<Response<Incoming>, Unanswered> {
        let client = match reuse {
            Reuse::Kept => &self.kept,
            Reuse::Never => &self.new,
        };
        let captured = capture_connection(&mut request);
        match client.request(request).await {
            Ok(response) => {
                if let Some(used) = response.extensions().get::<Used>() {
                    used.responded();
                }
                Ok(response)
            }
            Err(error) => {
                let connection = captured.connection_metadata();
                let was_closed = connection.as_ref().is_some_and(|connection| {
                    let mut extras = http::Extensions::new();
                    connection.get_extras(&mut extras);
                    let used = extras.get::<Used>();
                    used.is_some_and(|used| {
                        used.is_reused()
                            && if connection.is_negotiated_h2() {
                                !was_refused(&error)
                            } else {
                                !used.has_read()
                            }
                    })
                });
                drop(connection);
                Err(Unanswered { error, was_closed })
            }
        }
    }

    /// The same, once more on a new connection if a kept one was closed.
    pub(super) async fn request_again(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let once_more = request.clone();
        match self.request(request, Reuse::Kept).await {
            Err(unanswered) if unanswered.was_closed => {
                let again = self.request(once_more, Reuse::Never).await;
                again.map_err(|unanswered| unanswered.error)
            }
            answered => answered.map_err(|unanswered| unanswered.error),
        }
    }
}

/// Whether an HTTP/2 server has reset this one request: that is an answer to it, unless it says
/// that it hasn't looked at it.
fn was_refused(error: &Error) -> bool {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            return error.is_reset() && error.reason() != Some(h2::Reason::REFUSED_STREAM);
        }
    }
    false
}

/// The pools of all providers.
pub(super) struct Pools {
    connect: Box<Connect>,
    pools: Mutex<HashMap<(Network, u64), (Pool, Instant)>>,
}

impl Pools {
    pub(super) fn new(
        connect: impl Fn(Network, Option<&Certificates>) -> Connector + Send + Sync + 'static,
    ) -> Self {
        Self {
            connect: Box::new(connect),
            pools: Mutex::default(),
        }
    }

    /// A connector of its own.
    pub(super) fn connector(&self, network: Network, ca: Option<&Certificates>) -> Connector {
        (self.connect)(network, ca)
    }

    /// The pool of requests of the gateway's own, which share nothing with those of callers.
    pub(super) fn own(&self, network: Network, ca: Option<&Certificates>) -> Pool {
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let fingerprint = ca.map_or(0, |ca| KEYS.hash_one(ca));
        self.of(network, fingerprint, ca)
    }

    /// The pool of a configuration of a provider.
    pub(super) fn of(&self, network: Network, fingerprint: u64, ca: Option<&Certificates>) -> Pool {
        let now = Instant::now();
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (network, fingerprint);
        if !pools.contains_key(&key) && pools.len() >= MANY {
            // What is kept there has gone by then.
            pools.retain(|_, (_, used)| now.duration_since(*used) < IDLE_TIME);
        }
        let (pool, used) = pools
            .entry(key)
            .or_insert_with(|| (Pool::new((self.connect)(network, ca)), now));
        *used = now;
        pool.clone()
    }
}
