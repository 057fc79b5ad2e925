//! Purges what has become too old, a batch at a time.

use super::value::{Row, Rows, Value};
use super::{Connection, Failure, chats, rows, transaction};
use crate::records::EntryId;
use crate::records::journal::retention::Policy;
use crate::records::objects::Objects as _;

/// Entries whose captures are purged in one transaction: few enough not to hold up records.
const BATCH: usize = 200;

pub(super) fn batch(
    connection: &mut dyn Connection,
    policy: &Policy,
    now: i64,
) -> Result<(u64, bool), Failure> {
    let (mut purged, mut is_more) = connection.purge_objects(now)?;
    // They are exported nowhere, so that no export is waited for.
    if let Some(kept) = policy
        .retention
        .duration
        .filter(|_| policy.retention.purge.captures)
    {
        let (chats, are_more) = chats::purge(connection, kept, now)?;
        purged += chats;
        is_more |= are_more;
    }
    let Some(bound) = bound(connection, policy, now)? else {
        return Ok((purged, is_more));
    };
    // Those of a clock that is far ahead share the last time that has places.
    let place = match EntryId::place_of(&bound) {
        last if last >= EntryId::place_at(i64::MAX) => i64::MAX,
        place => place,
    };
    let wanted = [
        (
            policy.retention.purge.captures,
            ["captures", "entry_id"],
            Value::text(&bound),
        ),
        (
            policy.retention.purge.tools,
            ["entry_tools", "entry"],
            place.into(),
        ),
    ];
    for (_, [table, column], bound) in wanted.into_iter().filter(|(wanted, ..)| *wanted) {
        // The names of the tables are ours.
        let sql = format!(
            "DELETE FROM {table} WHERE {column} IN (SELECT DISTINCT {column} FROM {table} \
             WHERE {column} < $1 ORDER BY {column} LIMIT {BATCH})"
        );
        let deleted = transaction(connection, |connection| {
            connection.execute(&sql, Rows::one([bound]))
        })?;
        let deleted: u64 = deleted.into_iter().sum();
        purged += deleted;
        is_more |= deleted >= BATCH as u64;
    }
    Ok((purged, is_more))
}

/// The id from which on nothing is purged; `None` when nothing is.
fn bound(
    connection: &mut dyn Connection,
    policy: &Policy,
    now: i64,
) -> Result<Option<String>, Failure> {
    let Some(kept) = policy.retention.duration else {
        return Ok(None);
    };
    if kept.is_zero() {
        // Ids of a clock that was ahead are purged as well.
        return Ok(Some(EntryId::floor(i64::MAX)));
    }
    let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
    let mut bound = EntryId::floor(now.saturating_sub(kept));
    if policy.retention.require_export {
        if policy.exporters.is_empty() {
            return Ok(None);
        }
        for exporter in &policy.exporters {
            // All before the oldest one that waits were taken.
            match progress(connection, exporter)? {
                Progress::Idle => return Ok(None),
                Progress::Upto(oldest) => bound = bound.min(oldest),
                Progress::Done => {}
            }
        }
    }
    Ok(Some(bound))
}

/// How far an exporter has come.
enum Progress {
    /// It has not begun.
    Idle,
    /// It has taken all before this entry.
    Upto(String),
    /// It has taken all.
    Done,
}

/// How far an exporter has come.
fn progress(connection: &mut dyn Connection, exporter: &str) -> Result<Progress, Failure> {
    let sql = "SELECT last_entry FROM export_cursor WHERE name = $1";
    if rows(connection, sql, vec![exporter.into()], Row::text)?.is_empty() {
        return Ok(Progress::Idle);
    }
    let sql = "SELECT MIN(entry_id) FROM export_queue WHERE exporter = $1";
    let oldest = rows(connection, sql, vec![exporter.into()], Row::maybe_text)?;
    let oldest = oldest.into_iter().flatten().next();
    Ok(oldest.map_or(Progress::Done, Progress::Upto))
}
