//! The client side of HTTP: connections over the tailnet or the host's network, their pool, TLS,
//! proxies, and the credentials of providers.
//!
//! [`Client::errand`] sends what the gateway itself wants to know or to tell. What a caller asks leaves
//! through `exchange::upstream` alone.

pub mod auth;
mod connect;
mod connect_error;
mod errand;
pub mod google;
mod http1;
mod pool;
mod proxy;
mod trust;

use std::error::Error;
use std::sync::{Arc, Once, PoisonError, RwLock};

use http::HeaderMap;

use crate::config::Environment;
use crate::net::tailnet::Node;
use crate::policy::route::Provider;

pub(crate) use connect::Connector;
use connect::Way;
pub use connect::{Timeouts, tls, tls_of};
pub use connect_error::ConnectError;
pub use errand::{Download, Errand};
use google::{TokenCache, TokenSource};
pub use http1::{Replayed, Upgraded, replay};
use pool::Pools;
pub use pool::{ExchangeError, Received, Reuse};
pub use pool::{Fate, Pool, RequestError, Unanswered};

/// Pooled connections to all servers. Lives as long as the process.
pub struct Client {
    pools: Pools,
    /// For WebSockets, which begin as HTTP/1.1.
    sockets: Pools,
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
            move |way: Way<'_>| Connector {
                node: node.clone(),
                network: way.network,
                tls: way
                    .ca
                    .map_or_else(
                        || Arc::clone(&tls),
                        |ca| {
                            let mut own = tls_of(ca);
                            own.alpn_protocols.clone_from(&tls.alpn_protocols);
                            Arc::new(own)
                        },
                    )
                    .into(),
                has_own_certificates: way.ca.is_some(),
                timeouts: Arc::clone(&bounds),
                proxying: way.proxy.clone(),
                environment: Arc::clone(&environment),
            }
        };
        let pools = Pools::new(connector(tls));
        Self {
            pools,
            sockets: Pools::new(connector(older)),
            tokens: TokenCache::default(),
            timeouts,
        }
    }

    /// Connects to a provider's node before a request needs it. Whether that works is for the log
    /// alone: the first request tries again.
    pub async fn meet(&self, provider: &Provider) {
        let Ok(uri) = provider.url("/", "", None) else {
            return;
        };
        match self.pools.connector(way(provider)).meet(uri).await {
            Ok(()) => tracing::debug!(provider = provider.id.as_str(), "can be reached"),
            Err(error) => {
                tracing::warn!(provider = provider.id.as_str(), %error, "cannot be reached yet");
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
    pub fn pool(&self, provider: &Provider) -> Pool {
        self.pools.of(way(provider), provider.fingerprint())
    }

    /// Connections for WebSockets to a provider.
    pub fn socket_pool(&self, provider: &Provider) -> Pool {
        self.sockets.of(way(provider), provider.fingerprint())
    }

    /// Tokens for a request to a provider that has a service account.
    pub fn tokens_for<'u>(
        &'u self,
        provider: &'u Provider,
        headers: &HeaderMap,
    ) -> Option<TokenSource<'u>> {
        let account = provider.service_account.as_deref();
        account
            .filter(|_| auth::is_configured(headers, provider))
            .map(|account| self.tokens.source(account, self))
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
pub fn innermost(error: &dyn Error) -> String {
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
