//! The queue of exporters, as rows. Entries are queued in their own transaction, taken in batches that
//! have names, and forgotten when a batch is done. A batch that was begun and not ended is taken up
//! again under its name, with the same entries.

use std::borrow::Cow;

use super::value::{Row, Value};
use super::{Connection, Failure, rows, transaction};
use crate::records::{Batch, EntryId, Record};

const INSERT: &str = "INSERT INTO export_queue (exporter, entry_id, batch, until) \
    VALUES ($1, $2, NULL, 0) ON CONFLICT (exporter, entry_id) DO NOTHING";

/// Queues the records of a group; within its transaction.
pub(super) fn queue(
    connection: &mut dyn Connection,
    records: &[&Record],
    exporters: &[String],
) -> Result<(), Failure> {
    for exporter in exporters {
        let rows = records
            .iter()
            .map(|record| vec![exporter.as_str().into(), record.entry.id.as_str().into()]);
        connection.execute(INSERT, rows.collect())?;
    }
    Ok(())
}

pub(super) fn start(
    connection: &mut dyn Connection,
    exporter: &str,
    alone: bool,
) -> Result<(), Failure> {
    let sql = "INSERT INTO export_cursor (name, last_entry) VALUES ($1, '') \
        ON CONFLICT (name) DO NOTHING";
    connection.execute(sql, vec![vec![exporter.into()]])?;
    let sql = "INSERT INTO export_queue (exporter, entry_id, batch, until) \
        SELECT $1, id, NULL, 0 FROM entries WHERE id > COALESCE( \
            (SELECT last_entry FROM export_cursor WHERE name = $1), '') \
        ON CONFLICT (exporter, entry_id) DO NOTHING";
    connection.execute(sql, vec![vec![exporter.into()]])?;
    if alone {
        let sql = "UPDATE export_queue SET until = 0 WHERE exporter = $1 AND until > 0";
        connection.execute(sql, vec![vec![exporter.into()]])?;
    }
    Ok(())
}

pub(super) fn take(
    connection: &mut dyn Connection,
    exporter: &str,
    name: &str,
    limit: usize,
    lease: i64,
) -> Result<Option<Batch>, Failure> {
    let now = connection.now()?;
    let until = now.saturating_add(lease);
    transaction(connection, |connection| {
        let (name, entries) = next(connection, exporter, name, limit, now)?;
        if entries.is_empty() {
            return Ok(None);
        }
        let sql =
            "UPDATE export_queue SET batch = $1, until = $2 WHERE exporter = $3 AND entry_id = $4";
        let taken = entries.iter().map(|entry| {
            vec![
                Value::text(&*name),
                until.into(),
                exporter.into(),
                entry.as_str().into(),
            ]
        });
        connection.execute(sql, taken.collect())?;
        Ok(Some(Batch {
            name: name.into_owned(),
            entries: entries.into_iter().map(EntryId).collect(),
        }))
    })
}

/// The batch to take: one that was left behind, or a new one; its name and its entries.
fn next<'n>(
    connection: &mut dyn Connection,
    exporter: &str,
    name: &'n str,
    limit: usize,
    now: i64,
) -> Result<(Cow<'n, str>, Vec<String>), Failure> {
    let lock = connection.lock();
    let skip = if lock.is_empty() { "" } else { " SKIP LOCKED" };
    // One of this name was taken when the answer to the commit got lost; other entries under the
    // same name would take the place of its entries where they are sent.
    let left = "SELECT batch FROM export_queue WHERE exporter = $1 AND batch IS NOT NULL \
        AND (until < $2 OR batch = $3) ORDER BY CASE WHEN batch = $3 THEN 0 ELSE 1 END, batch LIMIT 1";
    let left = format!("{left}{lock}{skip}");
    let left = rows(
        connection,
        &left,
        vec![exporter.into(), now.into(), name.into()],
        Row::text,
    )?
    .pop();
    if let Some(left) = left {
        let sql = "SELECT entry_id FROM export_queue WHERE exporter = $1 AND batch = $2 \
            ORDER BY entry_id";
        let values = vec![exporter.into(), Value::text(&left)];
        let entries = rows(connection, sql, values, Row::text)?;
        return Ok((left.into(), entries));
    }
    let sql = format!(
        "SELECT entry_id FROM export_queue WHERE exporter = $1 AND batch IS NULL \
         ORDER BY entry_id LIMIT {limit}{lock}{skip}"
    );
    let entries = rows(connection, &sql, vec![exporter.into()], Row::text)?;
    Ok((name.into(), entries))
}

pub(super) fn put_back(
    connection: &mut dyn Connection,
    exporter: &str,
    entries: &[EntryId],
) -> Result<(), Failure> {
    let sql = "UPDATE export_queue SET batch = NULL, until = 0 \
        WHERE exporter = $1 AND entry_id = $2";
    let back = entries
        .iter()
        .map(|entry| vec![exporter.into(), entry.as_str().into()]);
    connection.execute(sql, back.collect()).map(drop)
}

pub(super) fn abandon(
    connection: &mut dyn Connection,
    exporter: &str,
    batch: &str,
) -> Result<(), Failure> {
    let sql = "UPDATE export_queue SET until = 0 WHERE exporter = $1 AND batch = $2";
    let row = vec![exporter.into(), Value::text(batch)];
    connection.execute(sql, vec![row]).map(drop)
}

pub(super) fn done(
    connection: &mut dyn Connection,
    exporter: &str,
    batch: &Batch,
) -> Result<(), Failure> {
    transaction(connection, |connection| {
        let sql = "DELETE FROM export_queue WHERE exporter = $1 AND entry_id = $2";
        let gone = batch
            .entries
            .iter()
            .map(|entry| vec![exporter.into(), entry.as_str().into()]);
        connection.execute(sql, gone.collect())?;
        let last = batch.entries.iter().max().map_or("", EntryId::as_str);
        let sql = "UPDATE export_cursor SET last_entry = $1 WHERE name = $2 AND last_entry < $1";
        connection
            .execute(sql, vec![vec![last.into(), exporter.into()]])
            .map(drop)
    })
}

pub(super) fn waiting(connection: &mut dyn Connection, exporter: &str) -> Result<u64, Failure> {
    let sql = "SELECT COUNT(*) FROM export_queue WHERE exporter = $1";
    let counts = rows(connection, sql, vec![exporter.into()], Row::count)?;
    Ok(counts.into_iter().sum())
}
