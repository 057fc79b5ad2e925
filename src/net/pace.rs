//! How long it has been the caller's turn: to take a piece of a response, or to send a request. To begin and
//! to end a turn is one store, and the timer is set again only when it fires, because both happen for
//! each request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Since when it has been the caller's turn.
pub(super) struct Pace {
    began: Instant,
    /// In milliseconds from there, and one; zero while a piece is waited for.
    given: AtomicU64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            given: AtomicU64::new(0),
        }
    }

    pub(super) fn give(&self) {
        let now = self.began.elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX - 1) + 1;
        self.given.store(now, Ordering::Relaxed);
    }

    pub(super) fn ask(&self) {
        self.given.store(0, Ordering::Relaxed);
    }

    /// Waits until it has been the caller's turn for this long.
    pub(super) async fn stalled(&self, within: Duration) {
        if within.is_zero() {
            return std::future::pending().await;
        }
        loop {
            // A piece that is given right after this look is due when it is looked at next.
            let given = self.given.load(Ordering::Relaxed);
            let due = match given.checked_sub(1) {
                Some(given) => self.began + Duration::from_millis(given) + within,
                None => Instant::now() + within,
            };
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::sleep;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn only_a_piece_that_is_not_taken_is_waited_for() {
        let pace = Arc::new(Pace::new());
        let began = Instant::now();
        let gives = Arc::clone(&pace);
        tokio::spawn(async move {
            // Nothing comes, pieces are taken, nothing comes, and the last is not taken.
            sleep(5 * LONG).await;
            for _ in 0..10 {
                gives.give();
                sleep(LONG / 2).await;
            }
            gives.ask();
            sleep(3 * LONG).await;
            gives.give();
        });
        pace.stalled(LONG).await;
        assert_eq!(began.elapsed(), (5 + 5 + 3 + 1) * LONG);
    }
}
