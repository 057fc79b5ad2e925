//! Connections that are kept. Requests share one only if they go to the same provider with the same
//! credential and headers: each configuration of a provider has a pool of its own.
//!
//! A connection can end between two requests, or an HTTP/2 server can say that it has not looked at
//! one: such a request is sent again here. One that the provider may have begun to work on is the
//! gateway's to repeat.

mod body;
mod error;
mod kept;
mod open;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use tokio::sync::oneshot;

use super::connect::{Connector, Way};
use super::connect_error::ConnectError;
use super::proxy;
use crate::base::quick_hash::QuickHash;
use crate::config::{Certificates, Network, Proxying};
use crate::wire::Mask;

use body::Home;
pub use body::Received;
pub use error::ExchangeError;
pub use error::{Fate, RequestError, Unanswered};
use kept::{Done, Host, Lent, Slot, Wait};
use open::{Http1, Opened};

/// How long an idle connection is kept: below the 60 s after which most servers close.
const IDLE_TIME: Duration = Duration::from_secs(50);
/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(10);
/// Pools from which on those that have no connections any more are looked for.
const MANY: usize = 64;
/// Times that a request is sent which each time was certainly left unprocessed.
const SENDINGS: u32 = 4;
/// Before a request that a new connection refused is sent again.
const PAUSE: Duration = Duration::from_millis(50);
/// A kept connection that its server has closed fails at once. Where it takes longer, the server
/// was at work, or is gone.
const AT_ONCE: Duration = Duration::from_secs(3);

type Connect = dyn Fn(Way<'_>) -> Connector + Send + Sync;

/// Which connection a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// One that is kept, if there is one.
    Kept,
    /// Only a new one.
    Never,
}

/// Which server a connection leads to.
type Origin = (Scheme, Authority);

/// The connections of one configuration of a provider.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    connector: Connector,
    /// Mostly there is one.
    hosts: Mutex<Vec<(Origin, Host)>>,
    /// A task looks through idle connections.
    is_swept: AtomicBool,
}

impl Pool {
    pub(crate) fn new(connector: Connector) -> Self {
        Self(Arc::new(Inner {
            connector,
            hosts: Mutex::default(),
            is_swept: AtomicBool::new(false),
        }))
    }

    /// What hides the credentials of a request: its own, and that of the proxy which forwards it.
    pub fn mask<B>(&self, request: &Request<B>) -> Mask {
        let mask = Mask::of(request.headers());
        match self.0.connector.forward_credential(request.uri()) {
            Some(credential) => mask.and_credential(credential.as_bytes()),
            None => mask,
        }
    }

    /// Sends a request, and waits for the head of the response. It is sent again while it is
    /// certain that the server has not looked at it.
    pub async fn request(
        &self,
        request: &Request<Bytes>,
        mut reuse: Reuse,
    ) -> Result<Response<Received>, Unanswered> {
        let origin = origin(request.uri())?;
        for sending in 1.. {
            let lent = self.0.lend(&origin, reuse).await;
            let sent = match lent.map_err(RequestError::Connect)? {
                Lent::Http1(connection) => self.alone(connection, request).await,
                Lent::Http2(slot) => Box::pin(shared(slot, request)).await,
            };
            let error = match sent {
                Ok(response) => return error::bounded(response),
                Err(error) => error,
            };
            let was_sent = match error.fate {
                Fate::Unsent => false,
                Fate::Unprocessed => true,
                _ => return Err(error),
            };
            if sending >= SENDINGS {
                return Err(error);
            }
            tracing::debug!(host = %origin.1, error = %error.error, "a request is sent again");
            if was_sent && reuse == Reuse::Never {
                tokio::time::sleep(PAUSE).await;
            }
            // On a new connection it is the first, which no limit on requests can concern. One that
            // never left can take any connection, of which the last one is new.
            if was_sent || sending + 1 >= SENDINGS {
                reuse = Reuse::Never;
            }
        }
        Err(RequestError::NoHost.into())
    }

    /// The same, once more on a new connection if a kept one was closed.
    pub(crate) async fn request_again(
        &self,
        request: &Request<Bytes>,
    ) -> Result<Response<Received>, RequestError> {
        match self.request(request, Reuse::Kept).await {
            Err(unanswered) if matches!(unanswered.fate, Fate::Closed | Fate::Lost) => {
                let again = self.request(request, Reuse::Never).await;
                again.map_err(|unanswered| unanswered.error)
            }
            answered => answered.map_err(|unanswered| unanswered.error),
        }
    }

    /// Sends a request over a connection of HTTP/1.1.
    async fn alone(
        &self,
        lent: Http1,
        request: &Request<Bytes>,
    ) -> Result<Response<Received>, Unanswered> {
        let began = Instant::now();
        let (connection, server) = (lent.connection, lent.to);
        let forward = server.forward.as_ref();
        let sent = connection.exchange(request, forward).await;
        let broken = match sent {
            Ok(response) => {
                if let Some(forward) = forward
                    && response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
                {
                    let refused = Arc::new(proxy::refused(&forward.proxy));
                    return Err(RequestError::Connect(refused).into());
                }
                let home = Home {
                    pool: Arc::clone(&self.0),
                    server,
                };
                return Ok(response.map(|body| Received::alone(body, home)));
            }
            Err(broken) => broken,
        };
        let is_slow = began.elapsed() > AT_ONCE;
        let fate = if !broken.was_sent {
            Fate::Unsent
        } else if broken.has_read {
            Fate::Unknown
        } else if error::is_dead(&broken.error) || (broken.is_reused && is_slow) {
            Fate::Lost
        } else if broken.is_reused {
            Fate::Closed
        } else {
            Fate::Unknown
        };
        Err(Unanswered {
            error: broken.error.into(),
            fate,
        })
    }
}

/// Sends a request over a connection of HTTP/2.
async fn shared(slot: Slot, request: &Request<Bytes>) -> Result<Response<Received>, Unanswered> {
    let began = Instant::now();
    let is_reused = slot.is_reused();
    let request = request.clone().map(Full::new);
    let mut refused = match slot.sender().try_send_request(request).await {
        Ok(response) => {
            slot.responded();
            return Ok(response.map(|body| Received::shared(body, slot)));
        }
        Err(refused) => refused,
    };
    let was_sent = refused.take_message().is_none();
    let error = refused.into_error();
    let is_untouched = !error::is_an_answer(&error);
    let is_dead = error.is_timeout() || error::is_dead(&error);
    let is_slow = began.elapsed() > AT_ONCE;
    let fate = if !was_sent {
        Fate::Unsent
    } else if error::is_unprocessed(&error) || error::never_began(&error) {
        Fate::Unprocessed
    } else if is_untouched && (is_dead || (is_reused && is_slow)) {
        Fate::Lost
    } else if is_untouched && is_reused {
        Fate::Closed
    } else {
        Fate::Unknown
    };
    Err(Unanswered {
        error: error.into(),
        fate,
    })
}

impl Inner {
    fn hosts(&self) -> MutexGuard<'_, Vec<(Origin, Host)>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections to one server.
    fn host<T>(&self, origin: &Origin, work: impl FnOnce(&mut Host) -> T) -> T {
        let mut hosts = self.hosts();
        let at = hosts.iter().position(|(known, _)| is_same(known, origin));
        let at = at.unwrap_or_else(|| {
            hosts.push((origin.clone(), Host::default()));
            hosts.len() - 1
        });
        work(&mut hosts[at].1)
    }

    /// A connection for one request: one that is kept, or a new one. While a new one is opened, one
    /// that becomes free is taken instead.
    async fn lend(
        self: &Arc<Self>,
        origin: &Origin,
        reuse: Reuse,
    ) -> Result<Lent, Arc<ConnectError>> {
        if reuse == Reuse::Kept
            && let Some(lent) = self.host(origin, Host::take)
        {
            return Ok(lent);
        }
        Box::pin(self.wait(origin, reuse)).await
    }

    async fn wait(
        self: &Arc<Self>,
        origin: &Origin,
        reuse: Reuse,
    ) -> Result<Lent, Arc<ConnectError>> {
        let mut waiting = None;
        loop {
            let freed = self.host(origin, |host| Arc::clone(&host.freed));
            let notified = freed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if reuse == Reuse::Kept {
                let taken = self.host(origin, |host| {
                    let lent = host.take();
                    if lent.is_none() && waiting.is_none() {
                        waiting = host.join();
                    }
                    lent
                });
                if let Some(lent) = taken {
                    return Ok(lent);
                }
            }
            let wait = waiting.get_or_insert_with(|| self.open(origin));
            tokio::select! {
                biased;
                ended = wait.ended() => match ended? {
                    Some(lent) => return Ok(lent),
                    // The connection of another request may have room.
                    None => waiting = None,
                },
                () = notified => {}
            }
        }
    }

    /// Opens a connection in a task of its own: if its request is gone meanwhile, others can use it.
    fn open(self: &Arc<Self>, origin: &Origin) -> Wait {
        let (send, receive) = oneshot::channel();
        let may_share = self.connector.may_share(&origin.0);
        let done = self.host(origin, |host| host.opening(may_share));
        let (inner, origin) = (Arc::clone(self), origin.clone());
        tokio::spawn(async move {
            let opened = open::open(&inner.connector, &origin).await;
            inner
                .opened(&origin, opened.map_err(Arc::new), send, done)
                .await;
        });
        Wait::Own(receive)
    }

    /// Hands a connection to the request that asked for it, and to those that wait for it.
    async fn opened(
        self: &Arc<Self>,
        origin: &Origin,
        opened: Result<Opened, Arc<ConnectError>>,
        to: oneshot::Sender<Result<Lent, Arc<ConnectError>>>,
        done: Option<Done>,
    ) {
        let ended = match opened {
            Err(error) => {
                let _ = to.send(Err(Arc::clone(&error)));
                Err(error)
            }
            Ok(Opened::Http1(connection)) => {
                self.host(origin, Host::speaks_http1);
                if let Err(Ok(Lent::Http1(unwanted))) = to.send(Ok(Lent::Http1(connection))) {
                    self.keep(unwanted);
                }
                Ok(())
            }
            Ok(Opened::Http2(shared)) => {
                let first = self.host(origin, |host| host.share(&shared));
                self.sweep();
                let _ = to.send(Ok(Lent::Http2(first)));
                shared.settled(self.connector.silence()).await;
                self.host(origin, |host| host.speaks_http2(shared.most()));
                Ok(())
            }
        };
        if let Some(done) = done {
            self.host(origin, |host| host.ended(&done, ended));
        }
    }

    /// Keeps a connection for the next request.
    fn keep(self: &Arc<Self>, connection: Http1) {
        let server = Arc::clone(&connection.to);
        self.host(&server.origin, |host| host.keep(connection));
        self.sweep();
    }

    /// Closes idle connections in time, for as long as there are any.
    fn sweep(self: &Arc<Self>) {
        if self.is_swept.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(inner) = inner.upgrade() else {
                    return;
                };
                let mut hosts = inner.hosts();
                hosts.retain_mut(|(_, host)| host.sweep());
                if hosts.is_empty() {
                    inner.is_swept.store(false, Ordering::Release);
                    return;
                }
            }
        });
    }
}

/// Whether two are the same server. Mostly they are copies of one text, which needs no comparing.
fn is_same(one: &Origin, other: &Origin) -> bool {
    let (name, named) = (one.1.as_str(), other.1.as_str());
    one.0 == other.0 && (std::ptr::eq(name, named) || one.1 == other.1)
}

/// Which server a URL leads to.
fn origin(uri: &Uri) -> Result<Origin, RequestError> {
    match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) => Ok((scheme.clone(), authority.clone())),
        _ => Err(RequestError::NoHost),
    }
}

/// Pools by the network that they use and the fingerprint of a provider, each with when it was last used.
type ByWay = HashMap<(Network, u64), (Pool, Instant), QuickHash>;

/// The pools of all providers.
pub(crate) struct Pools {
    connect: Box<Connect>,
    pools: Mutex<ByWay>,
}

impl Pools {
    pub(crate) fn new(connect: impl Fn(Way<'_>) -> Connector + Send + Sync + 'static) -> Self {
        Self {
            connect: Box::new(connect),
            pools: Mutex::default(),
        }
    }

    /// A connector of its own.
    pub(crate) fn connector(&self, way: Way<'_>) -> Connector {
        (self.connect)(way)
    }

    /// The pool of requests of the gateway's own, which share nothing with those of callers.
    pub(crate) fn own(&self, network: Network, ca: Option<&Certificates>) -> Pool {
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let fingerprint = ca.map_or(0, |ca| KEYS.hash_one(ca));
        let way = Way {
            network,
            proxy: &Proxying::Environment,
            ca,
        };
        self.of(way, fingerprint)
    }

    /// The pool of a configuration of a provider, whose `fingerprint` covers the way.
    pub(crate) fn of(&self, way: Way<'_>, fingerprint: u64) -> Pool {
        let now = Instant::now();
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (way.network, fingerprint);
        if !pools.contains_key(&key) && pools.len() >= MANY {
            // What is kept there has gone by then.
            pools.retain(|_, (_, used)| now.duration_since(*used) < IDLE_TIME);
        }
        let (pool, used) = pools
            .entry(key)
            .or_insert_with(|| (Pool::new((self.connect)(way)), now));
        *used = now;
        pool.clone()
    }
}
