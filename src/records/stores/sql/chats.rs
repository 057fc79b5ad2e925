//! Conversations of the chat, as rows.

use std::time::Duration;

use super::row::limit;
use super::value::{Row, Value};
use super::{Connection, Failure, committing, rows};
use crate::base::clock;
use crate::records::archive::chats::{Chat, Chats, MOST_BYTES};
use crate::records::{ChatRow, ChatWrite, Expected, MOST_CHATS, chat_version, millis};

/// Rows that one purge deletes.
const BATCH: u64 = 200;

const DELETE: &str = "DELETE FROM chats WHERE caller = $1 AND id = $2";

impl Chats for dyn Connection + '_ {
    fn chats(&mut self, caller: &str) -> Result<Vec<ChatRow>, Failure> {
        let sql = "SELECT id, updated_at, title FROM chats WHERE caller = $1 \
            ORDER BY updated_at DESC, id";
        rows(self, sql, vec![Value::key(caller, limit::CALLER)], |row| {
            Ok(ChatRow {
                id: row.text()?,
                updated_at: row.integer()?,
                title: row.text()?,
            })
        })
    }

    fn chat(&mut self, caller: &str, id: &str) -> Result<Option<Vec<u8>>, Failure> {
        body(self, caller, id, "")
    }

    fn keep_chat(&mut self, chat: &Chat, expected: &Expected) -> Result<ChatWrite, Failure> {
        committing(self, |connection| {
            let stored = stored(connection, &chat.caller, &chat.id)?;
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

    fn delete_chat(
        &mut self,
        caller: &str,
        id: &str,
        expected: &Expected,
    ) -> Result<ChatWrite, Failure> {
        committing(self, |connection| {
            let done = match stored(connection, caller, id)? {
                None => ChatWrite::Missing,
                stored if !expected.holds(stored.as_deref()) => ChatWrite::Changed,
                Some(_) => {
                    connection.change(DELETE, key(caller, id))?;
                    connection.commit()?;
                    return Ok(ChatWrite::Done);
                }
            };
            connection.rollback();
            Ok(done)
        })
    }
}

/// What tells a conversation from others: whose it is, and its id.
fn key<'k>(caller: &'k str, id: &'k str) -> Vec<Value<'k>> {
    vec![Value::key(caller, limit::CALLER), Value::text(id)]
}

fn body(
    connection: &mut dyn Connection,
    caller: &str,
    id: &str,
    lock: &str,
) -> Result<Option<Vec<u8>>, Failure> {
    let sql = format!("SELECT body FROM chats WHERE caller = $1 AND id = $2{lock}");
    let bodies = rows(connection, &sql, key(caller, id), Row::maybe_bytes)?;
    Ok(bodies.into_iter().next().flatten())
}

/// The version that is stored, locked until the transaction ends.
fn stored(
    connection: &mut dyn Connection,
    caller: &str,
    id: &str,
) -> Result<Option<String>, Failure> {
    let lock = connection.lock();
    Ok(body(connection, caller, id, lock)?.map(|body| chat_version(&body)))
}

/// Writes a conversation, and deletes the oldest of its owner's beyond the bounds.
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
    connection.change(sql, row)?;
    let sql = "SELECT id, CAST(LENGTH(body) AS BIGINT) FROM chats WHERE caller = $1 \
        ORDER BY updated_at DESC, id";
    let all = rows(connection, sql, vec![caller.clone()], |row| {
        Ok((row.text()?, row.integer()?))
    })?;
    let mut bytes = 0;
    let rows = all.into_iter().enumerate();
    let gone = rows.filter_map(|(nth, (id, length))| {
        bytes += length;
        // The one that was written just now stays, whatever it is.
        let is_over = nth >= MOST_CHATS || (nth > 0 && bytes > MOST_BYTES);
        is_over.then(|| vec![caller.clone(), Value::Text(id.into())])
    });
    super::execute(connection, DELETE, gone.collect())
}

/// Deletes a batch of those that nobody has continued for `kept`; of all if that is zero. Returns how
/// many, and whether there may be more.
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
    let deleted = connection.change(&sql, vec![bound.into()])?;
    Ok((deleted, deleted >= BATCH))
}
