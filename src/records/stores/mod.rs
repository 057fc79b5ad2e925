//! What the two databases have in common: values, rows, connections. SQL is written once, with
//! `$1` for the first value, which both understand; where they differ, a connection says what stands in
//! a statement. Statements are made of parts that stand in the code, and whatever comes from outside is
//! bound.

pub(crate) mod pool;
#[cfg(feature = "postgres")]
mod postgres;
pub(crate) mod sql;
pub(crate) mod sqlite;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use rusqlite::ErrorCode;
use sha2::{Digest, Sha256};

use crate::base::clock;
use crate::records::Error;

/// The version of the schema.
const VERSION: i64 = 8;

/// What makes and changes the tables of a database, in its dialect. A new database gets the whole schema
/// at once; `tests/ledger/schema.rs` checks that the migrations lead to the same one.
struct Schema {
    new: [&'static str; 1],
    /// The scripts that bring a database from version N to N + 1, from 1 on. Only ever appended to.
    migrations: [&'static str; VERSION as usize - 1],
}

impl Schema {
    /// The scripts that are still missing from a database of version `found`; one of version 0 is new.
    fn missing(&self, name: &str, found: i64) -> Result<&[&'static str], Error> {
        if found == 0 {
            return Ok(&self.new);
        }
        usize::try_from(found.saturating_sub(1))
            .ok()
            .and_then(|version| self.migrations.get(version..))
            .ok_or_else(|| Error::Newer {
                name: name.to_owned(),
                found,
                known: VERSION,
            })
    }

    /// The same, for a database that is about to be brought up to date: it can take a while where there
    /// are records, and says so.
    fn begin(&self, name: &str, found: i64) -> Result<&[&'static str], Error> {
        let scripts = self.missing(name, found)?;
        if found > 0 && !scripts.is_empty() {
            tracing::info!(
                ledger = name,
                version = VERSION,
                "ledger: updating its schema; records are rewritten, which can take minutes"
            );
        }
        Ok(scripts)
    }
}

/// A database. Blocks, so it belongs on threads that may.
pub(crate) trait Store: Send + Sync {
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

/// A statement with its values.
pub(crate) type Question<'a> = (Cow<'a, str>, Vec<Value<'a>>);

/// One connection, used by one thread at a time.
pub(crate) trait Connection: Send {
    /// Begins a transaction; one left open by an earlier failure is undone first.
    fn begin(&mut self) -> Result<(), Failure>;
    fn commit(&mut self) -> Result<(), Failure>;
    fn rollback(&mut self);
    /// Runs one statement for each of `rows`, in order: how many rows each has changed.
    fn execute(&mut self, sql: &str, rows: Vec<Vec<Value<'_>>>) -> Result<Vec<u64>, Failure>;
    /// Hands each row of the answer to `each`.
    fn query(
        &mut self,
        sql: &str,
        values: Vec<Value<'_>>,
        each: &mut dyn FnMut(Row) -> Result<(), Failure>,
    ) -> Result<(), Failure>;
    /// Runs a statement as `execute` does, as the last of the transaction, and commits.
    fn execute_and_commit(
        &mut self,
        sql: &str,
        rows: Vec<Vec<Value<'_>>>,
    ) -> Result<Vec<u64>, Failure> {
        let changed = self.execute(sql, rows)?;
        self.commit()?;
        Ok(changed)
    }
    /// Runs statements in order, and answers with the rows of each. None may need another's answer:
    /// a server far away gets all of them at once.
    fn ask(&mut self, questions: Vec<Question<'_>>) -> Result<Vec<Vec<Row>>, Failure> {
        let mut answers = Vec::new();
        for (sql, values) in questions {
            let mut rows = Vec::new();
            self.query(&sql, values, &mut |row| {
                rows.push(row);
                Ok(())
            })?;
            answers.push(rows);
        }
        Ok(answers)
    }
    /// An expression for the time by the clock that all who share the database go by, in Unix
    /// milliseconds. `None` where that is this machine's.
    fn clock(&self) -> Option<&'static str> {
        None
    }
    /// The time by that clock.
    fn now(&mut self) -> Result<i64, Failure> {
        let Some(clock) = self.clock() else {
            return Ok(clock::unix_ms());
        };
        let question = (format!("SELECT {clock}").into(), Vec::new());
        let mut answers = self.ask(vec![question])?.into_iter();
        let row = answers.next().into_iter().flatten().next();
        row.ok_or_else(|| Failure::Value("no time".to_owned()))?
            .integer()
    }
    /// Looks whether a connection that was not used for a while still works.
    fn check(&mut self) {}
    /// What a `SELECT` ends with to lock its rows until the transaction ends; nothing where
    /// only one connection writes.
    fn lock(&self) -> &'static str {
        ""
    }
    /// What stands before a column to keep the database from walking along that column's index; nothing
    /// where it finds out by itself.
    fn unindexed(&self) -> &'static str {
        ""
    }
    /// Makes what was deleted unreadable; false when somebody reads, and it has to be tried again.
    fn scrub(&mut self) -> Result<bool, Failure>;
    /// Whether another has to be opened in its place.
    fn is_broken(&self) -> bool;
    /// Whether the transaction that failed last can have been committed all the same: the answer to
    /// its commit got lost.
    fn may_have_committed(&self) -> bool {
        false
    }
}

/// The database at `url`; `dir` is where a relative path starts.
pub(crate) fn parse(url: &str, dir: &Path) -> Result<Arc<dyn Store>, Error> {
    // The check of a configuration says the same.
    if let Some(problem) = crate::config::database_problem(url) {
        return Err(Error::Url(problem));
    }
    #[cfg(feature = "postgres")]
    if url.starts_with("postgres") {
        return Ok(Arc::new(postgres::Server::parse(url)?));
    }
    Ok(Arc::new(sqlite::Place::parse(url, dir)?))
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
    pub(crate) fn refusal(&self) -> Option<Refusal> {
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

/// A value, bound or read. What is bound is borrowed: a record has dozens of texts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    /// Text of any length. `PostgreSQL` cannot hold a zero character, and `SQLite` should not
    /// differ.
    pub(crate) fn text(text: impl Into<Cow<'a, str>>) -> Value<'a> {
        let text = text.into();
        if memchr::memchr(0, text.as_bytes()).is_some() {
            return Value::Text(text.replace('\0', "\u{fffd}").into());
        }
        Value::Text(text)
    }

    /// The same, for somebody who outlives what it was borrowed from.
    pub(crate) fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Integer(value) => Value::Integer(value),
            Value::Real(value) => Value::Real(value),
            Value::Text(text) => Value::Text(text.into_owned().into()),
            Value::Bytes(bytes) => Value::Bytes(bytes.into_owned().into()),
        }
    }

    /// Something as JSON text.
    pub(crate) fn json(what: &impl serde::Serialize) -> Value<'static> {
        // Lists and pairs of texts always are JSON.
        Value::text(serde_json::to_string(what).unwrap_or_default())
    }

    /// Text for an index, of `limit` bytes at most: `PostgreSQL` refuses longer keys, and a record
    /// that is refused would stop the queue behind it. Texts that differ stay different.
    pub(crate) fn key(text: &'a str, limit: usize) -> Value<'a> {
        Value::text(key(text, limit))
    }

    /// The key that a person looks for: a text, or a key as it was shown to them.
    pub(crate) fn wanted(text: &'a str, limit: usize) -> Value<'a> {
        if text.len() <= limit {
            return Value::text(text);
        }
        Value::key(text, limit)
    }
}

/// Hexadecimal digits of the hash that a long key ends with: no two texts are found that share 192
/// bits, whatever is tried.
const DIGITS: usize = 48;

/// A text as a key of `limit` bytes at most. A longer one is its beginning, `~`, and a hash of all of
/// it; and so is a short one that reads like that, so that nobody can write another text's key.
pub(crate) fn key(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit && !reads_hashed(text) {
        return text.into();
    }
    let begin = text.floor_char_boundary(limit - DIGITS - 1);
    let mut key = text[..begin].to_owned();
    while key.len() + DIGITS < limit {
        key.push('~');
    }
    for byte in &Sha256::digest(text.as_bytes())[..DIGITS / 2] {
        let _ = write!(key, "{byte:02x}");
    }
    key.into()
}

fn reads_hashed(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    bytes
        .len()
        .checked_sub(DIGITS + 1)
        .is_some_and(|mark| bytes[mark] == b'~' && bytes[mark + 1..].iter().all(is_digit))
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Integer(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Integer(value.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::text(text)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl From<f64> for Value<'_> {
    /// `SQLite` stores NaN as NULL, which a NOT NULL column would refuse for ever.
    fn from(value: f64) -> Self {
        if value.is_finite() {
            Value::Real(value)
        } else {
            Value::Null
        }
    }
}

/// A row of an answer, taken column by column.
pub(crate) struct Row(std::vec::IntoIter<Value<'static>>);

impl Row {
    pub(crate) fn new(values: Vec<Value<'static>>) -> Row {
        Row(values.into_iter())
    }

    pub(crate) fn value(&mut self) -> Result<Value<'static>, Failure> {
        self.0
            .next()
            .ok_or_else(|| Failure::Value("a column too few".to_owned()))
    }

    pub(crate) fn text(&mut self) -> Result<String, Failure> {
        match self.value()? {
            Value::Text(text) => Ok(text.into_owned()),
            other => Err(unexpected(&other, "text")),
        }
    }

    pub(crate) fn maybe_text(&mut self) -> Result<Option<String>, Failure> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text.into_owned())),
            other => Err(unexpected(&other, "text")),
        }
    }

    pub(crate) fn integer(&mut self) -> Result<i64, Failure> {
        match self.value()? {
            Value::Integer(value) => Ok(value),
            other => Err(unexpected(&other, "an integer")),
        }
    }

    pub(crate) fn maybe_integer(&mut self) -> Result<Option<i64>, Failure> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Integer(value) => Ok(Some(value)),
            other => Err(unexpected(&other, "an integer")),
        }
    }

    /// A count, which is never below zero.
    pub(crate) fn count(&mut self) -> Result<u64, Failure> {
        Ok(self.integer()?.max(0).cast_unsigned())
    }

    pub(crate) fn maybe_real(&mut self) -> Result<Option<f64>, Failure> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Real(value) => Ok(Some(value)),
            other => Err(unexpected(&other, "a real")),
        }
    }

    pub(crate) fn maybe_bytes(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes.into_owned())),
            other => Err(unexpected(&other, "bytes")),
        }
    }

    /// What was stored as JSON text.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Failure> {
        serde_json::from_str(&self.text()?).map_err(|error| Failure::Value(error.to_string()))
    }
}

fn unexpected(found: &Value<'_>, wanted: &str) -> Failure {
    let kind = match found {
        Value::Null => "nothing",
        Value::Integer(_) => "an integer",
        Value::Real(_) => "a real",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
    };
    Failure::Value(format!("{kind} where {wanted} should be"))
}

/// All rows of an answer, as `read` makes them.
pub(crate) fn rows<T>(
    connection: &mut dyn Connection,
    sql: &str,
    values: Vec<Value<'_>>,
    read: impl Fn(&mut Row) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    connection.query(sql, values, &mut |mut row| {
        all.push(read(&mut row)?);
        Ok(())
    })?;
    Ok(all)
}

/// `$7, $8, $9` for `count` values after the first `bound` ones.
pub(crate) fn places(bound: usize, count: usize) -> String {
    let mut places = String::new();
    for nth in bound + 1..=bound + count {
        if !places.is_empty() {
            places.push_str(", ");
        }
        places.push('$');
        places.push_str(&nth.to_string());
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_both_databases_can_hold() {
        assert_eq!(Value::text("a\0b"), Value::Text("a\u{fffd}b".into()));
        assert_eq!(Value::from(f64::NAN), Value::Null);
        assert_eq!(places(2, 3), "$3, $4, $5");
        assert_eq!(places(0, 0), "");
    }

    #[test]
    fn texts_that_differ_have_different_keys() {
        assert_eq!(key("short", 64), "short");
        let long = "é".repeat(200);
        let (one, other) = (format!("{long}1"), format!("{long}2"));
        for limit in [64, 256, 384] {
            let (one, other) = (key(&one, limit), key(&other, limit));
            assert_ne!(one, other);
            assert_eq!(one.len(), limit);
            assert!(one.starts_with("éé"));
            // What reads like a key is the key of another text.
            assert_ne!(key(&one, limit), one);
            assert_eq!(Value::wanted(&one, limit), Value::text(&*one));
        }
        assert_eq!(Value::wanted(&one, 64), Value::key(&one, 64));
    }
}
