//! The journal: records on their way to the database.
//!
//! One thread writes them, in groups (`writer`), so that many records share one wait for the disk. A
//! request takes its room in the queue before it is accepted (`room`), other work gets its turn between
//! groups (`turn`), and those who wait for records hear of them once they are durable (`written`).

pub(super) mod misplaced;
mod queues;
pub(super) mod retention;
pub(super) mod room;
pub(super) mod turn;
pub(super) mod writer;
pub(super) mod written;

use super::stores::Failure;
use super::{EntryId, Record};
pub use queues::{Batch, Delivery, Queued, Waiting};
use retention::Policy;

/// What a store of the journal is for: an entry is durable before anyone sees it, and all that goes with
/// it is written in the same transaction: captures, sums, what it takes of budgets, and the queues of
/// exporters and hooks, which are worked off here.
pub(super) trait Journal {
    /// Writes a group of records and commits. Those whose id is there already are left out of everything,
    /// so that a group may be written again after a commit of which nobody knows how it ended. Answers
    /// with how many were left out.
    fn write(&mut self, records: &[&Record], policy: &Policy) -> Result<usize, Failure>;
    /// Purges a batch of what has become too old. Answers with how many rows went, and whether there
    /// may be more.
    fn purge(&mut self, policy: &Policy, now: i64) -> Result<(u64, bool), Failure>;
    /// Queues what was written while an exporter was off: all that is newer than the newest that it
    /// has taken. `alone` says that nobody else can be taking a batch.
    fn start_export(&mut self, exporter: &str, alone: bool) -> Result<(), Failure>;
    /// Takes a batch of up to `limit` entries, under the name `name` unless one was left behind. Nobody
    /// else gets them for `lease`, in milliseconds.
    fn take_batch(
        &mut self,
        exporter: &str,
        name: &str,
        limit: usize,
        lease: i64,
    ) -> Result<Option<Batch>, Failure>;
    /// Puts entries back that did not fit into their batch.
    fn put_back(&mut self, exporter: &str, entries: &[EntryId]) -> Result<(), Failure>;
    /// Lets a batch that could not be sent be taken up again at once.
    fn abandon_batch(&mut self, exporter: &str, batch: &str) -> Result<(), Failure>;
    /// Forgets a batch that is where it should be.
    fn exported(&mut self, exporter: &str, batch: &Batch) -> Result<(), Failure>;
    /// How many entries an exporter has yet to take.
    fn export_waiting(&mut self, exporter: &str) -> Result<u64, Failure>;
    /// Takes up to `count` deliveries that are due for a hook. Nobody else gets them for `lease`, in
    /// milliseconds.
    fn due(&mut self, hook: &str, count: usize, lease: i64) -> Result<Vec<Queued>, Failure>;
    /// Makes all deliveries due now.
    fn hasten(&mut self) -> Result<(), Failure>;
    /// Forgets a delivery.
    fn delivered(&mut self, id: &str) -> Result<(), Failure>;
    /// Makes a delivery due once more, after so many milliseconds.
    fn put_off(&mut self, id: &str, wait: i64) -> Result<(), Failure>;
    /// What waits for each hook.
    fn deliveries_waiting(&mut self) -> Result<Vec<Waiting>, Failure>;
    /// Forgets what is for other hooks than `hooks`, and of each the oldest beyond so many rows and
    /// bytes. Answers with how many of whose went.
    fn retain_deliveries(
        &mut self,
        hooks: &[String],
        rows: usize,
        bytes: i64,
    ) -> Result<Vec<(String, u64)>, Failure>;
}
