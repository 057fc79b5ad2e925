//! The record of a request while it runs. However the request ends, exactly one entry
//! reaches the ledger: whoever drops a recording without ending it has lost its caller.

use std::time::Instant;

use crate::api::Reading;
use crate::ledger::{Entry, Outcome, Slot};

/// A record being made.
pub struct Recording {
    started: Instant,
    open: Option<(Slot, Box<Entry>)>,
}

impl Recording {
    /// Starts a record; `slot` is the room that the ledger has reserved for it.
    #[must_use]
    pub fn new(slot: Slot, entry: Entry) -> Self {
        Self {
            started: Instant::now(),
            open: Some((slot, Box::new(entry))),
        }
    }

    /// Changes the entry, as more becomes known.
    pub fn note(&mut self, change: impl FnOnce(&mut Entry)) {
        if let Some((_, entry)) = &mut self.open {
            change(entry);
        }
    }

    /// Milliseconds since the request came.
    #[must_use]
    pub fn elapsed_ms(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1000.0
    }

    /// Ends the record.
    pub fn end(&mut self, outcome: Outcome, reading: Reading, error: Option<String>) {
        let Some((slot, mut entry)) = self.open.take() else {
            return;
        };
        entry.outcome = outcome;
        entry.duration_ms = self.elapsed_ms();
        entry.tokens = reading.tokens;
        entry.finish_reason = reading.finish_reason;
        entry.tool_calls = reading.tool_calls;
        entry.error = error;
        tracing::info!(
            id = entry.id.as_str(),
            login = entry.login,
            node = entry.node_name,
            model = entry.model_requested,
            provider = entry.provider,
            status = entry.status,
            outcome = entry.outcome.as_str(),
            duration_ms = entry.duration_ms,
            "request"
        );
        slot.record((*entry).into());
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end(Outcome::ClientClosed, Reading::default(), None);
    }
}
