//! Takes batches that are to be run, a few at a time. A batch is held by a lease, so that one process runs
//! it, and another takes it up when that process is gone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::held::{HeldBatch, LEASE};
use super::owners::Owners;
use super::running::Running;
use super::{Gateway, KEPT_MS};
use crate::base::clock;
use crate::records::objects::{Claimant, Kind, Object};

/// Batches that a process runs at once, and those of one owner.
const MOST: usize = 8;
const MOST_OF_ONE: usize = 2;
/// The longest time of a batch.
const LONGEST_WINDOW: Duration = Duration::from_hours(7 * 24);
/// Between two looks for batches. Those that are made here are seen at once.
const LOOK: Duration = Duration::from_secs(10);
/// How long a batch waits while its owner has as many running as one may have.
const LATER: Duration = Duration::from_secs(30);
/// Between two sweeps of old files.
const SWEEP: Duration = Duration::from_hours(1);

/// Runs the batches of this node.
pub struct Runner<'g> {
    pub gateway: &'g Gateway,
    pub owners: Owners<'g>,
}

impl Runner<'_> {
    /// Runs batches. It never returns.
    pub async fn run(&self) {
        let claimant = self.claimant();
        let mut running = FuturesUnordered::new();
        let mut owners: HashMap<String, usize> = HashMap::new();
        // After a clock was set or a machine has slept, this process can be given again what it runs.
        let mut ids: HashSet<(String, String)> = HashSet::new();
        let mut swept: Option<Instant> = None;
        loop {
            if swept.is_none_or(|at| at.elapsed() > SWEEP) {
                swept = Some(Instant::now());
                self.sweep().await;
            }
            for object in self.due(&claimant, MOST - running.len()).await {
                let id = (object.owner.clone(), object.id.clone());
                if ids.contains(&id) {
                    continue;
                }
                let of_owner = owners.entry(object.owner.clone()).or_default();
                if *of_owner >= MOST_OF_ONE {
                    let ledger = &self.gateway.ledger;
                    if let Err(error) = ledger.renew_object(&object, &claimant, LATER).await {
                        tracing::debug!(%error, "a batch waits for its lease");
                    }
                    continue;
                }
                *of_owner += 1;
                ids.insert(id);
                running.push(self.batch(object, &claimant));
            }
            tokio::select! {
                Some((owner, id)) = running.next(), if !running.is_empty() => {
                    ids.remove(&(owner.clone(), id));
                    let left = owners.get(&owner).map_or(0, |running| running.saturating_sub(1));
                    if left == 0 {
                        owners.remove(&owner);
                    } else {
                        owners.insert(owner, left);
                    }
                }
                () = self.gateway.jobs.made.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// This process. It holds batches under a name that no other process has.
    fn claimant(&self) -> Claimant {
        let random = getrandom::u64().unwrap_or_default();
        let node = self.gateway.jobs.disk.node().to_owned();
        Claimant {
            process: format!("{node}-{random:016x}"),
            node,
        }
    }

    async fn due(&self, claimant: &Claimant, most: usize) -> Vec<Object> {
        if most == 0 {
            return Vec::new();
        }
        let ledger = &self.gateway.ledger;
        let claimed = ledger
            .claim_objects(Kind::Batch, claimant, LEASE, most)
            .await;
        claimed.unwrap_or_else(|error| {
            tracing::debug!(%error, "batches wait: the database can't be written");
            Vec::new()
        })
    }

    /// Runs a batch as far as it goes. Returns whose it is, and its id.
    async fn batch(&self, object: Object, claimant: &Claimant) -> (String, String) {
        let id = (object.owner.clone(), object.id.clone());
        let held = HeldBatch::new(self.gateway, claimant, object);
        if let Some(mut running) = held.and_then(|held| Running::new(&self.owners, held)) {
            running.run().await;
        }
        id
    }

    /// Deletes files that no object can be of any more.
    async fn sweep(&self) {
        let disk = Arc::clone(&self.gateway.jobs.disk);
        // The last line of a batch can be as much older than its end as a batch may last.
        let kept = Duration::from_millis(KEPT_MS.unsigned_abs()) + LONGEST_WINDOW + SWEEP;
        let before = clock::now().checked_sub(kept);
        let swept = tokio::task::spawn_blocking(move || match before {
            Some(before) => disk.sweep(before),
            None => Ok(()),
        });
        if let Ok(Err(error)) = swept.await {
            tracing::warn!(%error, "old files of callers can't be deleted");
        }
    }
}
