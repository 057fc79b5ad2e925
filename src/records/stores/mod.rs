//! Where records are kept: how a database is opened, and why that fails. No SQL stands outside of this
//! folder. `sql` has the roles for `SQLite` and `PostgreSQL`; a store for reports alone is a folder beside
//! it with an implementation of [`Reports`](crate::records::reports::Reports).

#[cfg(feature = "postgres")]
mod postgres;
pub(super) mod sql;
pub(super) mod sqlite;

use std::path::Path;
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::records::Error;
pub(super) use sql::Connection;
#[cfg(feature = "postgres")]
use sql::Question;
use sql::{Row, Schema, VERSION, Value};

/// A database. Blocks, so it belongs on threads that may.
pub(super) trait Store: Send + Sync {
    /// The file or the server, for messages; without a password.
    fn name(&self) -> &str;
    /// A connection that writes, with the schema brought up to date.
    fn open_writer(&self) -> Result<Box<dyn Connection>, Error>;
    /// Takes another URL of the same database for connections from now on: its password may be
    /// another one. False where it is another database.
    fn take_url(&self, _url: &str) -> bool {
        false
    }
    /// Whether several nodes may write to it, each through several connections.
    fn is_shared(&self) -> bool {
        false
    }
    /// Why what is written is lost, where the open file is not the one at its path any more.
    fn misplaced(&self) -> Option<String> {
        None
    }
    /// Whether it is a file that can be moved or deleted.
    fn is_file(&self) -> bool {
        false
    }
    /// Whether it can be opened.
    fn probe(&self) -> Result<(), Error> {
        self.open_reader().map(drop)
    }
    /// A connection that cannot write.
    fn open_reader(&self) -> Result<Box<dyn Connection>, Error>;

    fn error(&self, action: &'static str, cause: Failure) -> Error {
        Error::Database {
            action,
            name: self.name().to_owned(),
            cause,
        }
    }
}

/// The database at `url`; `dir` is where a relative path starts.
pub(super) fn parse(url: &str, dir: &Path) -> Result<Arc<dyn Store>, Error> {
    // The check of a configuration says the same.
    if let Some(problem) = crate::config::database_problem(url) {
        return Err(Error::Url(problem));
    }
    #[cfg(feature = "postgres")]
    if url.starts_with("postgres") {
        return Ok(Arc::new(postgres::Server::parse(url)?));
    }
    Ok(Arc::new(sqlite::SqliteStore::parse(url, dir)?))
}

/// Why a statement did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{}", in_a_line(.0))]
    Sqlite(rusqlite::Error),
    #[error("the file is damaged ({}); put a backup in its place, or move it away to begin with an empty ledger", in_a_line(.0))]
    Damaged(rusqlite::Error),
    #[cfg(feature = "postgres")]
    #[error("{}", postgres::explain(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// No server could be connected to.
    #[error("{why}")]
    Unreachable {
        /// What each address said.
        why: String,
        /// What kind of trouble that is.
        refusal: Refusal,
    },
    #[error("no answer from the server within {0:?}")]
    Timeout(std::time::Duration),
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

impl Failure {
    /// Why no server could be connected to, if that is the failure.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Failure::Unreachable { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }
}

/// `SQLite`'s words on one line: of a damaged file they quote whole statements, and bytes that a
/// terminal obeys.
fn in_a_line(error: &rusqlite::Error) -> String {
    const SHOWN: usize = 200;
    let mut words = crate::wire::text::harmless(&error.to_string());
    if words.len() > SHOWN {
        words.truncate(words.floor_char_boundary(SHOWN));
        words.push('…');
    }
    words
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Failure::Damaged(error),
            _ => Failure::Sqlite(error),
        }
    }
}
