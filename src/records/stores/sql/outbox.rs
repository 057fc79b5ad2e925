//! The queue of what hooks are to be told, as rows. It is filled in the transaction of the record, so
//! what is told is what is recorded; on a shared database each row is delivered by one node.

use std::borrow::Cow;

use super::row::limit;
use super::value::{self, Value};
use super::{Connection, Failure, rows, transaction};
use crate::records::{Queued, Record, Waiting};

pub(super) fn waiting(connection: &mut dyn Connection) -> Result<Vec<Waiting>, Failure> {
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
pub(super) fn add(connection: &mut dyn Connection, records: &[&Record]) -> Result<(), Failure> {
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

pub(super) fn due(
    connection: &mut dyn Connection,
    hook: &str,
    count: usize,
    lease: i64,
) -> Result<Vec<Queued>, Failure> {
    let now = connection.now()?;
    let until = now.saturating_add(lease);
    transaction(connection, |connection| {
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
    })
}

pub(super) fn delivered(connection: &mut dyn Connection, id: &str) -> Result<(), Failure> {
    let sql = "DELETE FROM outbox WHERE id = $1";
    connection.execute(sql, vec![vec![id.into()]]).map(drop)
}

pub(super) fn put_off(connection: &mut dyn Connection, id: &str, wait: i64) -> Result<(), Failure> {
    let due_at = connection.now()?.saturating_add(wait);
    let sql = "UPDATE outbox SET due_at = $1 WHERE id = $2";
    connection
        .execute(sql, vec![vec![due_at.into(), id.into()]])
        .map(drop)
}

pub(super) fn hasten(connection: &mut dyn Connection) -> Result<(), Failure> {
    let sql = "UPDATE outbox SET due_at = created_at WHERE due_at > created_at";
    connection.execute(sql, vec![Vec::new()]).map(drop)
}

/// A tenth of what waits for a hook is dropped at once, so that a full queue isn't cut for each
/// delivery more.
const SHARE: i64 = 10;

pub(super) fn retain(
    connection: &mut dyn Connection,
    hooks: &[String],
    rows_kept: usize,
    bytes_kept: i64,
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
    value::key(hook, limit::TOOL)
}
