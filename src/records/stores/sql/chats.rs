//! Conversations of the chat, as rows.

use std::time::Duration;

use super::row::limit;
use super::value::{Row, Value};
use super::{Connection, Failure, committing, rows};
use crate::base::clock;
use crate::records::archive::chats::{Chat, MOST_BYTES};
use crate::records::{ChatRow, ChatWrite, Expected, MOST_CHATS, chat_version, millis};

/// Rows that one purge deletes.
const BATCH: usize = 200;

pub(super) fn all(connection: &mut dyn Connection, caller: &str) -> Result<Vec<ChatRow>, Failure> {
    let sql = "SELECT id, updated_at, title FROM chats WHERE caller = $1 \
        ORDER BY updated_at DESC, id";
    let caller = Value::key(caller, limit::CALLER);
    rows(connection, sql, vec![caller], |row| {
        Ok(ChatRow {
            id: row.text()?,
            updated_at: row.integer()?,
            title: row.text()?,
        })
    })
}

/// What tells a conversation from others: whose it is, and its id.
fn key<'k>(caller: &'k str, id: &'k str) -> Vec<Value<'k>> {
    vec![Value::key(caller, limit::CALLER), Value::text(id)]
}

pub(super) fn body(
    connection: &mut dyn Connection,
    caller: &str,
    id: &str,
) -> Result<Option<Vec<u8>>, Failure> {
    let sql = "SELECT body FROM chats WHERE caller = $1 AND id = $2";
    let bodies = rows(connection, sql, key(caller, id), Row::maybe_bytes)?;
    Ok(bodies.into_iter().next().flatten())
}

pub(super) fn keep(
    connection: &mut dyn Connection,
    chat: &Chat,
    expected: &Expected,
) -> Result<ChatWrite, Failure> {
    committing(connection, |connection| {
        let stored = stored(connection, key(&chat.caller, &chat.id))?;
        // A write that runs twice finds what it wrote itself.
        let is_there = stored.as_ref() == Some(&chat_version(&chat.body));
        if !is_there && !expected.holds(stored.as_deref()) {
            connection.rollback();
            return Ok(ChatWrite::Changed);
        }
        write(connection, chat)?;
        connection.commit()?;
        Ok(ChatWrite::Done)
    })
}

pub(super) fn delete(
    connection: &mut dyn Connection,
    caller: &str,
    id: &str,
    expected: &Expected,
) -> Result<ChatWrite, Failure> {
    committing(connection, |connection| {
        let Some(stored) = stored(connection, key(caller, id))? else {
            connection.rollback();
            return Ok(ChatWrite::Missing);
        };
        if !expected.holds(Some(&stored)) {
            connection.rollback();
            return Ok(ChatWrite::Changed);
        }
        connection.execute(DELETE, vec![key(caller, id)])?;
        connection.commit()?;
        Ok(ChatWrite::Done)
    })
}

const DELETE: &str = "DELETE FROM chats WHERE caller = $1 AND id = $2";

/// The version that is stored, locked until the transaction ends.
fn stored(connection: &mut dyn Connection, key: Vec<Value<'_>>) -> Result<Option<String>, Failure> {
    let lock = connection.lock();
    let sql = format!("SELECT body FROM chats WHERE caller = $1 AND id = $2{lock}");
    let found = rows(connection, &sql, key, Row::maybe_bytes)?;
    Ok(found
        .into_iter()
        .next()
        .flatten()
        .map(|body| chat_version(&body)))
}

/// Writes a conversation, and forgets the oldest of its owner's beyond the bounds.
fn write(connection: &mut dyn Connection, chat: &Chat) -> Result<(), Failure> {
    let caller = Value::key(&chat.caller, limit::CALLER);
    let row = vec![
        caller.clone(),
        Value::text(&chat.id),
        clock::unix_ms().into(),
        Value::text(&chat.title),
        Value::Bytes(chat.body.as_slice().into()),
    ];
    let sql = "INSERT INTO chats (caller, id, updated_at, title, body) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (caller, id) DO UPDATE SET updated_at = excluded.updated_at, \
        title = excluded.title, body = excluded.body";
    connection.execute(sql, vec![row])?;
    let sql = "SELECT id, CAST(LENGTH(body) AS BIGINT) FROM chats WHERE caller = $1 \
        ORDER BY updated_at DESC, id";
    let all = rows(connection, sql, vec![caller.clone()], |row| {
        Ok((row.text()?, row.integer()?))
    })?;
    let mut bytes = 0;
    let gone = all
        .into_iter()
        .enumerate()
        .filter_map(|(nth, (id, length))| {
            bytes += length;
            // The one that was kept just now stays, whatever it is.
            let is_over = nth >= MOST_CHATS || (nth > 0 && bytes > MOST_BYTES);
            is_over.then(|| vec![caller.clone(), Value::Text(id.into())])
        });
    let gone: Vec<_> = gone.collect();
    if !gone.is_empty() {
        connection.execute(DELETE, gone)?;
    }
    Ok(())
}

/// Deletes some of those that nobody has gone on with for `kept`; all of them for zero. Answers
/// with how many, and whether there may be more.
pub(super) fn purge(
    connection: &mut dyn Connection,
    kept: Duration,
    now: i64,
) -> Result<(u64, bool), Failure> {
    let bound = if kept.is_zero() {
        i64::MAX
    } else {
        now.saturating_sub(millis(kept))
    };
    let sql = format!(
        "DELETE FROM chats WHERE (caller, id) IN (SELECT caller, id FROM chats \
         WHERE updated_at < $1 ORDER BY updated_at LIMIT {BATCH})"
    );
    let deleted = connection.execute(&sql, vec![vec![bound.into()]])?;
    let deleted: u64 = deleted.into_iter().sum();
    Ok((deleted, deleted >= BATCH as u64))
}
