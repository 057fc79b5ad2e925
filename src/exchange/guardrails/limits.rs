//! How long a guardrail may inspect a request, and whether its caller still waits.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// The longest that one guardrail inspects one request.
pub(super) const LONGEST: Duration = Duration::from_secs(20);

/// Long requests that are inspected at once. Each takes a whole processor.
pub(super) fn at_once() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A guardrail did not get to the end of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped;

/// What bounds one inspection.
#[derive(Clone, Debug)]
pub struct Limits {
    until: Instant,
    cancelled: CancellationToken,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(CancellationToken::new())
    }
}

impl Limits {
    /// The limits of an inspection that begins now, and that stops once `cancelled` is.
    pub fn new(cancelled: CancellationToken) -> Self {
        Self {
            until: Instant::now() + LONGEST,
            cancelled,
        }
    }

    /// Whether the inspection may go on.
    pub(super) fn check(&self) -> Result<(), Stopped> {
        if self.cancelled.is_cancelled() || Instant::now() >= self.until {
            return Err(Stopped);
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn within(limit: Duration) -> Self {
        Self {
            until: Instant::now() + limit,
            cancelled: CancellationToken::new(),
        }
    }
}
