//! Conversations of the chat that people had kept here: each is its owner's alone, and what is
//! too much or too old goes.

use std::sync::atomic::Ordering;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::records::{Error, Failure, Ledger};

/// Conversations of one caller that are kept; beyond it the oldest go.
pub const MOST_CHATS: usize = 200;

/// A conversation, without what was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[schemars(inline)]
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
    pub(crate) fn holds(&self, stored: Option<&str>) -> bool {
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

/// Bytes of one caller's that are kept; beyond it the oldest go.
pub(crate) const MOST_BYTES: i64 = 64 << 20;

/// A conversation that is to be kept.
pub(crate) struct Chat {
    pub caller: String,
    pub id: String,
    pub title: String,
    pub body: Vec<u8>,
}

/// Where conversations are kept.
pub(crate) trait Chats {
    /// The conversations of a caller, newest first.
    fn chats(&mut self, caller: &str) -> Result<Vec<ChatRow>, Failure>;
    /// The body of a conversation.
    fn chat(&mut self, caller: &str, id: &str) -> Result<Option<Vec<u8>>, Failure>;
    /// Replaces a conversation, if the stored one is as expected.
    fn keep_chat(&mut self, chat: &Chat, expected: &Expected) -> Result<ChatWrite, Failure>;
    /// Deletes a conversation, if it is as expected.
    fn delete_chat(
        &mut self,
        caller: &str,
        id: &str,
        expected: &Expected,
    ) -> Result<ChatWrite, Failure>;
}

impl Ledger {
    /// The conversations of a caller, by their key, newest first.
    pub async fn chats(&self, caller: &str) -> Result<Vec<ChatRow>, Error> {
        let caller = caller.to_owned();
        self.read(move |connection| connection.chats(&caller)).await
    }

    /// What was said in a conversation, as JSON; `None` also if it belongs to another user.
    pub async fn chat(&self, caller: &str, id: &str) -> Result<Option<Vec<u8>>, Error> {
        let [caller, id] = [caller, id].map(str::to_owned);
        self.read(move |connection| connection.chat(&caller, &id))
            .await
    }

    /// Keeps a conversation in place of what was kept of it, if that is as expected.
    pub async fn keep_chat(
        &self,
        caller: &str,
        id: &str,
        title: &str,
        body: Vec<u8>,
        expected: Expected,
    ) -> Result<ChatWrite, Error> {
        let [caller, id, title] = [caller, id, title].map(str::to_owned);
        let chat = Chat {
            caller,
            id,
            title,
            body,
        };
        self.write(move |connection| connection.keep_chat(&chat, &expected))
            .await
    }

    /// Deletes a conversation, if it is as expected.
    pub async fn delete_chat(
        &self,
        caller: &str,
        id: &str,
        expected: Expected,
    ) -> Result<ChatWrite, Error> {
        let [caller, id] = [caller, id].map(str::to_owned);
        let written = self
            .write(move |connection| connection.delete_chat(&caller, &id, &expected))
            .await?;
        // What it said can soon be read nowhere.
        self.inner.shared.deleted.store(true, Ordering::Relaxed);
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
            let kept = ledger.keep_chat("ann", id, "t", body, Expected::Anything);
            kept.await.unwrap();
            let chats = ledger.chats("ann").await.unwrap();
            let ids: Vec<_> = chats.iter().map(|chat| chat.id.as_str()).collect();
            assert_eq!(ids, left);
        }
    }
}
