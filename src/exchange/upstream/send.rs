//! One request to one provider.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::base::clock::within;
use crate::base::secret::Secret;
use crate::exchange::fund::Funded;
use crate::exchange::lists;
use crate::net::client::google::TokenSource;
use crate::net::client::{
    Client, ConnectError, Fate, Received, RequestError, Reuse, Timeouts, auth, innermost,
};
use crate::policy::access::Header;
use crate::policy::route::Scope;
use crate::wire::headers::Passed;
use crate::wire::{Mask, Rejection};

/// The only way to a provider for what a caller asks.
pub struct Upstream {
    /// Connections and credentials.
    pub client: Client,
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

    /// Whether the provider takes no requests for a while.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        let Self::Declined { status, wait, .. } = self else {
            return false;
        };
        match status.as_u16() {
            429 => true,
            503 | 529 => wait.is_some(),
            _ => false,
        }
    }

    /// Whether another provider may do better: what one answers instead of a WebSocket is about the
    /// request, unless it can't, or has no WebSocket there.
    #[must_use]
    pub fn may_be_another(&self) -> bool {
        let status = self.declined().map(|status| status.as_u16());
        status.is_none_or(|status| matches!(status, 404 | 405 | 426 | 429 | 500..))
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
    /// The way to providers over the connections of `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The bounds in force.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.client.timeouts()
    }

    /// Sends a request that is paid for, and waits for the head of the response. Dropping the future,
    /// or the response's body, cancels the request at the provider. With it comes what hides the
    /// request's credentials, which the head quotes no more.
    ///
    /// # Errors
    /// [`Failure`] when no response came. A response of any status is one.
    pub async fn send(
        &self,
        funded: &Funded<'_>,
        reuse: Reuse,
    ) -> Result<(Response<Received>, Mask), Failure> {
        let (outbound, api) = (funded.outbound(), funded.formats.served);
        let provider = &funded.route().provider;
        let from = &lists::headers(api, provider, &funded.head.headers);
        let query = lists::query(api, provider, funded.head.uri.query());
        let misconfigured = |why: String| Failure::Misconfigured {
            provider: provider.id.clone(),
            why,
        };
        let uri = provider
            .url(&outbound.path, query.as_deref())
            .map_err(|error| misconfigured(error.to_string()))?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let (head, credential) = self.dressed(funded, from).await?;
        *request.headers_mut() = head;
        let mut request = auth::sign(request, outbound.body.clone(), provider)
            .map_err(|error| misconfigured(error.to_string()))?;
        // Not signed, as proxies may add to it.
        if let Some(via) = &from.via {
            request.headers_mut().insert(header::VIA, via.clone());
        }
        let pool = self.client.pool(provider);
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
        funded: &'u Funded<'_>,
        from: &Passed,
    ) -> Result<(HeaderMap, Option<(TokenSource<'u>, Secret)>), Failure> {
        let route = funded.route();
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
        if let Some(source) = self.client.tokens_for(provider, &out) {
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
        for Header { name, value } in funded.permit.headers(route.subject()) {
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
