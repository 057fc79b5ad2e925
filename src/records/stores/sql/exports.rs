//! The queue of exporters, as rows. Entries are queued in the transaction that folds them, taken in named batches, and
//! deleted with their batch. A batch that was begun and not finished is taken again under its name, with
//! the same entries.

use std::borrow::Cow;

use super::value::{Row, Rows, Value};
use super::{Connection, Failure, rows, skip_locked, transaction};
use crate::records::journal::Exports;
use crate::records::{Batch, EntryId};

const INSERT: &str = "INSERT INTO export_queue (exporter, entry_id, batch, until) \
    VALUES ($1, $2, NULL, 0) ON CONFLICT (exporter, entry_id) DO NOTHING";

/// Queues entries for an exporter; within the transaction that writes them.
pub(super) fn queue<'e>(
    connection: &mut dyn Connection,
    exporter: &str,
    entries: impl Iterator<Item = &'e str>,
) -> Result<(), Failure> {
    let rows = entries.map(|entry| [exporter.into(), entry.into()]);
    super::insert(connection, INSERT, rows.collect())
}

/// An exporter and an entry, in each row.
fn rows_of<'r>(exporter: &'r str, entries: impl IntoIterator<Item = &'r EntryId>) -> Rows<'r> {
    let entries = entries.into_iter();
    entries
        .map(|entry| vec![exporter.into(), entry.as_str().into()])
        .collect()
}

impl Exports for dyn Connection + '_ {
    fn start_export(&mut self, exporter: &str, alone: bool) -> Result<(), Failure> {
        let sql = "INSERT INTO export_cursor (name, last_entry) VALUES ($1, '') \
            ON CONFLICT (name) DO NOTHING";
        self.change(sql, vec![exporter.into()])?;
        let sql = "SELECT last_entry FROM export_cursor WHERE name = $1";
        let last = rows(self, sql, vec![exporter.into()], Row::text)?;
        let last = last.first().map_or("", String::as_str);
        // Another node may export some meanwhile, so the statement looks again what was taken last.
        let sql = "INSERT INTO export_queue (exporter, entry_id, batch, until) \
            SELECT $1, id, NULL, 0 FROM requests WHERE place >= $2 AND id > \
            COALESCE((SELECT last_entry FROM export_cursor WHERE name = $3), '') \
            ON CONFLICT (exporter, entry_id) DO NOTHING";
        let from = EntryId::place_of(last);
        self.change(sql, vec![exporter.into(), from.into(), exporter.into()])?;
        if alone {
            let sql = "UPDATE export_queue SET until = 0 WHERE exporter = $1 AND until > 0";
            self.change(sql, vec![exporter.into()])?;
        }
        Ok(())
    }

    fn take_batch(
        &mut self,
        exporter: &str,
        name: &str,
        limit: usize,
        lease: i64,
    ) -> Result<Option<Batch>, Failure> {
        let now = self.now()?;
        let until = now.saturating_add(lease);
        transaction(self, |connection| {
            let (name, entries) = next(connection, exporter, name, limit, now)?;
            if entries.is_empty() {
                return Ok(None);
            }
            let sql = "UPDATE export_queue SET batch = $1, until = $2 \
                WHERE exporter = $3 AND entry_id = $4";
            let taken = entries.iter().map(|entry| {
                let name = Value::text(&*name);
                vec![name, until.into(), exporter.into(), entry.as_str().into()]
            });
            connection.execute(sql, taken.collect())?;
            Ok(Some(Batch {
                name: name.into_owned(),
                entries: entries.into_iter().map(|id| EntryId(id.into())).collect(),
            }))
        })
    }

    fn put_back(&mut self, exporter: &str, entries: &[EntryId]) -> Result<(), Failure> {
        let sql = "UPDATE export_queue SET batch = NULL, until = 0 \
            WHERE exporter = $1 AND entry_id = $2";
        self.execute(sql, rows_of(exporter, entries)).map(drop)
    }

    fn abandon_batch(&mut self, exporter: &str, batch: &str) -> Result<(), Failure> {
        let sql = "UPDATE export_queue SET until = 0 WHERE exporter = $1 AND batch = $2";
        self.change(sql, vec![exporter.into(), batch.into()])
            .map(drop)
    }

    fn exported(&mut self, exporter: &str, batch: &Batch) -> Result<(), Failure> {
        transaction(self, |connection| {
            let sql = "DELETE FROM export_queue WHERE exporter = $1 AND entry_id = $2";
            connection.execute(sql, rows_of(exporter, &batch.entries))?;
            let last = batch.entries.iter().max().map_or("", EntryId::as_str);
            let sql =
                "UPDATE export_cursor SET last_entry = $1 WHERE name = $2 AND last_entry < $1";
            connection
                .change(sql, vec![last.into(), exporter.into()])
                .map(drop)
        })
    }

    fn export_waiting(&mut self, exporter: &str) -> Result<u64, Failure> {
        let sql = "SELECT COUNT(*) FROM export_queue WHERE exporter = $1";
        let counts = rows(self, sql, vec![exporter.into()], Row::count)?;
        Ok(counts.into_iter().sum())
    }
}

/// The batch to take: one that was left behind, or a new one; its name and its entries.
fn next<'n>(
    connection: &mut dyn Connection,
    exporter: &str,
    name: &'n str,
    limit: usize,
    now: i64,
) -> Result<(Cow<'n, str>, Vec<String>), Failure> {
    let lock = skip_locked(connection);
    // A batch of this name exists if the answer to its commit got lost: other entries under the same
    // name would overwrite its entries where they are sent.
    let left = format!(
        "SELECT batch FROM export_queue WHERE exporter = $1 AND batch IS NOT NULL \
         AND (until < $2 OR batch = $3) \
         ORDER BY CASE WHEN batch = $3 THEN 0 ELSE 1 END, batch LIMIT 1{lock}"
    );
    let values = vec![exporter.into(), now.into(), name.into()];
    if let Some(left) = rows(connection, &left, values, Row::text)?.pop() {
        let sql = "SELECT entry_id FROM export_queue WHERE exporter = $1 AND batch = $2 \
            ORDER BY entry_id";
        let values = vec![exporter.into(), Value::text(&left)];
        let entries = rows(connection, sql, values, Row::text)?;
        return Ok((left.into(), entries));
    }
    let sql = format!(
        "SELECT entry_id FROM export_queue WHERE exporter = $1 AND batch IS NULL \
         ORDER BY entry_id LIMIT {limit}{lock}"
    );
    let entries = rows(connection, &sql, vec![exporter.into()], Row::text)?;
    Ok((name.into(), entries))
}
