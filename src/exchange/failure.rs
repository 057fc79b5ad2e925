//! Why no response came from a provider. `upstream` says it, and attempts decide by it.

use std::time::Duration;

use http::StatusCode;

use crate::policy::route::Scope;
use crate::wire::Rejection;

/// Why no response came. Its text goes on after the name of the provider, and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection, or it broke before the head of a response.
    #[error("cannot be reached: {why}")]
    Unreachable {
        why: String,
        /// There was a connection, so the provider may have seen the request.
        sent: bool,
    },
    /// The provider took longer than this.
    #[error("gave no answer within {0:?}")]
    TimedOut(Duration),
    /// It closed a connection that had served others, before anything of a response had come. It
    /// may have begun to work all the same.
    #[error("closed a kept connection before it answered: {0}")]
    Closed(String),
    /// It was at work or is gone: its connection broke after a while, or is dead, before anything of
    /// a response had come.
    #[error("stopped responding: {0}")]
    Lost(String),
    /// It answered the request for a WebSocket with a status that speaks for itself.
    #[error("answered {status} instead of a WebSocket")]
    Declined {
        status: StatusCode,
        /// For how long it takes no requests, if it says so.
        wait: Option<Duration>,
    },
    /// No token could be had for the provider's account.
    #[error("cannot be asked: {0}")]
    Credential(String),
    /// The configuration makes no valid request.
    #[error("cannot be asked: {0}")]
    Misconfigured(String),
}

impl Failure {
    /// The same as a sentence.
    pub(super) fn of(&self, provider: &str) -> String {
        format!("provider {provider:?} {self}")
    }

    /// Whether the provider is at fault, not the configuration.
    pub(super) fn is_the_providers(&self) -> bool {
        match self {
            Self::Declined { status, .. } => status.is_server_error(),
            Self::Credential(_) | Self::Misconfigured(_) => false,
            _ => true,
        }
    }

    /// Whether the provider takes no requests for a while.
    pub(super) fn is_limit(&self) -> bool {
        let Self::Declined { status, wait } = self else {
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
    pub(super) fn may_be_another(&self) -> bool {
        let Self::Declined { status, .. } = self else {
            return true;
        };
        matches!(status.as_u16(), 404 | 405 | 426 | 429 | 500..)
    }

    /// What the failure counts against.
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::Unreachable { sent: false, .. } => Scope::Provider,
            Self::TimedOut(_) => Scope::Silence,
            _ => Scope::Model,
        }
    }

    /// The refusal that the caller gets.
    pub(super) fn rejection(&self, provider: &str) -> Rejection {
        let (status, code) = match self {
            Self::Unreachable { .. } | Self::Closed(_) | Self::Lost(_) => {
                (StatusCode::BAD_GATEWAY, "provider_unreachable")
            }
            Self::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, "provider_timeout"),
            // The caller gets what it would get for a request without a WebSocket.
            Self::Declined { status, .. } => (*status, "provider_declined"),
            Self::Credential(_) => (StatusCode::BAD_GATEWAY, "provider_credential"),
            Self::Misconfigured(_) => (StatusCode::BAD_GATEWAY, "provider_misconfigured"),
        };
        let rejection = Rejection::new(status, code, self.of(provider));
        match self {
            Self::Declined {
                wait: Some(wait), ..
            } => rejection.retry_after(*wait),
            _ => rejection,
        }
    }
}
