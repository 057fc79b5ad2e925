//! The client side of HTTP: connections over the tailnet or the host's network, their pool, TLS,
//! proxies, and the credentials of providers.
//!
//! [`Client::errand`] sends what the gateway itself wants to know or to tell. What a caller asks leaves
//! through `exchange::upstream` alone.

pub(crate) mod auth;
mod connect;
mod connect_error;
mod errand;
mod pool;
mod proxy;
mod trust;
mod used;

use std::error::Error;
use std::sync::{Arc, Once, PoisonError, RwLock};

use http::HeaderMap;

use crate::config::{Environment, Network};
use crate::net::tailnet::Node;
use crate::policy::route::Provider;

use auth::google::{TokenCache, TokenSource};
use connect::Way;
pub use connect::{Connector, Timeouts, tls, tls_of};
pub(crate) use connect_error::ConnectError;
pub use errand::Errand;
use pool::Pools;
pub(crate) use pool::{Fate, Pool, RequestError};
pub use pool::{Received, Reuse};

/// Pooled connections to all servers. Lives as long as the process.
pub struct Client {
    pools: Pools,
    /// For WebSockets, which begin as HTTP/1.1.
    sockets: Pools,
    /// For tokens of service accounts.
    token_pool: Pool,
    /// Tokens of service accounts, which outlive every configuration.
    tokens: TokenCache,
    timeouts: Arc<RwLock<Timeouts>>,
}

impl Client {
    /// Pools that dial through `node` where the address is the tailnet's.
    #[must_use]
    pub fn new(node: Option<&Node>, timeouts: Timeouts) -> Self {
        let tls = Arc::new(tls());
        let timeouts = Arc::new(RwLock::new(timeouts));
        let (node, bounds) = (node.cloned(), Arc::clone(&timeouts));
        let older = Arc::new(connect::older(&tls));
        let environment = Arc::new(proxies());
        let connector = move |tls: Arc<rustls::ClientConfig>| {
            let (node, bounds) = (node.clone(), Arc::clone(&bounds));
            let environment = Arc::clone(&environment);
            move |way: Way<'_>| {
                let of = |tls| {
                    Connector::new(node.clone(), way.network, tls, Arc::clone(&bounds))
                        .over(way.proxy, &environment)
                };
                let Some(ca) = way.ca else {
                    return of(Arc::clone(&tls));
                };
                let mut own = tls_of(ca);
                own.alpn_protocols.clone_from(&tls.alpn_protocols);
                of(Arc::new(own)).with_own_certificates()
            }
        };
        let pools = Pools::new(connector(tls));
        Self {
            token_pool: pools.own(Network::Host, None),
            pools,
            sockets: Pools::new(connector(older)),
            tokens: TokenCache::default(),
            timeouts,
        }
    }

    /// Connects to a provider's node before a request needs it. Whether that works is for the log
    /// alone: the first request tries again.
    pub async fn meet(&self, provider: &Provider) {
        let Ok(uri) = provider.url("/", None) else {
            return;
        };
        match self.pools.connector(way(provider)).meet(uri).await {
            Ok(()) => tracing::debug!(provider = provider.id, "can be reached"),
            Err(error) => {
                tracing::warn!(provider = provider.id, %error, "cannot be reached yet");
            }
        }
    }

    /// The bounds in force.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        *self.timeouts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts other bounds in force, for what begins from now on.
    pub fn set_timeouts(&self, timeouts: Timeouts) {
        *self
            .timeouts
            .write()
            .unwrap_or_else(PoisonError::into_inner) = timeouts;
    }

    /// The connections to a provider.
    pub(crate) fn pool(&self, provider: &Provider) -> Pool {
        self.pools.of(way(provider), provider.fingerprint())
    }

    /// Connections for WebSockets to a provider.
    pub(crate) fn socket_pool(&self, provider: &Provider) -> Pool {
        self.sockets.of(way(provider), provider.fingerprint())
    }

    /// Tokens for a request to a provider that has a service account.
    pub(crate) fn tokens_for<'u>(
        &'u self,
        provider: &'u Provider,
        headers: &HeaderMap,
    ) -> Option<TokenSource<'u>> {
        let account = provider.service_account.as_deref();
        account
            .filter(|_| auth::is_configured(headers, provider))
            .map(|account| self.tokens.source(account, &self.token_pool))
    }
}

fn way(provider: &Provider) -> Way<'_> {
    Way {
        network: provider.network,
        proxy: &provider.proxy,
        ca: provider.ca.as_ref(),
    }
}

/// The innermost cause says what happened; the layers above it only that something did.
pub(crate) fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The proxies of the environment. Once, the log says which there are, and which can't be used.
fn proxies() -> Environment {
    static SAID: Once = Once::new();
    let (environment, problems) = Environment::of_process();
    SAID.call_once(|| {
        for problem in problems {
            tracing::warn!("{problem}");
        }
        for (scheme, proxy) in environment.used() {
            tracing::info!(%proxy, "public providers at {scheme}:// are reached through a proxy");
        }
    });
    environment
}
