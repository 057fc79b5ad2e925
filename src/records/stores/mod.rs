//! Where records are kept: how a database is opened and asked. No SQL stands outside of this folder. `sql`
//! has the roles for `SQLite` and `PostgreSQL`; a store for reports alone is a folder beside it with an
//! implementation of [`Reports`](crate::records::reports::Reports).

#[cfg(feature = "postgres")]
mod postgres;
pub(super) mod sql;
pub(super) mod sqlite;

use std::path::Path;
use std::sync::Arc;

use crate::records::{Error, Failure};
pub(super) use sql::Connection;
#[cfg(feature = "postgres")]
use sql::Question;
use sql::{Names, Row, Rows, Schema, VERSION, Value};

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
