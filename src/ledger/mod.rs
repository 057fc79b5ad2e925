//! The ledger: one record for every request, as it ended.
//!
//! A request takes a [`Slot`] before it is accepted and spends it on its record, so an accepted
//! request always has room in the queue. One thread writes, in groups (`writer`); queries read
//! through their own read-only connections (`query`) and see a record once it is durable.

mod query;
mod row;
mod store;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

pub use crate::api::{Tokens, ToolCall};
pub use query::{Query, Session};

/// Records that may be promised or queued at once. It bounds the memory held while the database
/// cannot be written.
pub const CAPACITY: usize = 65_536;

/// How long [`Ledger::close`] waits for the last records: a broken disk must not hold up a stop
/// for ever.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// The name of a record: `req_` and 26 characters that sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct EntryId(String);

impl EntryId {
    /// A new id: 48 bits of `unix_ms`, then 80 random bits, in Crockford's base 32.
    pub fn new(unix_ms: i64) -> EntryId {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes[6..]).expect("the operating system gave no random bytes");
        let time = unix_ms.max(0).cast_unsigned().min((1 << 48) - 1);
        bytes[..6].copy_from_slice(&time.to_be_bytes()[2..]);
        let bits = u128::from_be_bytes(bytes);
        let mut id = String::with_capacity(30);
        id.push_str("req_");
        for place in (0..26).rev() {
            id.push(ALPHABET[(bits >> (place * 5)) as usize & 31] as char);
        }
        EntryId(id)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Complete,
    Refused,
    ClientClosed,
    UpstreamError,
    TimedOut,
    Failed,
}

impl Outcome {
    const ALL: [Outcome; 6] = [
        Outcome::Complete,
        Outcome::Refused,
        Outcome::ClientClosed,
        Outcome::UpstreamError,
        Outcome::TimedOut,
        Outcome::Failed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Refused => "refused",
            Outcome::ClientClosed => "client_closed",
            Outcome::UpstreamError => "upstream_error",
            Outcome::TimedOut => "timed_out",
            Outcome::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Option<Outcome> {
        Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }
}

/// One request, as it ended. Written once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    pub id: EntryId,
    pub session: String,
    /// Unix milliseconds.
    pub started_at: i64,
    pub login: String,
    pub node_id: String,
    pub node_name: String,
    pub tags: Vec<String>,
    /// The API the caller spoke, such as `openai_chat`.
    pub api: String,
    pub model_requested: String,
    pub model: String,
    pub provider: String,
    pub method: String,
    pub path: String,
    pub status: u16,
    pub outcome: Outcome,
    pub stream: bool,
    #[serde(rename = "usage")]
    pub tokens: Tokens,
    pub finish_reason: Option<String>,
    pub tool_calls: u32,
    pub first_byte_ms: Option<f64>,
    pub first_token_ms: Option<f64>,
    pub duration_ms: f64,
    pub overhead_ms: Option<f64>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub user_agent: String,
    /// Short name of the client program.
    pub agent: String,
    /// The decisions made for this request with their reasons, in order.
    pub reasons: Vec<String>,
    pub error: Option<String>,
}

/// What is kept of requests besides their entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Bodies and headers.
    pub captures: bool,
    /// Tools with their parameters.
    pub tools: bool,
    /// Answers as they came, besides.
    pub raws: bool,
}

/// All that is recorded of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub entry: Entry,
    /// Tools that the model asked for.
    pub tools: Vec<ToolCall>,
    /// Headers by which the request can be found.
    pub headers: Vec<(String, String)>,
    pub capture: Option<Capture>,
}

impl From<Entry> for Record {
    fn from(entry: Entry) -> Self {
        Self {
            entry,
            tools: Vec::new(),
            headers: Vec::new(),
            capture: None,
        }
    }
}

/// What was said, as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capture {
    pub request_headers: Vec<(String, String)>,
    pub request_body: Bytes,
    pub response_headers: Vec<(String, String)>,
    pub response_body: Bytes,
    pub raw: Option<Bytes>,
    pub truncated: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("postgres:// is not supported yet by this build")]
    Postgres,
    #[error("ledger url {0:?}: use \"sqlite:path\" or \"sqlite::memory:\", without options")]
    Url(String),
    #[error("ledger: cannot {action} {}: {source}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("ledger {}: cannot {action}: {source}", path.display())]
    Sqlite {
        action: &'static str,
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error(
        "ledger {}: its schema is version {found}, this build knows up to {known}; \
         run the newer build that wrote it, or name another file", path.display()
    )]
    Newer {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error(
        "ledger {}: SQLite could not use a write-ahead log (it kept {mode:?}); \
         put the file on a local disk", path.display()
    )]
    NoWal { path: PathBuf, mode: String },
    #[error(
        "SQLite {0} can corrupt a ledger (the WAL-reset bug); build with SQLite 3.51.3 or later"
    )]
    SqliteVersion(&'static str),
    #[error("ledger: cannot start its writer thread: {0}")]
    Thread(std::io::Error),
    #[error("ledger: {pending} records are not yet durable; see the log for the failing write")]
    NotDurable { pending: usize },
    #[error("ledger: a query did not finish: {0}")]
    Query(tokio::task::JoinError),
}

/// Why no slot could be had. The request must be refused: it could not be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("the ledger's queue of {CAPACITY} records is full; retry when it has been written")]
    Full,
    #[error("the ledger is closed; the gateway is stopping")]
    Closed,
}

/// The ledger. Clones share one database and one writer.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    room: Arc<Semaphore>,
    capacity: usize,
    queue: mpsc::Sender<writer::Message>,
    /// Whether the last write succeeded.
    writing: Arc<AtomicBool>,
    readers: query::Readers,
}

impl Ledger {
    /// Opens the database at `url`, creating or migrating it first; `dir` is where a relative
    /// path starts.
    pub fn open(url: &str, dir: &Path) -> Result<Ledger, Error> {
        Ledger::with_capacity(url, dir, CAPACITY)
    }

    fn with_capacity(url: &str, dir: &Path, capacity: usize) -> Result<Ledger, Error> {
        let store = store::Store::parse(url, dir)?;
        let connection = store.open_writer()?;
        let writing = Arc::new(AtomicBool::new(true));
        let queue = writer::spawn(connection, store.path(), writing.clone())?;
        let readers = query::Readers::new(store);
        let room = Arc::new(Semaphore::new(capacity));
        Ok(Ledger {
            inner: Arc::new(Inner {
                room,
                capacity,
                queue,
                writing,
                readers,
            }),
        })
    }

    /// False after a failed write until one succeeds, and while the queue is full. Requests that
    /// must be recorded should then be refused.
    pub fn healthy(&self) -> bool {
        self.inner.writing.load(Ordering::Relaxed) && self.inner.room.available_permits() > 0
    }

    /// What is to be kept of requests that begin now.
    pub fn policy(&self) -> Keep {
        Keep {
            captures: true,
            tools: true,
            raws: false,
        }
    }

    /// Reserves room for one record; to be taken before a request is accepted.
    pub fn admit(&self) -> Result<Slot, Unavailable> {
        match self.inner.room.clone().try_acquire_owned() {
            Ok(room) => Ok(Slot {
                inner: self.inner.clone(),
                room,
            }),
            Err(TryAcquireError::NoPermits) => Err(Unavailable::Full),
            Err(TryAcquireError::Closed) => Err(Unavailable::Closed),
        }
    }

    /// Waits until every record handed over so far is durable, however long that takes.
    pub async fn flush(&self) -> Result<(), Error> {
        let (done, durable) = oneshot::channel();
        let sent = self.inner.queue.send(writer::Message::Flush(done));
        match sent {
            Ok(()) => durable.await.map_err(|_| self.not_durable()),
            Err(_) => Err(self.not_durable()),
        }
    }

    /// The matching requests, newest first.
    pub async fn requests(&self, query: Query) -> Result<Vec<Entry>, Error> {
        self.inner.readers.requests(query).await
    }

    /// The sessions of the matching requests, newest first.
    pub async fn sessions(&self, query: Query) -> Result<Vec<Session>, Error> {
        self.inner.readers.sessions(query).await
    }

    /// Admits nothing more and waits, at most ten seconds, until what was handed over is durable.
    /// A slot taken earlier still records; the writer ends when the last handle is gone.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.room.close();
        match tokio::time::timeout(CLOSE_WAIT, self.flush()).await {
            Ok(flushed) => flushed,
            Err(_) => Err(self.not_durable()),
        }
    }

    fn not_durable(&self) -> Error {
        Error::NotDurable {
            pending: self.inner.capacity - self.inner.room.available_permits(),
        }
    }
}

/// Room for one record. Dropped unused, it gives the room back.
#[must_use = "a dropped slot records nothing"]
pub struct Slot {
    inner: Arc<Inner>,
    room: OwnedSemaphorePermit,
}

impl Slot {
    /// Hands the record to the writer. Never blocks; the room is free again once it is durable.
    pub fn record(self, record: impl Into<Record>) {
        let message = writer::Message::Record(Box::new(record.into().entry), self.room);
        if let Err(mpsc::SendError(writer::Message::Record(entry, _))) =
            self.inner.queue.send(message)
        {
            // Cannot happen while a handle exists; the log is then the record's last chance.
            self.inner.writing.store(false, Ordering::Relaxed);
            tracing::error!(entry = ?entry, "ledger: the writer is gone; record not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ() {
        let early = EntryId::new(1_700_000_000_000);
        let late = EntryId::new(1_700_000_000_001);
        assert!(early < late);
        assert_eq!(early.as_str().len(), 30);
        assert!(early.as_str().starts_with("req_"));
        assert_ne!(EntryId::new(5), EntryId::new(5));
        assert_eq!(&EntryId::new(i64::MAX).as_str()[..14], "req_7zzzzzzzzz");
    }

    #[test]
    fn admission_is_bounded_and_unused_slots_return() {
        let ledger = Ledger::with_capacity("sqlite::memory:", Path::new("."), 2).unwrap();
        let first = ledger.admit().unwrap();
        let _second = ledger.admit().unwrap();
        assert_eq!(ledger.admit().err(), Some(Unavailable::Full));
        assert!(!ledger.healthy());
        drop(first);
        assert!(ledger.healthy());
        assert!(ledger.admit().is_ok());
    }
}
