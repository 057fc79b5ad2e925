//! Conversations of the chat that people had kept here: each is its owner's alone, and what is
//! too much or too old goes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::base::clock;
use crate::records::stores::sql::row::limit;
use crate::records::stores::{Connection, Failure, Row, Value, rows};
use crate::records::{Error, Ledger, millis};

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

/// What is stored of a conversation before a write that may only follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    Anything,
    /// Nothing is stored under this id.
    Absent,
    /// It is in this version.
    Version(String),
}

impl Expected {
    fn holds(&self, stored: Option<&str>) -> bool {
        match self {
            Self::Anything => true,
            Self::Absent => stored.is_none(),
            Self::Version(version) => stored == Some(version),
        }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatWrite {
    Done,
    /// Nothing is stored under this id.
    Missing,
    /// It is in another version than the one expected.
    Changed,
}

/// What tells two versions of a conversation apart: 128 bits of SHA-256, in hexadecimal.
#[must_use]
pub fn chat_version(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    let half = digest.first_chunk::<16>().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(half))
}

impl Ledger {
    /// The conversations of a caller, by their key, newest first.
    pub async fn chats(&self, caller: &str) -> Result<Vec<ChatRow>, Error> {
        let caller = Value::key(caller, limit::CALLER).into_owned();
        let sql = "SELECT id, updated_at, title FROM chats WHERE caller = $1 \
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
        let sql = "SELECT body FROM chats WHERE caller = $1 AND id = $2";
        let read = move |connection: &mut dyn Connection| {
            let found = rows(connection, sql, key.clone(), Row::maybe_bytes)?;
            Ok(found.into_iter().next().flatten())
        };
        self.inner.readers.run(read).await
    }

    /// Keeps a conversation in place of what was kept of it, if that is as expected.
    pub async fn keep_chat(
        &self,
        caller: &str,
        (id, title): (&str, &str),
        body: Vec<u8>,
        expected: Expected,
    ) -> Result<ChatWrite, Error> {
        let caller = Value::key(caller, limit::CALLER).into_owned();
        let (id, title) = (
            Value::text(id).into_owned(),
            Value::text(title).into_owned(),
        );
        let version = chat_version(&body);
        self.write(move |connection| {
            connection.begin()?;
            let key = vec![caller.clone(), id.clone()];
            let written = stored(connection, key).and_then(|stored| {
                // A write that runs twice finds what it wrote itself.
                let is_there = stored.as_ref() == Some(&version);
                if !is_there && !expected.holds(stored.as_deref()) {
                    connection.rollback();
                    return Ok(ChatWrite::Changed);
                }
                let row = vec![
                    caller.clone(),
                    id.clone(),
                    clock::unix_ms().into(),
                    title.clone(),
                    Value::Bytes(body.as_slice().into()),
                ];
                keep(connection, &caller, row)?;
                connection.commit()?;
                Ok(ChatWrite::Done)
            });
            if written.is_err() {
                connection.rollback();
            }
            written
        })
        .await
    }

    /// Deletes a conversation, if it is as expected.
    pub async fn delete_chat(
        &self,
        caller: &str,
        id: &str,
        expected: Expected,
    ) -> Result<ChatWrite, Error> {
        let key = vec![
            Value::key(caller, limit::CALLER).into_owned(),
            Value::text(id).into_owned(),
        ];
        let sql = "DELETE FROM chats WHERE caller = $1 AND id = $2";
        let written = self
            .write(move |connection| {
                connection.begin()?;
                let written = stored(connection, key.clone()).and_then(|stored| {
                    let Some(stored) = stored else {
                        connection.rollback();
                        return Ok(ChatWrite::Missing);
                    };
                    if !expected.holds(Some(&stored)) {
                        connection.rollback();
                        return Ok(ChatWrite::Changed);
                    }
                    connection.execute(sql, vec![key.clone()])?;
                    connection.commit()?;
                    Ok(ChatWrite::Done)
                });
                if written.is_err() {
                    connection.rollback();
                }
                written
            })
            .await?;
        // What it said can soon be read nowhere.
        self.inner.shared.deleted.store(true, Ordering::Relaxed);
        Ok(written)
    }
}

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

fn keep(
    connection: &mut dyn Connection,
    caller: &Value<'_>,
    row: Vec<Value<'_>>,
) -> Result<(), Failure> {
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
        connection.execute("DELETE FROM chats WHERE caller = $1 AND id = $2", gone)?;
    }
    Ok(())
}

/// Deletes some of those that nobody has gone on with for `kept`; all of them for zero. Answers
/// with how many, and whether there may be more.
pub(crate) fn purge(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Ledger;

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
            let body = vec![b'x'; length];
            let kept = ledger.keep_chat("ann", (id, "t"), body, Expected::Anything);
            kept.await.unwrap();
            let chats = ledger.chats("ann").await.unwrap();
            let ids: Vec<_> = chats.iter().map(|chat| chat.id.as_str()).collect();
            assert_eq!(ids, left);
        }
    }
}
