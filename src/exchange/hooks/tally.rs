//! How often hooks were called and what came of it, and how they take their requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::codings::Codings;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The request could pass.
    Allowed,
    /// It was refused.
    Blocked,
    /// It was rewritten.
    Modified,
    /// There was no answer.
    Failed,
    /// The hook was told.
    Delivered,
    /// It was not, and is tried again.
    Retried,
    /// It never will be.
    Dropped,
}

impl What {
    /// Its word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Blocked => "blocked",
            Self::Modified => "modified",
            Self::Failed => "failed",
            Self::Delivered => "delivered",
            Self::Retried => "retried",
            Self::Dropped => "dropped",
        }
    }
}

/// Counts by hook since the process started. Names are those of configurations, so there are few.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Mutex<BTreeMap<(String, What), u64>>,
    /// In which coding each takes its requests.
    pub(super) codings: Codings,
}

impl Tally {
    /// Counts calls of a hook.
    pub(super) fn count(&self, hook: &str, what: What, times: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((hook.to_owned(), what)).or_default() += times;
    }

    /// All counts.
    pub fn counts(&self) -> BTreeMap<(String, What), u64> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }
}
