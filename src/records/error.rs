//! What can go wrong with the ledger, and what its callers are told then.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

use super::CAPACITY;
use crate::wire::Rejection;

/// What a connection could not do with a database.
pub(super) const WRITE: &str = "write to it";

/// How long a caller waits before the next try.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL itself stays out: it can hold a password.
    #[error("invalid database URL: {0}")]
    Url(String),
    #[error("ledger: cannot {action} {}: {cause}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        cause: std::io::Error,
    },
    #[error("ledger {name}: cannot {action}: {cause}")]
    Database {
        action: &'static str,
        name: String,
        cause: Failure,
    },
    #[error(
        "ledger {name}: its schema is version {found}, this build knows up to {known}; \
         run the newer build that wrote it, or name another database"
    )]
    Newer {
        name: String,
        found: i64,
        known: i64,
    },
    #[error(
        "ledger {name}: SQLite could not use a write-ahead log (it kept {mode:?}); \
         put the file on a local disk"
    )]
    NoWal { name: String, mode: String },
    #[error(
        "SQLite {0} can corrupt a ledger (the WAL-reset bug); build with SQLite 3.51.3 or later"
    )]
    SqliteVersion(&'static str),
    #[error("ledger: cannot start its writer thread: {0}")]
    Thread(std::io::Error),
    #[error("ledger: {pending} records are not yet durable; see the log for the failing write")]
    NotDurable { pending: usize },
    #[error("ledger: cannot write: {0}")]
    Write(String),
    #[error("ledger: cannot tell whether it was written: {0}")]
    Undecided(String),
    #[error("ledger: a query did not finish: {0}")]
    Query(tokio::task::JoinError),
    /// The caller's to put right, unlike all others.
    #[error("{0}")]
    Report(&'static str),
    #[error("ledger: an object can't be kept: {0}")]
    Object(&'static str),
}

impl Error {
    /// Whether what was to be written may have been, or may still be.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        match self {
            Error::Undecided(_) => true,
            Error::Database { cause, .. } => matches!(cause, Failure::Undecided(_)),
            _ => false,
        }
    }

    /// Whether something was to be written.
    #[must_use]
    pub fn is_of_write(&self) -> bool {
        match self {
            Error::Write(_) | Error::Undecided(_) => true,
            Error::Database { action, .. } => *action == WRITE,
            _ => false,
        }
    }

    /// Why no server could be connected to, if that is the error.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Error::Database {
                cause: Failure::Unreachable { refusal, .. },
                ..
            } => Some(*refusal),
            _ => None,
        }
    }
}

/// Why no slot could be had. The request must be refused: it could not be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("the ledger's queue of {CAPACITY} records is full; retry when it has been written")]
    Full,
    #[error("requests cannot be recorded right now")]
    Failing,
    #[error("the ledger is closed; the gateway is stopping")]
    Closed,
    #[error("the database's file was deleted, moved or replaced while Iris runs")]
    Misplaced,
}

/// Why a statement did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What the database's driver says.
    #[error("{0}")]
    Driver(Box<dyn std::error::Error + Send + Sync>),
    #[error(
        "the file is damaged ({0}); put a backup in its place, or move it away to begin with an empty ledger"
    )]
    Damaged(String),
    /// No server could be connected to.
    #[error("{why}")]
    Unreachable {
        /// What each address said.
        why: String,
        /// What kind of trouble that is.
        refusal: Refusal,
    },
    #[error("no answer from the server within {0:?}")]
    Timeout(Duration),
    /// The answer to a commit got lost.
    #[error("{0}; whether it was done is not known")]
    Undecided(Box<Failure>),
    #[error("a value that was never written: {0}")]
    Value(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Why no server could be connected to. Of several, the first of these decides what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It has as many connections as it may have.
    Full,
    /// It is starting, and will take connections soon.
    Starting,
    /// It takes no writes: it is a standby, or was made read-only.
    ReadOnly,
    /// Anything else.
    Other,
}

/// The ledger can't be used, or was asked for what it doesn't answer. The cause is for the log alone.
impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        if let Error::Report(why) = error {
            return Self::new(StatusCode::BAD_REQUEST, "bad_query", why);
        }
        let what = if error.is_of_write() {
            "the database cannot be written right now"
        } else {
            "the records cannot be read right now"
        };
        tracing::error!(%error, "{what}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", what).retry_after(RETRY)
    }
}
