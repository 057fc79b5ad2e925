//! Records as they are in the database, read by a connection that is not the gateway's.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, ensure};
use rusqlite::{Connection, OpenFlags};

/// What is compared of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: String,
    pub mark: String,
    pub login: String,
    pub model: String,
    pub provider: String,
    pub outcome: String,
    pub input: i64,
    pub output: i64,
    pub cached: i64,
    pub estimated: bool,
    pub cost: Option<i64>,
    /// How it came about, to explain a failure.
    pub reasons: String,
}

/// A read-only connection to a database that may be in use.
pub fn open(database: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}

/// All records whose id is after `after`, in the order of their ids.
pub fn entries(database: &Connection, after: &str) -> anyhow::Result<Vec<Entry>> {
    let mut statement = database.prepare_cached(
        "SELECT id, session, login, model, provider, outcome, COALESCE(input_tokens, 0), \
            COALESCE(output_tokens, 0), COALESCE(cached_tokens, 0), tokens_estimated, cost, reasons \
         FROM entries WHERE id > ?1 ORDER BY id",
    )?;
    let rows = statement.query_map([after], |row| {
        Ok(Entry {
            id: row.get(0)?,
            mark: row.get(1)?,
            login: row.get(2)?,
            model: row.get(3)?,
            provider: row.get(4)?,
            outcome: row.get(5)?,
            input: row.get(6)?,
            output: row.get(7)?,
            cached: row.get(8)?,
            estimated: row.get(9)?,
            cost: row.get(10)?,
            reasons: row.get(11)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// That the file is whole, and that everything kept beside the records says what they add up to.
pub fn check(database: &Connection) -> anyhow::Result<()> {
    // All of it at one moment.
    let database = database.unchecked_transaction()?;
    let whole: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(whole == "ok", "integrity_check: {whole}");
    let sums = |sql: &str| -> anyhow::Result<[i64; 4]> {
        let row = database.query_row(sql, [], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        });
        row.with_context(|| sql.to_owned())
    };
    let columns = "COALESCE(SUM(input_tokens), 0), COALESCE(SUM(output_tokens), 0), \
        COALESCE(SUM(cost), 0)";
    let entries = sums(&format!("SELECT COUNT(*), {columns} FROM entries"))?;
    for table in [
        "sessions",
        "usage_days WHERE header = 0",
        "usage_hours WHERE header = 0",
        "usage_callers WHERE header = 0",
    ] {
        let beside = sums(&format!(
            "SELECT COALESCE(SUM(requests), 0), {columns} FROM {table}"
        ))?;
        ensure!(
            beside == entries,
            "{table} has {beside:?}, the records have {entries:?}"
        );
    }
    Ok(())
}

/// What each bucket holds.
pub fn buckets(database: &Connection) -> anyhow::Result<HashMap<String, i64>> {
    let mut statement = database.prepare("SELECT name, balance FROM buckets")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// That no request has two records, and each one that was `acknowledged` has one.
pub fn each_once<'a>(
    entries: &[Entry],
    acknowledged: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> anyhow::Result<()> {
    let mut by_mark: HashMap<&str, &str> = HashMap::with_capacity(entries.len());
    for entry in entries {
        let before = by_mark.insert(&entry.mark, &entry.id);
        ensure!(
            before.is_none(),
            "{} has two records: {before:?} and {}",
            entry.mark,
            entry.id
        );
    }
    for (mark, id) in acknowledged {
        ensure!(
            by_mark.get(mark) == Some(&id),
            "the record {id} of {mark} was seen, and is lost"
        );
    }
    Ok(())
}
