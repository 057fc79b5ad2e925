//! Purges between groups.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Writer;
use crate::base::{clock, panics};
use crate::records::Failure;
use crate::records::journal::{Journal as _, retention};

impl Writer {
    /// Purges a batch; the next comes after the records that have arrived meanwhile, unless
    /// a flush waits for all.
    pub(super) fn purge(&mut self) {
        let due = std::mem::replace(&mut self.purge_at, Instant::now() + retention::EVERY);
        // A panic doesn't leave them waiting.
        let purges = std::mem::take(&mut self.purges);
        panics::point("purge");
        let mut total = 0;
        loop {
            match self.purge_batch() {
                Ok((purged, is_more)) => {
                    total += purged;
                    if is_more && !purges.is_empty() {
                        continue;
                    }
                    if is_more {
                        self.purge_at = due;
                    }
                }
                Err(error) => {
                    // Records come first; this is tried again.
                    tracing::warn!(error, "ledger: the purge of old captures failed");
                }
            }
            break;
        }
        for done in purges {
            let _ = done.send(total);
        }
    }

    fn purge_batch(&mut self) -> Result<(u64, bool), String> {
        self.connect()?;
        let policy = self.policy();
        let failed = |error: Failure| error.to_string();
        let (purged, is_more) = self
            .connection
            .purge(&policy, clock::unix_ms())
            .map_err(failed)?;
        self.unscrubbed |= purged > 0 || self.shared.deleted.swap(false, Ordering::Relaxed);
        if self.unscrubbed && !is_more {
            self.unscrubbed = !self.connection.scrub().map_err(failed)?;
        }
        if purged > 0 {
            tracing::info!(rows = purged, "ledger: old captures were purged");
        }
        Ok((purged, is_more))
    }
}
