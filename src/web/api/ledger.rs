//! What the ledger answers, and what is said when it can't be read or written.

use std::time::Duration;

use http::StatusCode;

use crate::records::{EntryId, Error};
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

/// The ledger can't be used, or was asked for what it doesn't answer. The cause is for the log alone.
impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        if let Error::Report(why) = error {
            return Self::new(StatusCode::BAD_REQUEST, "bad_query", why);
        }
        let what = if error.is_of_write() {
            "the database cannot be written right now"
        } else {
            "the records cannot be read right now"
        };
        tracing::error!(%error, "{what}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", what).retry_after(RETRY)
    }
}
