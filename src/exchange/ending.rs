//! How an exchange ended. The part that sees the end reports it with one of these values: the
//! record, the charge and the provider's health follow from it, and none of them guesses.

use bytes::Bytes;
use http::StatusCode;

use crate::formats::Reading;
use crate::records::Outcome;
use crate::wire::Rejection;

/// Where an exchange stood when it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its body was read, and its providers were looked for.
    Route,
    /// Guards and hooks looked at it.
    Clear,
    /// A provider was to be asked: what is told then may be that none answered.
    Send,
}

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
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

/// How an exchange ended, and what was read of its response.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) ending: Ending,
    pub(super) metered: Metered,
}

/// What was read of a response.
#[derive(Debug, Default)]
pub(super) struct Metered {
    /// What the meter read.
    pub(super) reading: Reading,
    /// The response, decoded and, for a stream, put together, as far as there is room.
    pub(super) body: Bytes,
    /// The response as it came, if that is kept.
    pub(super) raw: Option<Bytes>,
    /// There was more than what is kept.
    pub(super) truncated: bool,
    /// Bytes of the response, decompressed.
    pub(super) length: u64,
}

impl Ended {
    /// An end without a response.
    pub(super) fn new(ending: Ending) -> Self {
        Self {
            ending,
            metered: Metered::default(),
        }
    }
}

impl Ending {
    /// How an exchange ended for which the caller got `rejection` instead of a response. Before a
    /// provider was to be asked, whatever the status is: guardrails choose theirs as they like.
    pub(super) fn of(stage: Stage, rejection: &Rejection) -> Self {
        let why = rejection.message.to_string();
        match (stage, rejection.status) {
            _ if rejection.is_panic() => Self::Panicked(why),
            (Stage::Send, StatusCode::BAD_GATEWAY) => Self::Unreachable(why),
            (Stage::Send, StatusCode::GATEWAY_TIMEOUT) => Self::TimedOut(why),
            _ => Self::Refused(why),
        }
    }

    /// The record's word for it.
    pub(super) fn outcome(&self) -> Outcome {
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
    pub(super) fn error(&self) -> Option<&str> {
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
    pub(super) fn leaves_work(&self) -> bool {
        matches!(
            self,
            Self::ClientLeft | Self::TimedOut(_) | Self::TooLong(_) | Self::Revoked(_)
        )
    }

    /// The same, unless the provider has reported an error: then that is how the response ended,
    /// whatever came after.
    pub(super) fn unless_reported(self, words: Option<String>) -> Self {
        match (self, words) {
            (ending @ (Self::Revoked(_) | Self::Panicked(_)), _) | (ending, None) => ending,
            (_, Some(words)) => Self::ProviderFailed(words),
        }
    }
}
