//! What is kept, and for how long: captures and calls of tools are purged in small batches, by
//! the writer, between groups. Entries and sums are kept for ever.

use std::time::Duration;

use crate::config::{Database, Retention};

/// Between two looks for what has become too old.
pub(crate) const EVERY: Duration = Duration::from_mins(1);

/// What goes to the disk. A gateway asks before it makes a capture at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    pub captures: bool,
    pub tools: bool,
    /// Whether a capture holds the answer as it came.
    pub raws: bool,
}

/// What the configuration says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) retention: Retention,
    raws: bool,
    /// Those for whom entries are queued.
    pub(crate) exporters: Vec<String>,
}

impl Policy {
    pub(crate) fn new(database: &Database, exporters: &[&str]) -> Policy {
        Policy {
            retention: database.retention.clone(),
            raws: database.save_raws,
            exporters: exporters.iter().map(ToString::to_string).collect(),
        }
    }

    pub(crate) fn keep(&self) -> Keep {
        let never = self.retention.duration == Some(Duration::ZERO);
        let captures = !(never && self.retention.purge.captures);
        Keep {
            captures,
            tools: !(never && self.retention.purge.tools),
            raws: captures && self.raws,
        }
    }
}
