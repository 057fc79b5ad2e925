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
use super::relayed::RunBy;
use super::running::Running;
use super::{Gateway, KEPT_MS};
use crate::base::clock;
use crate::records::objects::{Claimant, Kind, Object};

/// Batches that a process runs itself at once, and those of one owner.
const MOST: usize = 8;
const MOST_OF_ONE: usize = 2;
/// Batches that it has providers run besides.
const MOST_RELAYED: usize = 256;
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
        // How many of each owner this process runs itself.
        let mut owners: HashMap<String, usize> = HashMap::new();
        // After a clock was set or a machine has slept, this process can be given again what it runs.
        let mut ids: HashSet<(String, String)> = HashSet::new();
        let mut swept: Option<Instant> = None;
        loop {
            if swept.is_none_or(|at| at.elapsed() > SWEEP) {
                swept = Some(Instant::now());
                self.sweep().await;
            }
            let room = (MOST + MOST_RELAYED).saturating_sub(running.len());
            for object in self.due(&claimant, room.min(MOST)).await {
                let id = (object.owner.clone(), object.id.clone());
                if ids.contains(&id) {
                    continue;
                }
                let held = HeldBatch::new(self.gateway, &claimant, object);
                let Some(held) = held else { continue };
                let is_here = matches!(held.detail.run_by, RunBy::Gateway);
                if is_here {
                    let here: usize = owners.values().sum();
                    let of_owner = owners.get(&id.0).copied().unwrap_or_default();
                    if here >= MOST || of_owner >= MOST_OF_ONE {
                        held.put_off(LATER).await;
                        continue;
                    }
                    owners.insert(id.0.clone(), of_owner + 1);
                }
                ids.insert(id.clone());
                running.push(self.batch(id, held, is_here));
            }
            tokio::select! {
                Some((id, is_here)) = running.next(), if !running.is_empty() => {
                    if let Some(of_owner) = owners.get_mut(&id.0).filter(|_| is_here) {
                        *of_owner = of_owner.saturating_sub(1);
                    }
                    owners.retain(|_, of_owner| *of_owner > 0);
                    ids.remove(&id);
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

    /// Runs a batch as far as it goes. Returns whose it is, its id, and whether this process ran it itself.
    async fn batch(
        &self,
        id: (String, String),
        held: HeldBatch<'_>,
        is_here: bool,
    ) -> ((String, String), bool) {
        if let Some(mut running) = Running::new(&self.owners, held) {
            running.run().await;
        }
        (id, is_here)
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
