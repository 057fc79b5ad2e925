//! The journal: records on their way to the database, and the queues that are filled with them. The `writer`
//! writes them.

mod queues;
pub(super) mod retention;

use super::Record;
use super::stores::Failure;
pub use queues::{Batch, Delivery, Queued, Waiting};
pub(super) use queues::{Exports, Outbox};
use retention::Policy;

/// What a store of the journal does: an entry is durable before anyone sees it, and all that goes with
/// it is written in the same transaction: captures, sums, what it takes of budgets, and the queues of
/// exporters and hooks ([`Exports`], [`Outbox`]).
pub(super) trait Journal: Exports + Outbox {
    /// Writes a group of records and commits. Records whose id exists already are skipped with all that
    /// goes with them, so that a group may be written again when it isn't known how its commit ended.
    /// Returns how many were skipped.
    fn write(&mut self, records: &[&Record], policy: &Policy) -> Result<usize, Failure>;
    /// Purges a batch of what has become too old. Returns how many rows went, and whether there
    /// may be more.
    fn purge(&mut self, policy: &Policy, now: i64) -> Result<(u64, bool), Failure>;
}
