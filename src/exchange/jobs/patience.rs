//! For how long something has failed. Only the time between tries counts, not that in which no process was there
//! to try, and it is stored with its batch: a gateway that restarts often gives up as soon as one that doesn't, and one
//! that was stopped for a week tries again before it gives up.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// For how long something has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FailingFor {
    ms: u64,
    /// When this process has last tried.
    #[serde(skip)]
    last: Option<Instant>,
}

impl FailingFor {
    /// Notes a try. Returns whether all of them took at least `most`.
    pub(super) fn tried(&mut self, most: Duration) -> bool {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            let passed = now.saturating_duration_since(last).as_millis();
            let passed = u64::try_from(passed).unwrap_or(u64::MAX);
            self.ms = self.ms.saturating_add(passed);
        }
        u128::from(self.ms) >= most.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_mins(10);

    /// As another process reads it.
    fn restarted(failing: FailingFor) -> FailingFor {
        serde_json::from_slice(&serde_json::to_vec(&failing).unwrap()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn tries_of_processes_that_restart_often_add_up() {
        let mut failing = FailingFor::default();
        for _ in 0..5 {
            assert!(!failing.tried(MOST));
            tokio::time::advance(Duration::from_mins(2)).await;
            let is_over = failing.tried(MOST);
            if is_over {
                return;
            }
            failing = restarted(failing);
            // While no process runs, nothing is tried.
            tokio::time::advance(Duration::from_hours(1)).await;
        }
        panic!("ten minutes of tries are not enough: {failing:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_try_after_a_long_stop_is_not_enough() {
        let mut failing = FailingFor::default();
        failing.tried(MOST);
        failing = restarted(failing);
        tokio::time::advance(Duration::from_hours(24)).await;
        assert!(!failing.tried(MOST));
    }
}
