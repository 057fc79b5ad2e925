//! Versions of the configuration that came into force while the database could not be written. The
//! change itself takes effect at once; the history gets it when the database can be written again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use super::Engines;
use crate::base::lock::lock;
use crate::records::{Ledger, Version};

/// Between two tries.
const EVERY: Duration = Duration::from_secs(2);

/// How long a change waits for a database that doesn't answer.
const SOON: Duration = Duration::from_secs(2);

/// Versions that wait; beyond it the oldest are left out of the history.
const MOST: usize = 100;

/// What waits to be written.
#[derive(Default)]
pub(super) struct Unwritten {
    waiting: Mutex<Waiting>,
    added: Notify,
}

#[derive(Default)]
struct Waiting {
    /// In the order in which they were in force.
    versions: VecDeque<Version>,
    /// Buckets without a definition are stored.
    buckets: bool,
}

impl Unwritten {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    /// Notes that buckets without a definition have to be deleted.
    pub(super) fn buckets(&self) {
        self.lock().buckets = true;
        self.added.notify_one();
    }

    /// Keeps a version in the history, after those that wait. Answers whether it is there.
    pub(super) async fn remember(&self, ledger: &Ledger, version: Version) -> bool {
        let is_first = self.lock().versions.is_empty();
        if is_first && soon(add(ledger, version.clone())).await {
            return true;
        }
        let mut waiting = self.lock();
        waiting.versions.push_back(version);
        while waiting.versions.len() > MOST {
            waiting.versions.pop_front();
        }
        drop(waiting);
        self.added.notify_one();
        false
    }

    /// Writes the versions that wait, until one can't be written. Answers whether all were.
    async fn write_versions(&self, ledger: &Ledger) -> bool {
        loop {
            let Some(version) = self.lock().versions.front().cloned() else {
                return true;
            };
            let id = version.id.clone();
            if !add(ledger, version).await {
                return false;
            }
            let mut waiting = self.lock();
            // It can have been left out meanwhile.
            if waiting.versions.front().is_some_and(|first| first.id == id) {
                waiting.versions.pop_front();
            }
        }
    }
}

/// Whether something is written, soon.
pub(super) async fn soon(written: impl Future<Output = bool>) -> bool {
    tokio::time::timeout(SOON, written).await.unwrap_or(false)
}

async fn add(ledger: &Ledger, version: Version) -> bool {
    let hash = version.hash.clone();
    match ledger.add_version(version).await {
        Ok(true) => tracing::debug!(hash, "a version of the configuration is new"),
        Ok(false) => {}
        Err(error) => {
            tracing::debug!(%error, hash, "a version of the configuration can't be written");
            return false;
        }
    }
    true
}

/// Writes what waits to the database; never returns.
pub(super) async fn write_later(engines: Arc<Engines>, unwritten: Arc<Unwritten>) {
    loop {
        unwritten.added.notified().await;
        loop {
            tokio::time::sleep(EVERY).await;
            let gateway = &engines.gateway;
            if gateway.ledger.writable().is_err() {
                continue;
            }
            let is_due = std::mem::take(&mut unwritten.lock().buckets);
            let rules = gateway.rules.borrow().clone();
            if is_due && !gateway.quotas.retain(&rules.quotas).await {
                unwritten.lock().buckets = true;
                continue;
            }
            if unwritten.write_versions(&gateway.ledger).await {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::EntryId;

    fn version(at: i64) -> Version {
        Version {
            id: EntryId::new(at),
            at,
            actor: String::new(),
            node: String::new(),
            how: "file".to_owned(),
            hash: at.to_string(),
            parent: None,
            text: at.to_string(),
        }
    }

    #[tokio::test]
    async fn versions_wait_in_order_until_they_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open("sqlite:iris.db", dir.path()).unwrap();
        let other = rusqlite::Connection::open(dir.path().join("iris.db")).unwrap();
        let unwritten = Unwritten::default();
        assert!(unwritten.remember(&ledger, version(1)).await);
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        assert!(!unwritten.remember(&ledger, version(2)).await);
        assert!(!unwritten.write_versions(&ledger).await);
        other.execute_batch("ROLLBACK").unwrap();
        // Not before the one that waits.
        assert!(!unwritten.remember(&ledger, version(3)).await);
        assert!(unwritten.write_versions(&ledger).await);
        assert!(unwritten.remember(&ledger, version(4)).await);
        let versions = ledger.versions().await.unwrap();
        let hashes: Vec<&str> = versions.iter().map(|one| one.hash.as_str()).collect();
        assert_eq!(hashes, ["4", "3", "2", "1"]);
        for nth in 0..=i64::try_from(MOST).unwrap() {
            unwritten.lock().versions.push_back(version(10 + nth));
        }
        assert!(!unwritten.remember(&ledger, version(999)).await);
        let waiting = unwritten.lock();
        assert_eq!((waiting.versions.len(), waiting.versions[0].at), (MOST, 12));
    }
}
