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
use super::relayed::{Known, RunBy};
use super::running::Running;
use super::{Gateway, KEPT_MS};
use crate::base::clock;
use crate::base::lock::lock;
use crate::records::objects::{Claimant, Kind, Object};

/// Batches that a process runs itself at once, and those of one owner.
const MOST: usize = 8;
const MOST_OF_ONE: usize = 2;
/// Batches that it has providers run besides, and those of one owner.
const MOST_RELAYED: usize = 256;
const MOST_RELAYED_OF_ONE: usize = 32;
/// The longest time of a batch.
const LONGEST_WINDOW: Duration = Duration::from_hours(7 * 24);
/// Between two looks for batches. Those that are made here are seen at once.
const LOOK: Duration = Duration::from_secs(10);
/// How long a batch waits while as many run as may.
const LATER: Duration = Duration::from_secs(30);
/// Batches that are put off at one look.
const PUT_OFF: usize = 8;
/// Owners among whom turns are taken.
const MOST_OWNERS: usize = 1_000;
/// Between two sweeps of old files.
const SWEEP: Duration = Duration::from_hours(1);

/// Whose batch is next: of those with the fewest that run, the owner whose last turn is longest ago. So many batches of
/// one owner don't delay those of others.
#[derive(Default)]
struct Turns {
    owners: HashMap<String, Turn>,
    last: u64,
}

/// What an owner has.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// Batches that this process runs itself, and that it has providers run.
    here: usize,
    relayed: usize,
    /// Batches that were put off at this look.
    put_off: usize,
    /// The number of the last turn.
    last: u64,
}

impl Turns {
    /// The owner whose turn it is.
    fn next(&self, due: &[String]) -> Option<String> {
        let is_full = self.all(|turn| turn.here) >= MOST;
        let rank = |owner: &&String| {
            let turn = self.owners.get(*owner).copied().unwrap_or_default();
            // Once all places are taken, only relayed batches can begin, so how many run here doesn't matter.
            let here = if is_full { 0 } else { turn.here };
            (turn.put_off, here, turn.last)
        };
        due.iter().min_by_key(rank).cloned()
    }

    fn all(&self, count: fn(&Turn) -> usize) -> usize {
        self.owners.values().map(count).sum()
    }

    /// Whether another of an owner's may run: here, or at a provider.
    fn may_run(&self, owner: &str, is_here: bool) -> bool {
        let turn = self.owners.get(owner).copied().unwrap_or_default();
        if is_here {
            self.all(|turn| turn.here) < MOST && turn.here < MOST_OF_ONE
        } else {
            self.all(|turn| turn.relayed) < MOST_RELAYED && turn.relayed < MOST_RELAYED_OF_ONE
        }
    }

    fn begin(&mut self, owner: &str, is_here: bool) {
        let turn = self.take(owner);
        *turn.count(is_here) += 1;
    }

    /// A batch of an owner's is put off: it is another one's turn.
    fn put_off(&mut self, owner: &str) {
        self.take(owner).put_off += 1;
    }

    fn take(&mut self, owner: &str) -> &mut Turn {
        self.last += 1;
        let turn = self.owners.entry(owner.to_owned()).or_default();
        turn.last = self.last;
        turn
    }

    fn end(&mut self, owner: &str, is_here: bool) {
        if let Some(turn) = self.owners.get_mut(owner) {
            let count = turn.count(is_here);
            *count = count.saturating_sub(1);
        }
    }

    /// Forgets owners of whom nothing runs here, and nothing is due.
    fn forget(&mut self, due: &[String]) {
        self.owners.retain(|owner, turn| {
            turn.put_off = 0;
            turn.here + turn.relayed > 0 || due.contains(owner)
        });
    }
}

impl Turn {
    fn count(&mut self, is_here: bool) -> &mut usize {
        if is_here {
            &mut self.here
        } else {
            &mut self.relayed
        }
    }
}

/// Runs the batches of this node.
pub struct Runner<'g> {
    pub gateway: &'g Gateway,
    pub owners: Owners<'g>,
}

impl Runner<'_> {
    /// Runs batches. It never returns.
    pub async fn run(&self) {
        let claimant = self.claimant();
        let known = Known::default();
        let mut running = FuturesUnordered::new();
        let mut turns = Turns::default();
        // After a clock was set or a machine has slept, this process can be given again what it runs.
        let mut ids: HashSet<(String, String)> = HashSet::new();
        let mut swept: Option<Instant> = None;
        loop {
            if swept.is_none_or(|at| at.elapsed() > SWEEP) {
                swept = Some(Instant::now());
                self.sweep().await;
            }
            let mut room = PUT_OFF;
            let mut due = self.due(&claimant).await;
            while room > 0
                && let Some(owner) = turns.next(&due)
            {
                let Some(object) = self.claim(&claimant, &owner).await else {
                    // It has no other that is due.
                    due.retain(|one| *one != owner);
                    continue;
                };
                let id = (object.owner.clone(), object.id.clone());
                if ids.contains(&id) {
                    continue;
                }
                let held = HeldBatch::new(self.gateway, &claimant, object);
                let Some(held) = held else { continue };
                let is_here = matches!(held.detail.run_by, RunBy::Gateway);
                if !turns.may_run(&owner, is_here) {
                    held.put_off(LATER).await;
                    turns.put_off(&owner);
                    room -= 1;
                    continue;
                }
                turns.begin(&owner, is_here);
                ids.insert(id.clone());
                running.push(self.batch(id, &known, held, is_here));
            }
            turns.forget(&due);
            tokio::select! {
                Some((id, is_here)) = running.next(), if !running.is_empty() => {
                    turns.end(&id.0, is_here);
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

    /// The owners of batches that are to be run.
    async fn due(&self, claimant: &Claimant) -> Vec<String> {
        let ledger = &self.gateway.ledger;
        let owners = ledger.due_owners(Kind::Batch, claimant, MOST_OWNERS).await;
        owners.unwrap_or_else(|error| {
            tracing::debug!(%error, "batches wait: the database can't be read");
            Vec::new()
        })
    }

    /// The next batch of an owner.
    async fn claim(&self, claimant: &Claimant, owner: &str) -> Option<Object> {
        let ledger = &self.gateway.ledger;
        let claimed = ledger.claim_objects(Kind::Batch, Some(owner), claimant, LEASE, 1);
        match claimed.await {
            Ok(mut claimed) => claimed.pop(),
            Err(error) => {
                tracing::debug!(%error, "batches wait: the database can't be written");
                None
            }
        }
    }

    /// Runs a batch as far as it goes. Returns whose it is, its id, and whether this process ran it itself.
    async fn batch(
        &self,
        id: (String, String),
        known: &Known,
        held: HeldBatch<'_>,
        is_here: bool,
    ) -> ((String, String), bool) {
        if let Some(mut running) = Running::new(&self.owners, known, held) {
            running.run().await;
        }
        lock(known).remove(&id.1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_take_turns_however_many_batches_one_has() {
        let due: Vec<_> = ["ann", "bob", "eve"].map(str::to_owned).into();
        let mut turns = Turns::default();
        let mut run = |due: &[String]| {
            let next = turns.next(due).filter(|owner| turns.may_run(owner, true));
            if let Some(next) = &next {
                turns.begin(next, true);
            }
            next
        };
        let first: Vec<_> = (0..3).filter_map(|_| run(&due)).collect();
        assert_eq!(first, due, "one of each");
        let second: Vec<_> = (0..3).filter_map(|_| run(&due)).collect();
        assert_eq!(second, due, "then another of each");
        assert_eq!(run(&due), None, "two of each run");
        // Providers run others besides, of one owner up to a bound.
        for _ in 0..MOST_RELAYED_OF_ONE {
            assert!(turns.may_run("eve", false));
            turns.begin("eve", false);
        }
        assert!(!turns.may_run("eve", false) && turns.may_run("bob", false));
        for _ in 0..MOST_RELAYED_OF_ONE {
            turns.end("eve", false);
        }
        // One that ends makes room for its owner's next one, and for one who has waited longer.
        turns.end("ann", true);
        turns.end("bob", true);
        let due: Vec<_> = ["ann", "bob", "zed"].map(str::to_owned).into();
        assert_eq!(turns.next(&due).as_deref(), Some("zed"));
        turns.begin("zed", true);
        assert_eq!(turns.next(&due).as_deref(), Some("ann"));
        turns.end("zed", true);
        turns.end("eve", true);
        turns.end("eve", true);
        turns.forget(&[]);
        assert_eq!(turns.owners.len(), 2);
    }

    #[test]
    fn batches_that_are_put_off_give_others_their_turn() {
        let due: Vec<_> = ["ann", "bob"].map(str::to_owned).into();
        let mut turns = Turns::default();
        for owner in ["bob", "bob", "c", "c", "d", "d", "e", "e"] {
            turns.begin(owner, true);
        }
        // All places are taken: what `ann` has waits, and `bob` may have one for a provider.
        assert_eq!(turns.next(&due).as_deref(), Some("ann"));
        turns.put_off("ann");
        assert_eq!(turns.next(&due).as_deref(), Some("bob"));
        assert!(turns.may_run("bob", false));
        turns.put_off("bob");
        turns.forget(&due);
        // At the next look it is the turn of the one who has waited longer.
        assert_eq!(turns.next(&due).as_deref(), Some("ann"));
        turns.put_off("ann");
        turns.forget(&due);
        assert_eq!(turns.next(&due).as_deref(), Some("bob"));
    }
}
