//! Where wall-clock time comes from. Durations are measured with [`std::time::Instant`];
//! this is for the timestamps that people read, and for time limits, of which zero means no limit.

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

/// How long to wait before trying again: doubles with each time, up to a bound, a quarter more or
/// less, so that those who wait for the same thing don't come back together.
#[must_use]
pub fn backoff(first: Duration, times: u32, most: Duration) -> Duration {
    let wait = first
        .saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
        .min(most);
    let mut random = [0];
    // Without random bytes the wait is only less spread.
    let _ = getrandom::fill(&mut random);
    wait.mul_f64(0.75 + f64::from(random[0]) / 512.0)
}

/// Milliseconds without the digits that a computation adds: they say nothing, and are printed.
#[must_use]
pub fn to_microsecond(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1000.0
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

/// Milliseconds by a clock that is never set and that goes on while the machine sleeps, from some
/// start: for durations that a sleep counts in, which [`std::time::Instant`] leaves out on Linux.
#[must_use]
pub fn steady_ms() -> i64 {
    #[cfg(target_os = "linux")]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(CLOCK);
    time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
}

/// One moment by both clocks, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By [`unix_ms`].
    pub unix: i64,
    /// By [`steady_ms`].
    pub steady: i64,
}

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self {
            unix: unix_ms(),
            steady: steady_ms(),
        }
    }

    /// The Unix time of what was then by the steady clock, as the machine's clock is set now.
    #[must_use]
    pub const fn unix_of(self, steady: i64) -> i64 {
        self.unix - (self.steady - steady)
    }
}

#[cfg(test)]
mod tests {
    use super::to_microsecond;

    #[test]
    fn milliseconds_are_printed_as_they_were_measured() {
        for (ms, text) in [
            (1.061_999_000_000_000_1, "1.062"),
            (0.1 + 0.2, "0.3"),
            (45.254_833_995_939_045, "45.255"),
            (1_234_567.000_400_1, "1234567"),
            (0.0, "0"),
        ] {
            assert_eq!(to_microsecond(ms).to_string(), text);
        }
    }
}
