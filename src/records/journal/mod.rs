//! The journal: records on their way to the tables that are queried, and the queues that are filled with them.
//! The `writer` writes them.

pub(super) mod packed;
mod queues;
pub(super) mod retention;

use std::collections::HashSet;

use super::{Failure, Record};
use packed::Packed;
use packed::unpacked::{Journaled, Unpacked};
pub use queues::{Batch, Queued, Waiting};
pub(super) use queues::{Exports, Outbox};
use retention::Policy;

/// A group of records, to be written together.
pub(super) struct Group<'g> {
    pub(super) packed: &'g Packed,
    pub(super) records: &'g [&'g Record],
    /// It isn't known how an earlier try to write it has ended.
    pub(super) is_again: bool,
}

/// What can't be folded, and stays out so that all else can.
#[derive(Clone, Default)]
pub(super) struct LeftOut {
    /// Ids of rows that can't be read. They stay in the journal.
    pub(super) rows: HashSet<String>,
    /// Ids of entries at which folding panics. They are gone.
    pub(super) entries: HashSet<String>,
}

/// What was folded.
#[derive(Default)]
pub(super) struct Folded {
    /// How many records.
    pub(super) records: usize,
    /// How many of them had an id that was there already.
    pub(super) skipped: usize,
    /// The last row; all before it are folded too. `None` where there was none.
    pub(super) last: Option<String>,
    /// There may be more.
    pub(super) is_more: bool,
    /// Something was queued for hooks.
    pub(super) has_deliveries: bool,
    /// Rows held what is not kept any more.
    pub(super) has_dropped: bool,
    /// Rows that can't be read, and why.
    pub(super) unreadable: Vec<(String, Failure)>,
}

/// What a store of the journal does. A group of records is one row of it, written in the same transaction as
/// what the records take of budgets: they are durable then. Later they are *folded* into what is queried:
/// entries, and what goes with them, captures, sums, and the queues of exporters and hooks ([`Exports`],
/// [`Outbox`]), all in the transaction that deletes the row.
pub(super) trait Journal: Exports + Outbox {
    /// Appends a group and commits. False where it is there already, or was and is folded: an earlier try
    /// has succeeded.
    fn append(&mut self, group: &Group<'_>) -> Result<bool, Failure>;
    /// Does all that appending a group takes, and undoes it.
    fn try_append(&mut self, group: &Group<'_>) -> Result<(), Failure>;
    /// The last row that is to be folded, if there is one. Those that can't be read are not.
    fn unfolded(&mut self, unreadable: &HashSet<String>) -> Result<Option<String>, Failure>;
    /// How many records are in it.
    fn length(&mut self) -> Result<u64, Failure>;
    /// Folds the first rows, of about `most` records, and commits. Waits for another node that folds. Records
    /// whose id exists already are skipped with all that goes with them.
    fn fold(&mut self, policy: &Policy, left_out: &LeftOut, most: usize)
    -> Result<Folded, Failure>;
    /// The rows that would be folded next.
    fn waiting(&mut self, left_out: &LeftOut, most: usize) -> Result<Vec<Unpacked>, Failure>;
    /// Does all that folding a record takes, and undoes it.
    fn try_fold(&mut self, record: &Journaled<'_>, policy: &Policy) -> Result<(), Failure>;
    /// Purges a batch of what has become too old. Returns how many rows went, and whether there
    /// may be more.
    fn purge(&mut self, policy: &Policy, now: i64) -> Result<(u64, bool), Failure>;
}
