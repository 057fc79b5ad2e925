//! One request to one provider.

use std::sync::{Arc, Once, PoisonError, RwLock};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use super::auth::{self, google::TokenCache, google::TokenSource};
use super::connect::{ConnectError, Connector, Timeouts, Way};
use super::pool::{Fate, Pool, Pools, Received, RequestError, Reuse};
use crate::base::clock::within;
use crate::base::secret::Secret;
use crate::config::{Environment, Network};
use crate::formats::Outbound;
use crate::net::tailnet::Node;
use crate::policy::access::Permit;
use crate::policy::route::{Provider, Route, Scope};
use crate::wire::headers::Passed;
use crate::wire::{Mask, Rejection};

/// Pooled connections to all providers. Lives as long as the process.
pub struct Upstream {
    pub(super) pools: Pools,
    /// For WebSockets, which begin as HTTP/1.1.
    pub(super) sockets: Pools,
    /// For tokens of service accounts.
    token_pool: Pool,
    /// Tokens of service accounts, which outlive every configuration.
    tokens: TokenCache,
    timeouts: Arc<RwLock<Timeouts>>,
}

/// Why no response came. Its text names the provider and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection, or it broke before the head of a response.
    #[error("provider {provider:?} cannot be reached: {why}")]
    Unreachable {
        /// Its id.
        provider: String,
        /// The cause.
        why: String,
        /// There was a connection, so the provider may have seen the request.
        sent: bool,
    },
    /// The provider took too long.
    #[error("provider {provider:?} gave no answer within {within:?}")]
    TimedOut {
        /// Its id.
        provider: String,
        /// The bound that was passed.
        within: Duration,
    },
    /// It closed a connection that had served others, before anything of a response had come. It
    /// may have begun to work all the same.
    #[error("provider {provider:?} closed a kept connection before it answered: {why}")]
    Closed {
        /// Its id.
        provider: String,
        /// The cause.
        why: String,
    },
    /// It was at work or is gone: its connection broke after a while, or is dead, before anything of
    /// a response had come.
    #[error("provider {provider:?} stopped responding: {why}")]
    Lost {
        /// Its id.
        provider: String,
        /// The cause.
        why: String,
    },
    /// It answered the request for a WebSocket with a status that speaks for itself.
    #[error("provider {provider:?} answered {status} instead of a WebSocket")]
    Declined {
        /// Its id.
        provider: String,
        /// What it answered.
        status: StatusCode,
        /// For how long it takes no requests, if it says so.
        wait: Option<Duration>,
    },
    /// There is no token for the provider's account.
    #[error("provider {provider:?} cannot be asked: {why}")]
    Credential {
        /// Its id.
        provider: String,
        /// The cause.
        why: String,
    },
    /// The configuration makes no valid request.
    #[error("provider {provider:?} cannot be asked: {why}")]
    Misconfigured {
        /// Its id.
        provider: String,
        /// The cause.
        why: String,
    },
}

impl Failure {
    /// Whether it speaks against the provider, and not against the configuration.
    #[must_use]
    pub fn is_the_providers(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Closed { .. }
                | Self::Lost { .. }
                | Self::TimedOut { .. }
        ) || self
            .declined()
            .is_some_and(|status| status.is_server_error())
    }

    /// What it answered instead of a WebSocket.
    #[must_use]
    pub fn declined(&self) -> Option<StatusCode> {
        match self {
            Self::Declined { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What it speaks against.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::Unreachable { sent: false, .. } => Scope::Provider,
            Self::TimedOut { .. } => Scope::Silence,
            _ => Scope::Model,
        }
    }

    /// Whether the provider may be at work all the same.
    #[must_use]
    pub fn leaves_work(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }

    /// The refusal that the caller gets.
    #[must_use]
    pub fn rejection(&self) -> Rejection {
        let (status, code) = match self {
            Self::Unreachable { .. } | Self::Closed { .. } | Self::Lost { .. } => {
                (StatusCode::BAD_GATEWAY, "provider_unreachable")
            }
            Self::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, "provider_timeout"),
            Self::Declined { status, wait, .. } => {
                // The caller gets what it would get for a request without a WebSocket.
                let rejection = Rejection::new(*status, "provider_declined", self.to_string());
                return match wait {
                    Some(wait) => rejection.retry_after(*wait),
                    None => rejection,
                };
            }
            Self::Credential { .. } => (StatusCode::BAD_GATEWAY, "provider_credential"),
            Self::Misconfigured { .. } => (StatusCode::BAD_GATEWAY, "provider_misconfigured"),
        };
        Rejection::new(status, code, self.to_string())
    }
}

impl Upstream {
    /// Pools that dial through `node` where the address is the tailnet's.
    #[must_use]
    pub fn new(node: Option<&Node>, timeouts: Timeouts) -> Self {
        let tls = Arc::new(super::connect::tls());
        let timeouts = Arc::new(RwLock::new(timeouts));
        let (node, bounds) = (node.cloned(), Arc::clone(&timeouts));
        let older = Arc::new(super::connect::older(&tls));
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
                let mut own = super::connect::tls_of(ca);
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

    /// Makes the acquaintance of a provider's node before a request needs it. Whether that works
    /// is for the log alone: the first request tries again.
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

    /// Sends a request and waits for the head of the response. Dropping the future, or the
    /// response's body, cancels the request at the provider. With it comes what hides the request's
    /// credentials, which the head quotes no more.
    ///
    /// # Errors
    /// [`Failure`] when no response came. A response of any status is one.
    pub async fn send(
        &self,
        route: &Route,
        permit: &Permit,
        from: &Passed,
        query: Option<&str>,
        (outbound, reuse): (&Outbound, Reuse),
    ) -> Result<(Response<Received>, Mask), Failure> {
        let provider = &route.provider;
        let misconfigured = |why: String| Failure::Misconfigured {
            provider: provider.id.clone(),
            why,
        };
        let uri = provider
            .url(&outbound.path, query)
            .map_err(|error| misconfigured(error.to_string()))?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let (head, credential) = self.dressed(route, permit, from).await?;
        *request.headers_mut() = head;
        let mut request = auth::sign(request, outbound.body.clone(), provider)
            .map_err(|error| misconfigured(error.to_string()))?;
        // Not signed, as proxies may add to it.
        if let Some(via) = &from.via {
            request.headers_mut().insert(header::VIA, via.clone());
        }
        let pool = self.pool(provider);
        let mask = pool.mask(&request);
        let limit = self.timeouts().first_byte;
        let response = within(limit, pool.request(request, reuse))
            .await
            .map_err(|_| Failure::TimedOut {
                provider: provider.id.clone(),
                within: limit,
            })?;
        let mut response = response.map_err(|unanswered| {
            let failure = failure(&provider.id, &unanswered.error);
            match failure {
                Failure::Unreachable { provider, why, .. } if unanswered.fate == Fate::Closed => {
                    Failure::Closed { provider, why }
                }
                Failure::Unreachable { provider, why, .. } if unanswered.fate == Fate::Lost => {
                    Failure::Lost { provider, why }
                }
                failure => failure,
            }
        })?;
        mask.headers(response.headers_mut());
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some((source, token)) = credential
        {
            source.reject(&token).await;
        }
        Ok((response, mask))
    }

    /// The headers of a request: the caller's that pass, the credential, and those of
    /// the provider and of the grants. With them the token of a service account, if it has one.
    pub(super) async fn dressed<'u>(
        &'u self,
        route: &'u Route,
        permit: &Permit,
        from: &Passed,
    ) -> Result<(HeaderMap, Option<(TokenSource<'u>, Secret)>), Failure> {
        let provider = &route.provider;
        let misconfigured = |why: String| Failure::Misconfigured {
            provider: provider.id.clone(),
            why,
        };
        let mut out = from.headers.clone();
        // Iris meters what passes: it asks for plain bytes.
        out.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        let mut credential = None;
        if let Some(source) = self.tokens_for(provider, &out) {
            let token = source.token().await.map_err(|error| Failure::Credential {
                provider: provider.id.clone(),
                why: error.to_string(),
            })?;
            auth::bearer(&mut out, &token).map_err(|error| misconfigured(error.to_string()))?;
            credential = Some((source, token));
        } else {
            auth::authorize(&mut out, provider)
                .map_err(|error| misconfigured(error.to_string()))?;
        }
        for (name, value) in &provider.add_headers {
            out.insert(name, value.clone());
        }
        for (name, value) in permit.headers(&provider.id, &route.model) {
            if let (Ok(name), Ok(value)) = (
                header::HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_str(value),
            ) {
                out.insert(name, value);
            }
        }
        Ok((out, credential))
    }
}

fn way(provider: &Provider) -> Way<'_> {
    Way {
        network: provider.network,
        proxy: &provider.proxy,
        ca: provider.ca.as_ref(),
    }
}

impl Upstream {
    /// The connections to a provider.
    pub(super) fn pool(&self, provider: &Provider) -> Pool {
        self.pools.of(way(provider), provider.fingerprint())
    }

    /// Tokens for a request to a provider that has a service account.
    pub(super) fn tokens_for<'u>(
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

/// The innermost cause says what happened; the layers above it only that something did.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Why there is no answer of a provider.
pub(super) fn failure(provider: &str, error: &RequestError) -> Failure {
    if let RequestError::Connect(cause) = error
        && let ConnectError::TimedOut(within) = **cause
    {
        return Failure::TimedOut {
            provider: provider.to_owned(),
            within,
        };
    }
    Failure::Unreachable {
        provider: provider.to_owned(),
        why: innermost(error),
        sent: !error.is_connect(),
    }
}

/// The proxies of the environment. Once, the log says which there are, and which can't be used.
fn proxies() -> Environment {
    static SAID: Once = Once::new();
    let (environment, problems) = Environment::read(|name| std::env::var(name).ok());
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
