//! Signs of life for the service manager, which restarts a process that is silent.
//!
//! What is waited for is each accept loop: it answers only where the runtime still has a thread
//! for it, its timers and its sockets. The ledger's writer must be there, but it may wait for its
//! disk or its server as long as that takes: it holds records that a restart would lose, and
//! requests are refused meanwhile.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::Engines;
use crate::app::systemd::{Manager, Service};
use crate::base::lock::lock;

/// Beats within the time after which a silent process is hung: one late beat is not a missed one.
const BEATS: u32 = 4;

/// What must answer each beat.
#[derive(Default)]
pub(super) struct Heart {
    beat: watch::Sender<u64>,
    loops: Mutex<Vec<(&'static str, Weak<AtomicU64>)>>,
}

/// One loop's answer.
pub(super) struct Pulse {
    beats: watch::Receiver<u64>,
    felt: Arc<AtomicU64>,
}

impl Heart {
    /// For a loop that has to answer for as long as it runs.
    pub(super) fn pulse(&self, what: &'static str) -> Pulse {
        let beats = self.beat.subscribe();
        let felt = Arc::new(AtomicU64::new(*beats.borrow()));
        let mut loops = lock(&self.loops);
        loops.push((what, Arc::downgrade(&felt)));
        Pulse { beats, felt }
    }

    fn next(&self) -> u64 {
        self.beat.send_modify(|beat| *beat += 1);
        *self.beat.borrow()
    }

    /// A loop that runs and has not answered.
    fn silent(&self, beat: u64) -> Option<&'static str> {
        let mut loops = lock(&self.loops);
        loops.retain(|(_, felt)| felt.strong_count() > 0);
        let silent = |felt: &Weak<AtomicU64>| {
            let felt = felt.upgrade();
            felt.is_some_and(|felt| felt.load(Ordering::Relaxed) < beat)
        };
        let found = loops.iter().find(|(_, felt)| silent(felt));
        found.map(|(what, _)| *what)
    }
}

impl Pulse {
    /// Waits for `work`, and answers meanwhile.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                // First, because a busy loop always has work.
                biased;
                Ok(()) = self.beats.changed() => {
                    let beat = *self.beats.borrow_and_update();
                    self.felt.store(beat, Ordering::Relaxed);
                }
                done = work.as_mut() => return done,
            }
        }
    }
}

/// Starts to beat, if the service manager watches for signs of life.
pub(super) fn start(engines: &Arc<Engines>, service: &Service) {
    if let Some(within) = service.watchdog {
        let manager = service.manager.clone();
        tokio::spawn(beat(Arc::downgrade(engines), manager, within));
    }
}

/// Tells the manager of each beat that was answered. Goes on while running requests end.
async fn beat(engines: Weak<Engines>, manager: Manager, within: Duration) {
    loop {
        let Some(beat) = engines.upgrade().map(|engines| engines.heart.next()) else {
            return;
        };
        tokio::time::sleep(within / BEATS).await;
        let Some(engines) = engines.upgrade() else {
            return;
        };
        if let Some(what) = engines.heart.silent(beat) {
            tracing::error!("{what} is hung; the service manager will restart the gateway");
        } else if engines.gateway.ledger.has_writer() {
            manager.alive();
        } else {
            tracing::error!(
                "the ledger's writer is gone; the service manager will restart the gateway"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_turns_answers_and_one_that_hangs_is_named() {
        let heart = Heart::default();
        let (mut busy, mut waiting) = (heart.pulse("busy"), heart.pulse("waiting"));
        let hung = heart.pulse("hung");
        let beat = heart.next();
        assert_eq!(heart.silent(beat), Some("busy"));
        busy.during(async {}).await;
        assert_eq!(heart.silent(beat), Some("waiting"));
        let wait = waiting.during(std::future::pending::<()>());
        let waited = tokio::time::timeout(Duration::from_millis(10), wait).await;
        assert!(waited.is_err());
        assert_eq!(heart.silent(beat), Some("hung"));
        // What has ended can't hang.
        drop(hung);
        assert_eq!(heart.silent(beat), None);
        assert_eq!(heart.silent(heart.next()), Some("busy"));
    }
}
