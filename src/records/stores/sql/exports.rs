//! What exporters have yet to take. Each entry is queued for each exporter in its own
//! transaction, taken in batches that have names, and forgotten when a batch is done. A batch
//! that was begun and not ended is taken up again under its name, with the same entries.

use crate::records::stores::{Connection, Failure, Row, Value, rows};
use crate::records::{EntryId, Record};

/// Entries that are taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its name.
    pub name: String,
    /// In the order of their ids.
    pub entries: Vec<EntryId>,
}

const INSERT: &str = "INSERT INTO export_queue (exporter, entry_id, batch, until) \
    VALUES ($1, $2, NULL, 0) ON CONFLICT (exporter, entry_id) DO NOTHING";

/// Queues the records of a group; within its transaction.
pub(crate) fn queue(
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

/// Queues what was written while an exporter was off: all that is newer than the newest that it
/// has taken. `alone` says that nobody else can be taking a batch.
pub(crate) fn start(
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

/// Takes a batch of up to `limit` entries, under the name `name` unless one was left behind.
pub(crate) fn take(
    connection: &mut dyn Connection,
    exporter: &str,
    (name, limit): (&str, usize),
    (now, until): (i64, i64),
) -> Result<Option<Batch>, Failure> {
    connection.begin()?;
    let taken = try_take(connection, exporter, (name, limit), (now, until))
        .and_then(|taken| connection.commit().map(|()| taken));
    if taken.is_err() {
        connection.rollback();
    }
    taken
}

fn try_take(
    connection: &mut dyn Connection,
    exporter: &str,
    (name, limit): (&str, usize),
    (now, until): (i64, i64),
) -> Result<Option<Batch>, Failure> {
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
    let (name, entries) = if let Some(left) = left {
        let sql = "SELECT entry_id FROM export_queue WHERE exporter = $1 AND batch = $2 \
            ORDER BY entry_id";
        let values = vec![exporter.into(), Value::text(&left)];
        let entries = rows(connection, sql, values, Row::text)?;
        (left, entries)
    } else {
        let sql = format!(
            "SELECT entry_id FROM export_queue WHERE exporter = $1 AND batch IS NULL \
             ORDER BY entry_id LIMIT {limit}{lock}{skip}"
        );
        let entries = rows(connection, &sql, vec![exporter.into()], Row::text)?;
        (name.to_owned(), entries)
    };
    if entries.is_empty() {
        return Ok(None);
    }
    let sql =
        "UPDATE export_queue SET batch = $1, until = $2 WHERE exporter = $3 AND entry_id = $4";
    let held = entries.iter().map(|entry| {
        vec![
            Value::text(&name),
            until.into(),
            exporter.into(),
            entry.as_str().into(),
        ]
    });
    connection.execute(sql, held.collect())?;
    Ok(Some(Batch {
        name,
        entries: entries.into_iter().map(EntryId).collect(),
    }))
}

/// Puts entries back that did not fit into their batch.
pub(crate) fn put_back(
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

/// Lets a batch that could not be sent be taken up again at once.
pub(crate) fn abandon(
    connection: &mut dyn Connection,
    exporter: &str,
    batch: &str,
) -> Result<(), Failure> {
    let sql = "UPDATE export_queue SET until = 0 WHERE exporter = $1 AND batch = $2";
    let row = vec![exporter.into(), Value::text(batch)];
    connection.execute(sql, vec![row]).map(drop)
}

/// Forgets a batch that is where it should be.
pub(crate) fn done(
    connection: &mut dyn Connection,
    exporter: &str,
    batch: &Batch,
) -> Result<(), Failure> {
    connection.begin()?;
    let forgotten = try_done(connection, exporter, batch).and_then(|()| connection.commit());
    if forgotten.is_err() {
        connection.rollback();
    }
    forgotten
}

fn try_done(connection: &mut dyn Connection, exporter: &str, batch: &Batch) -> Result<(), Failure> {
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
}

/// How many entries wait.
pub(crate) fn waiting(connection: &mut dyn Connection, exporter: &str) -> Result<u64, Failure> {
    let sql = "SELECT COUNT(*) FROM export_queue WHERE exporter = $1";
    let counts = rows(connection, sql, vec![exporter.into()], Row::count)?;
    Ok(counts.into_iter().sum())
}

/// How far an exporter has come.
pub(crate) enum Progress {
    /// It has not begun.
    Idle,
    /// It has taken all before this entry.
    Upto(String),
    /// It has taken all.
    Done,
}

/// How far an exporter has come.
pub(crate) fn progress(
    connection: &mut dyn Connection,
    exporter: &str,
) -> Result<Progress, Failure> {
    let sql = "SELECT last_entry FROM export_cursor WHERE name = $1";
    if rows(connection, sql, vec![exporter.into()], Row::text)?.is_empty() {
        return Ok(Progress::Idle);
    }
    let sql = "SELECT MIN(entry_id) FROM export_queue WHERE exporter = $1";
    let oldest = rows(connection, sql, vec![exporter.into()], Row::maybe_text)?;
    let oldest = oldest.into_iter().flatten().next();
    Ok(oldest.map_or(Progress::Done, Progress::Upto))
}
