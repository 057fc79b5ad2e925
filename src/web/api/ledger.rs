//! What the ledger answers.

use crate::records::EntryId;

/// A page of rows.
pub(in crate::web) struct Page<R> {
    /// Newest first.
    pub rows: Vec<R>,
    /// The cursor of the page after, if this one is full.
    pub next: Option<EntryId>,
}

impl<R> Page<R> {
    pub(super) fn new(rows: Vec<R>, limit: usize, cursor: fn(&R) -> &EntryId) -> Self {
        let last = rows.last().filter(|_| rows.len() == limit);
        let next = last.map(cursor).cloned();
        Self { rows, next }
    }
}
