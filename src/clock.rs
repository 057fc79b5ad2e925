//! Where wall-clock time comes from. Durations are measured with [`std::time::Instant`];
//! this is for the timestamps that people read, and for bounds, of which zero is none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::error::Elapsed;

/// Waits for `future`, at most for `limit`; zero waits without end.
///
/// # Errors
/// [`Elapsed`] when the time is over.
pub async fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    if limit.is_zero() {
        return Ok(future.await);
    }
    tokio::time::timeout(limit, future).await
}

/// The time by the machine's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "here is where time comes from")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since the Unix epoch; 0 for a clock set before it.
#[must_use]
pub fn unix_ms() -> i64 {
    now().duration_since(UNIX_EPOCH).map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
