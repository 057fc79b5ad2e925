//! How long a guard may look, and whether anybody still waits for it.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// The longest that one guard looks at one request.
pub(super) const LONGEST: Duration = Duration::from_secs(20);

/// Looks at long requests at once. They take a whole processor each.
pub(super) fn at_once() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A guard did not get to the end of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped;

/// What bounds one look.
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
    /// The limits of a look that begins now, and that is over once `cancelled` is.
    #[must_use]
    pub fn new(cancelled: CancellationToken) -> Self {
        Self {
            until: Instant::now() + LONGEST,
            cancelled,
        }
    }

    /// Whether the look may go on.
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
