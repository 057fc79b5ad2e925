//! What is kept, and for how long: captures and calls of tools are purged in small batches, by
//! the writer, between groups. Entries and sums are kept for ever.

use std::time::Duration;

use crate::config::{Database, Retention};
use crate::records::EntryId;
use crate::records::stores::sql::chats;
use crate::records::stores::sql::exports::{self, Progress};
use crate::records::stores::{Connection, Failure, Value};

/// Entries whose captures are purged in one transaction: few enough not to hold up records.
const BATCH: usize = 200;

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
    retention: Retention,
    raws: bool,
    exporters: Vec<String>,
}

impl Policy {
    pub(crate) fn new(database: &Database, exporters: &[&str]) -> Policy {
        Policy {
            retention: database.retention.clone(),
            raws: database.save_raws,
            exporters: exporters.iter().map(ToString::to_string).collect(),
        }
    }

    /// Those for whom entries are queued.
    pub(crate) fn exporters(&self) -> &[String] {
        &self.exporters
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

    /// The id from which on nothing is purged; `None` when nothing is.
    fn bound(&self, connection: &mut dyn Connection, now: i64) -> Result<Option<String>, Failure> {
        let Some(kept) = self.retention.duration else {
            return Ok(None);
        };
        if kept.is_zero() {
            // Ids of a clock that was ahead are purged as well.
            return Ok(Some(EntryId::floor(i64::MAX)));
        }
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        let mut bound = EntryId::floor(now.saturating_sub(kept));
        if self.retention.require_export {
            if self.exporters.is_empty() {
                return Ok(None);
            }
            for exporter in &self.exporters {
                // All before the oldest one that waits were taken.
                match exports::progress(connection, exporter)? {
                    Progress::Idle => return Ok(None),
                    Progress::Upto(oldest) => bound = bound.min(oldest),
                    Progress::Done => {}
                }
            }
        }
        Ok(Some(bound))
    }
}

/// Purges one batch. Returns how many rows went, and whether there may be more.
pub(crate) fn purge(
    connection: &mut dyn Connection,
    policy: &Policy,
    now: i64,
) -> Result<(u64, bool), Failure> {
    let (mut purged, mut is_more) = (0, false);
    // They are exported nowhere, so that no export is waited for.
    if let Some(kept) = policy
        .retention
        .duration
        .filter(|_| policy.retention.purge.captures)
    {
        (purged, is_more) = chats::purge(connection, kept, now)?;
    }
    let Some(bound) = policy.bound(connection, now)? else {
        return Ok((purged, is_more));
    };
    let wanted = [
        (policy.retention.purge.captures, "captures"),
        (policy.retention.purge.tools, "entry_tools"),
    ];
    for (_, table) in wanted.into_iter().filter(|(wanted, _)| *wanted) {
        // The names of the tables are ours.
        let sql = format!(
            "DELETE FROM {table} WHERE entry_id IN (SELECT DISTINCT entry_id FROM {table} \
             WHERE entry_id < $1 ORDER BY entry_id LIMIT {BATCH})"
        );
        connection.begin()?;
        let deleted = connection.execute(&sql, vec![vec![Value::text(&bound)]]);
        let deleted = deleted.and_then(|deleted| connection.commit().map(|()| deleted));
        if deleted.is_err() {
            connection.rollback();
        }
        let deleted: u64 = deleted?.into_iter().sum();
        purged += deleted;
        is_more |= deleted >= BATCH as u64;
    }
    Ok((purged, is_more))
}
