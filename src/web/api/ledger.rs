//! What the ledger answers, and what is said when it can't be read or written.

use std::time::Duration;

use http::StatusCode;

use crate::records::{EntryId, Error, Ledger};
use crate::wire::Rejection;

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

/// How long a caller waits before the next try.
const RETRY: Duration = Duration::from_secs(5);

/// The ledger can't be used, or was asked for what it doesn't answer.
pub(in crate::web) fn unavailable(error: &Error) -> Rejection {
    if let Error::Report(why) = error {
        return Rejection::new(StatusCode::BAD_REQUEST, "bad_query", *why);
    }
    let what = if error.is_of_write() {
        "the database cannot be written right now"
    } else {
        "the records cannot be read right now"
    };
    tracing::error!(%error, "{what}");
    Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", what).retry_after(RETRY)
}

/// What changes something is noted, so it waits until that is possible.
///
/// # Errors
/// Where it is known that nothing can be written.
pub(super) fn writable(ledger: &Ledger) -> Result<(), Rejection> {
    ledger.writable().map_err(|error| unavailable(&error))
}
