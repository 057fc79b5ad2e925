//! Conversations of the chat that people had kept here: each is its owner's alone, and what is
//! too much or too old goes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::database::{Connection, Failure, Row, Value, rows};
use super::row::limit;
use super::{Error, Ledger, millis};
use crate::clock;

/// Conversations of one caller that are kept; beyond it the oldest go.
pub const MOST_CHATS: usize = 200;
/// Bytes of one caller's; beyond it the oldest go.
const MOST_BYTES: i64 = 64 << 20;
/// Rows that one purge deletes.
const BATCH: usize = 200;

/// A conversation, without what was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChatRow {
    /// The session of its requests.
    pub id: String,
    /// Unix milliseconds.
    pub updated_at: i64,
    /// For its owner to know it by.
    pub title: String,
}

impl Ledger {
    /// The conversations of a caller, by their key, newest first.
    pub async fn chats(&self, caller: &str) -> Result<Vec<ChatRow>, Error> {
        let caller = Value::key(caller, limit::CALLER).into_owned();
        let sql = "SELECT id, updated_at, title FROM chats WHERE caller = ?1 \
            ORDER BY updated_at DESC, id";
        let read = move |connection: &mut dyn Connection| {
            rows(connection, sql, vec![caller.clone()], |row| {
                Ok(ChatRow {
                    id: row.text()?,
                    updated_at: row.integer()?,
                    title: row.text()?,
                })
            })
        };
        self.inner.readers.run(read).await
    }

    /// What was said in a conversation, as JSON; `None` also where it is somebody else's.
    pub async fn chat(&self, caller: &str, id: &str) -> Result<Option<Vec<u8>>, Error> {
        let key = vec![
            Value::key(caller, limit::CALLER).into_owned(),
            Value::text(id).into_owned(),
        ];
        let sql = "SELECT body FROM chats WHERE caller = ?1 AND id = ?2";
        let read = move |connection: &mut dyn Connection| {
            let found = rows(connection, sql, key.clone(), Row::maybe_bytes)?;
            Ok(found.into_iter().next().flatten())
        };
        self.inner.readers.run(read).await
    }

    /// Keeps a conversation in place of what was kept of it.
    pub async fn keep_chat(
        &self,
        caller: &str,
        (id, title): (&str, &str),
        body: Vec<u8>,
    ) -> Result<(), Error> {
        let caller = Value::key(caller, limit::CALLER).into_owned();
        let (id, title) = (
            Value::text(id).into_owned(),
            Value::text(title).into_owned(),
        );
        self.write(move |connection| {
            let row = vec![
                caller.clone(),
                id.clone(),
                clock::unix_ms().into(),
                title.clone(),
                Value::Bytes(body.as_slice().into()),
            ];
            connection.begin()?;
            let kept = keep(connection, &caller, row).and_then(|()| connection.commit());
            if kept.is_err() {
                connection.rollback();
            }
            kept
        })
        .await
    }

    /// Deletes a conversation. Answers with whether it was there.
    pub async fn delete_chat(&self, caller: &str, id: &str) -> Result<bool, Error> {
        let key = vec![
            Value::key(caller, limit::CALLER).into_owned(),
            Value::text(id).into_owned(),
        ];
        let sql = "DELETE FROM chats WHERE caller = ?1 AND id = ?2";
        let deleted = self
            .write(move |connection| connection.execute(sql, vec![key.clone()]))
            .await?;
        // What it said can soon be read nowhere.
        self.inner.shared.deleted.store(true, Ordering::Relaxed);
        Ok(deleted.into_iter().sum::<u64>() > 0)
    }
}

fn keep(
    connection: &mut dyn Connection,
    caller: &Value<'_>,
    row: Vec<Value<'_>>,
) -> Result<(), Failure> {
    let sql = "INSERT INTO chats (caller, id, updated_at, title, body) VALUES (?1, ?2, ?3, ?4, ?5) \
        ON CONFLICT (caller, id) DO UPDATE SET updated_at = excluded.updated_at, \
        title = excluded.title, body = excluded.body";
    connection.execute(sql, vec![row])?;
    let sql = "SELECT id, CAST(LENGTH(body) AS BIGINT) FROM chats WHERE caller = ?1 \
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
        connection.execute("DELETE FROM chats WHERE caller = ?1 AND id = ?2", gone)?;
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
         WHERE updated_at < ?1 ORDER BY updated_at LIMIT {BATCH})"
    );
    let deleted = connection.execute(&sql, vec![vec![bound.into()]])?;
    let deleted: u64 = deleted.into_iter().sum();
    Ok((deleted, deleted >= BATCH as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    #[tokio::test]
    async fn a_login_keeps_as_many_bytes_as_it_may_and_always_the_newest() {
        let ledger = Ledger::open("sqlite::memory:", std::path::Path::new(".")).unwrap();
        let most = usize::try_from(MOST_BYTES).unwrap();
        for (id, length, left) in [
            ("a", 1, &["a"][..]),
            ("b", most - 1, &["b", "a"]),
            ("c", 1, &["c", "b"]),
            ("d", most + 1, &["d"]),
        ] {
            // The time tells which is the newest.
            tokio::time::sleep(Duration::from_millis(2)).await;
            let kept = ledger.keep_chat("ann", (id, "t"), vec![b'x'; length]);
            kept.await.unwrap();
            let chats = ledger.chats("ann").await.unwrap();
            let ids: Vec<_> = chats.iter().map(|chat| chat.id.as_str()).collect();
            assert_eq!(ids, left);
        }
    }
}
