//! The queue of what hooks are to be told. It is filled in the transaction of the record, so
//! what is told is what is recorded; on a shared database each row is delivered by one node.

use std::borrow::Cow;

use crate::records::Record;
use crate::records::stores;
use crate::records::stores::sql::row::limit;
use crate::records::stores::{Connection, Failure, Value, rows};

/// Something that a hook is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Name of the hook.
    pub hook: String,
    /// Which event it is.
    pub event: String,
    /// JSON.
    pub payload: Vec<u8>,
}

/// A delivery from the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its own name.
    pub id: String,
    /// Name of the hook.
    pub hook: String,
    /// Which event it is.
    pub event: String,
    /// JSON.
    pub payload: Vec<u8>,
    /// How often it was tried before.
    pub tries: u32,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// What waits for a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub hook: String,
    /// Deliveries.
    pub count: u64,
    /// When the oldest came, in Unix milliseconds.
    pub oldest: i64,
}

/// What waits for each hook.
pub(crate) fn waiting(connection: &mut dyn Connection) -> Result<Vec<Waiting>, Failure> {
    let sql = "SELECT hook, COUNT(*), MIN(created_at) FROM outbox GROUP BY hook ORDER BY hook";
    rows(connection, sql, Vec::new(), |row| {
        Ok(Waiting {
            hook: row.text()?,
            count: row.count()?,
            oldest: row.integer()?,
        })
    })
}

const INSERT: &str = "INSERT INTO outbox (id, hook, event, payload, tries, created_at, due_at) \
    VALUES ($1, $2, $3, $4, 0, $5, $5)";

/// Adds what a group of records has for hooks; within the transaction of the group.
pub(crate) fn add(connection: &mut dyn Connection, records: &[&Record]) -> Result<(), Failure> {
    if records.iter().all(|record| record.deliveries.is_empty()) {
        return Ok(());
    }
    let now = connection.now()?;
    let mut added = Vec::new();
    for record in records {
        for (nth, delivery) in record.deliveries.iter().enumerate() {
            added.push(vec![
                Value::text(format!("{}/{nth}", record.entry.id)),
                Value::key(&delivery.hook, limit::TOOL),
                delivery.event.as_str().into(),
                Value::Bytes(delivery.payload.as_slice().into()),
                now.into(),
            ]);
        }
    }
    connection.execute(INSERT, added).map(drop)
}

/// Takes up to `count` deliveries that are due for a hook; nobody else gets them before `until`.
pub(crate) fn due(
    connection: &mut dyn Connection,
    hook: &str,
    count: usize,
    (now, until): (i64, i64),
) -> Result<Vec<Queued>, Failure> {
    connection.begin()?;
    let taken = take(connection, hook, count, (now, until))
        .and_then(|taken| connection.commit().map(|()| taken));
    if taken.is_err() {
        connection.rollback();
    }
    taken
}

fn take(
    connection: &mut dyn Connection,
    hook: &str,
    count: usize,
    (now, until): (i64, i64),
) -> Result<Vec<Queued>, Failure> {
    let lock = connection.lock();
    let skip = if lock.is_empty() { "" } else { " SKIP LOCKED" };
    let sql = format!(
        "SELECT id, hook, event, payload, tries, created_at FROM outbox \
         WHERE hook = $1 AND due_at <= $2 ORDER BY due_at, id LIMIT {count}{lock}{skip}"
    );
    let hook = Value::key(hook, limit::TOOL);
    let taken = rows(connection, &sql, vec![hook, now.into()], |row| {
        Ok(Queued {
            id: row.text()?,
            hook: row.text()?,
            event: row.text()?,
            payload: row.maybe_bytes()?.unwrap_or_default(),
            tries: u32::try_from(row.integer()?).unwrap_or(u32::MAX),
            created_at: row.integer()?,
        })
    })?;
    if !taken.is_empty() {
        let sql = "UPDATE outbox SET due_at = $1, tries = tries + 1 WHERE id = $2";
        let ids = taken
            .iter()
            .map(|queued| vec![until.into(), queued.id.as_str().into()]);
        connection.execute(sql, ids.collect())?;
    }
    Ok(taken)
}

/// Forgets a delivery.
pub(crate) fn delivered(connection: &mut dyn Connection, id: &str) -> Result<(), Failure> {
    let sql = "DELETE FROM outbox WHERE id = $1";
    connection.execute(sql, vec![vec![id.into()]]).map(drop)
}

/// Makes a delivery due at another time.
pub(crate) fn put_off(
    connection: &mut dyn Connection,
    id: &str,
    due_at: i64,
) -> Result<(), Failure> {
    let sql = "UPDATE outbox SET due_at = $1 WHERE id = $2";
    connection
        .execute(sql, vec![vec![due_at.into(), id.into()]])
        .map(drop)
}

/// Makes everything due now.
pub(crate) fn hasten(connection: &mut dyn Connection) -> Result<(), Failure> {
    let sql = "UPDATE outbox SET due_at = created_at WHERE due_at > created_at";
    connection.execute(sql, vec![Vec::new()]).map(drop)
}

/// A tenth of what waits for a hook is dropped at once, so that a full queue isn't cut for each
/// delivery more.
const SHARE: i64 = 10;

/// Forgets what is for other hooks than `hooks`, and of each the oldest beyond so many rows and
/// bytes. Answers with how many of whose went.
pub(crate) fn retain(
    connection: &mut dyn Connection,
    hooks: &[String],
    (rows_kept, bytes_kept): (usize, i64),
) -> Result<Vec<(String, u64)>, Failure> {
    let known: Vec<Cow<'_, str>> = hooks.iter().map(|hook| key(hook)).collect();
    let rows_kept = i64::try_from(rows_kept).unwrap_or(i64::MAX);
    let mut gone = Vec::new();
    let sql = "SELECT hook, COUNT(*), CAST(SUM(LENGTH(payload)) AS BIGINT) FROM outbox \
        GROUP BY hook ORDER BY hook";
    let all = rows(connection, sql, Vec::new(), |row| {
        Ok((row.text()?, row.integer()?, row.integer()?))
    })?;
    for (hook, mut count, mut bytes) in all {
        let mut dropped = 0;
        if !known.iter().any(|known| **known == *hook) {
            let sql = "DELETE FROM outbox WHERE hook = $1";
            dropped = connection.execute(sql, vec![vec![Value::text(&hook)]])?[0];
            count = 0;
        }
        while count > 0 && (count > rows_kept || bytes > bytes_kept) {
            let over = (count - rows_kept).max(count / SHARE).max(1);
            dropped += cut(connection, &hook, over)?;
            let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(payload)), 0) AS BIGINT) \
                FROM outbox WHERE hook = $1";
            let left = rows(connection, sql, vec![Value::text(&hook)], |row| {
                Ok((row.integer()?, row.integer()?))
            })?;
            (count, bytes) = left.first().copied().unwrap_or_default();
        }
        if dropped > 0 {
            gone.push((hook, dropped));
        }
    }
    Ok(gone)
}

/// Forgets the oldest of a hook's.
fn cut(connection: &mut dyn Connection, hook: &str, count: i64) -> Result<u64, Failure> {
    let sql = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE hook = $1 \
        ORDER BY id LIMIT $2)";
    let values = vec![Value::text(hook), count.into()];
    let deleted = connection.execute(sql, vec![values])?;
    Ok(deleted.into_iter().sum())
}

/// A hook's name as it is stored.
fn key(hook: &str) -> Cow<'_, str> {
    stores::key(hook, limit::TOOL)
}
