//! A refusal of ours, before it takes the form of a caller's API.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::base::memory;

/// A stable name for a kind of refusal: for logs, records and scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub &'static str);

/// Why a request goes no further.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// Status that the caller sees.
    pub status: StatusCode,
    /// Stable name.
    pub code: Code,
    /// Sentence for the caller; never holds a secret or another caller's data.
    pub message: Cow<'static, str>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// Everything that speaks against the request, for those who show it one by one.
    pub details: Option<Box<serde_json::Value>>,
}

/// The code of a refusal for a request that the program panicked at.
const PANICKED: &str = "gateway_failed";

impl From<memory::Full> for Rejection {
    fn from(full: memory::Full) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "memory_full",
            full.to_string(),
        )
        .retry_after(memory::RETRY)
    }
}

impl Rejection {
    /// For the caller of a request that the program panicked at: the reason is in its log.
    #[must_use]
    pub fn panicked() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            PANICKED,
            "the gateway failed at this request, by a fault of its own; its log says where",
        )
    }

    /// Whether it is for a request that the program panicked at.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.code.0 == PANICKED
    }

    /// A refusal without a time to retry.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code: Code(code),
            message: message.into(),
            retry_after: None,
            details: None,
        }
    }

    /// The same refusal, with everything that speaks against the request.
    #[must_use]
    pub fn details(mut self, details: serde_json::Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The same refusal, with a `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}
