//! How a request ended. Whoever sees the end decides it, and says so with one of these values: the
//! record, the charge and the provider's health follow from it, and none of them guesses.

use http::StatusCode;

use crate::records::Outcome;
use crate::wire::Rejection;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The whole response reached its caller.
    Complete,
    /// The caller closed the connection before the end.
    ClientLeft,
    /// The provider reports an error, in its own words.
    ProviderFailed(String),
    /// The provider's response stopped before its end.
    ProviderCut(String),
    /// No provider could be reached.
    Unreachable(String),
    /// The provider was silent for too long.
    TimedOut(String),
    /// The response took longer than this gateway allows.
    TooLong(String),
    /// The caller lost access while the response was on its way.
    Revoked(String),
    /// Iris refused the request.
    Refused(String),
    /// Iris itself failed.
    Panicked(String),
}

impl Ending {
    /// How a request ended for which the caller got `rejection` instead of a response.
    #[must_use]
    pub fn of(rejection: &Rejection) -> Self {
        let why = rejection.message.to_string();
        match rejection.status {
            _ if rejection.is_panic() => Self::Panicked(why),
            // A guardrail chooses its status as it likes.
            _ if rejection.code.0 == "guardrail_blocked" => Self::Refused(why),
            StatusCode::BAD_GATEWAY => Self::Unreachable(why),
            StatusCode::GATEWAY_TIMEOUT => Self::TimedOut(why),
            _ => Self::Refused(why),
        }
    }

    /// The record's word for it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Complete => Outcome::Complete,
            Self::ClientLeft => Outcome::ClientClosed,
            Self::ProviderFailed(_) | Self::ProviderCut(_) => Outcome::UpstreamError,
            Self::TimedOut(_) | Self::TooLong(_) => Outcome::TimedOut,
            Self::Revoked(_) | Self::Refused(_) => Outcome::Refused,
            Self::Unreachable(_) | Self::Panicked(_) => Outcome::Failed,
        }
    }

    /// What went wrong, if something did.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Complete | Self::ClientLeft => None,
            Self::ProviderFailed(why)
            | Self::ProviderCut(why)
            | Self::Unreachable(why)
            | Self::TimedOut(why)
            | Self::TooLong(why)
            | Self::Revoked(why)
            | Self::Refused(why)
            | Self::Panicked(why) => Some(why),
        }
    }

    /// Whether a provider that was asked has read the request, and perhaps goes on writing, though
    /// its response was not waited for: it charges for that.
    #[must_use]
    pub fn leaves_work(&self) -> bool {
        matches!(
            self,
            Self::ClientLeft | Self::TimedOut(_) | Self::TooLong(_) | Self::Revoked(_)
        )
    }

    /// Why the provider's health suffers, if it does. What a provider reports itself may be the
    /// caller's fault, and a status was judged when it arrived.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        match self {
            Self::ProviderCut(why) | Self::TimedOut(why) => Some(why),
            _ => None,
        }
    }
}
