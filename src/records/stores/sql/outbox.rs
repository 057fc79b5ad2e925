//! The queue of deliveries to hooks, as rows. It is filled in the transaction that folds the record, so that
//! hooks are sent what is recorded; on a shared database each row is delivered by one node.

use super::row::limit;
use super::value::{Rows, Value, key};
use super::{Connection, Failure, rows, skip_locked, transaction};
use crate::records::journal::Outbox;
use crate::records::journal::packed::unpacked::Journaled;
use crate::records::{Queued, Waiting};

const INSERT: &str = "INSERT INTO outbox (id, hook, event, payload, tries, created_at, due_at) \
    VALUES ($1, $2, $3, $4, 0, $5, $5)";

/// Adds what records have for hooks; within the transaction that writes them.
pub(super) fn add(
    connection: &mut dyn Connection,
    records: &[&Journaled<'_>],
) -> Result<(), Failure> {
    if records.iter().all(|record| record.deliveries.is_empty()) {
        return Ok(());
    }
    let now = connection.now()?;
    let mut added = Rows::default();
    for record in records {
        for (nth, delivery) in record.deliveries.iter().enumerate() {
            added.push([
                Value::text(format!("{}/{nth}", record.entry.id)),
                Value::key(delivery.hook, limit::TOOL),
                delivery.event.into(),
                Value::Bytes(delivery.payload.into()),
                now.into(),
            ]);
        }
    }
    connection.insert(INSERT, added)
}

/// A tenth of what waits for a hook is dropped at once, so that a full queue isn't cut for each
/// delivery more.
const SHARE: i64 = 10;

impl Outbox for dyn Connection + '_ {
    fn due(&mut self, hook: &str, count: usize, lease: i64) -> Result<Vec<Queued>, Failure> {
        let now = self.now()?;
        let until = now.saturating_add(lease);
        transaction(self, |connection| {
            let sql = format!(
                "SELECT id, hook, event, payload, tries, created_at FROM outbox \
                 WHERE hook = $1 AND due_at <= $2 ORDER BY due_at, id LIMIT {count}{}",
                skip_locked(connection)
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

    fn hasten(&mut self) -> Result<(), Failure> {
        let sql = "UPDATE outbox SET due_at = created_at WHERE due_at > created_at";
        self.change(sql, Vec::new()).map(drop)
    }

    fn delivered(&mut self, id: &str) -> Result<(), Failure> {
        self.change("DELETE FROM outbox WHERE id = $1", vec![id.into()])
            .map(drop)
    }

    fn put_off(&mut self, id: &str, wait: i64) -> Result<(), Failure> {
        let due_at = self.now()?.saturating_add(wait);
        let sql = "UPDATE outbox SET due_at = $1 WHERE id = $2";
        self.change(sql, vec![due_at.into(), id.into()]).map(drop)
    }

    fn deliveries_waiting(&mut self) -> Result<Vec<Waiting>, Failure> {
        let sql = "SELECT hook, COUNT(*), MIN(created_at) FROM outbox GROUP BY hook ORDER BY hook";
        rows(self, sql, Vec::new(), |row| {
            Ok(Waiting {
                hook: row.text()?,
                count: row.count()?,
                oldest: row.integer()?,
            })
        })
    }

    fn retain_deliveries(
        &mut self,
        hooks: &[String],
        rows_max: usize,
        bytes_max: i64,
    ) -> Result<Vec<(String, u64)>, Failure> {
        let known: Vec<_> = hooks.iter().map(|hook| key(hook, limit::TOOL)).collect();
        let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let mut gone = Vec::new();
        let sql = "SELECT hook, COUNT(*), CAST(SUM(LENGTH(payload)) AS BIGINT) FROM outbox \
            GROUP BY hook ORDER BY hook";
        let all = rows(self, sql, Vec::new(), |row| {
            Ok((row.text()?, row.integer()?, row.integer()?))
        })?;
        for (hook, mut count, mut bytes) in all {
            let mut dropped = 0;
            if !known.iter().any(|known| **known == *hook) {
                let sql = "DELETE FROM outbox WHERE hook = $1";
                dropped = self.change(sql, vec![Value::text(&hook)])?;
                count = 0;
            }
            while count > 0 && (count > rows_max || bytes > bytes_max) {
                let over = (count - rows_max).max(count / SHARE).max(1);
                let sql = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE hook = $1 \
                    ORDER BY id LIMIT $2)";
                dropped += self.change(sql, vec![Value::text(&hook), over.into()])?;
                let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(payload)), 0) AS BIGINT) \
                    FROM outbox WHERE hook = $1";
                let left = rows(self, sql, vec![Value::text(&hook)], |row| {
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
}
