//! The store over SQL: all five roles, once for both databases. `SQLite` and `PostgreSQL` differ in how a
//! connection is had, kept and used, and in a few words; a [`Connection`] knows both, and the roles are
//! written over it. A store that speaks no SQL, or other SQL, implements the role that it is for by itself.
//!
//! SQL is written once, with `$1` for the first value, which both understand; where they differ, a
//! connection says what stands in a statement. Statements are made of parts that stand in the code, and
//! whatever comes from outside is bound.

mod archive;
mod audit;
mod balances;
mod capture;
mod chats;
mod earlier;
mod exports;
pub(crate) mod journal;
mod names;
mod objects;
mod outbox;
pub(crate) mod page;
mod purge;
mod query;
pub(crate) mod report;
mod rest;
mod rollup;
pub(crate) mod row;
pub(crate) mod session;
mod sums;
pub(crate) mod tools;
mod value;

use std::borrow::Cow;

use crate::base::clock;
use crate::records::{Error, Failure};
pub(crate) use names::Names;
pub(crate) use value::{Row, Rows, Value};

/// A caller's key as rows have it.
pub(crate) fn caller_key(caller: &str) -> Cow<'_, str> {
    value::key(caller, row::limit::CALLER)
}

/// The version of the schema: one more than there are migrations.
pub(super) const VERSION: i64 = 15;

/// What makes and changes the tables of a database, in its dialect. A new database gets the whole schema
/// at once; `tests/ledger/schema.rs` checks that the migrations lead to the same one.
pub(super) struct Schema {
    pub(super) new: [&'static str; 1],
    /// The scripts that bring a database from version N to N + 1, from 1 on. Only ever appended to.
    pub(super) migrations: [&'static str; 14],
}

impl Schema {
    /// The scripts that are still missing from a database of version `found`; one of version 0 is new.
    pub(super) fn missing(&self, name: &str, found: i64) -> Result<&[&'static str], Error> {
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
    pub(super) fn begin(&self, name: &str, found: i64) -> Result<&[&'static str], Error> {
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

/// A statement with its values.
pub(crate) type Question<'a> = (Cow<'a, str>, Vec<Value<'a>>);

/// One connection, used by one thread at a time.
pub(crate) trait Connection: Send {
    /// Begins a transaction; one left open by an earlier failure is undone first.
    fn begin(&mut self) -> Result<(), Failure>;
    fn commit(&mut self) -> Result<(), Failure>;
    fn rollback(&mut self);
    /// Runs one statement for each of `rows`, in order: how many rows each has changed.
    fn execute(&mut self, sql: &str, rows: Rows<'_>) -> Result<Vec<u64>, Failure>;
    /// Inserts rows by a statement for one of them. No two may have the same key: a server far away gets all
    /// of them in one statement.
    fn insert(&mut self, sql: &str, rows: Rows<'_>) -> Result<(), Failure> {
        self.execute(sql, rows).map(drop)
    }
    /// Inserts rows by a statement for one of them, which passes over those whose key is taken: says of each
    /// whether it was inserted. `key` is the first column, a number.
    fn insert_free(&mut self, sql: &str, _key: &str, rows: Rows<'_>) -> Result<Vec<bool>, Failure> {
        let inserted = self.execute(sql, rows)?;
        Ok(inserted.into_iter().map(|count| count > 0).collect())
    }
    /// Hands each row of the answer to `each`.
    fn query(
        &mut self,
        sql: &str,
        values: Vec<Value<'_>>,
        each: &mut dyn FnMut(Row) -> Result<(), Failure>,
    ) -> Result<(), Failure>;
    /// Runs a statement as `execute` does, as the last of the transaction, and commits.
    fn execute_and_commit(&mut self, sql: &str, rows: Rows<'_>) -> Result<Vec<u64>, Failure> {
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
    /// A query for the lock that lets one transaction at a time add to sums; `None` for a store with one writer.
    fn alone(&self) -> Option<&'static str> {
        None
    }
    /// The numbers of names that this connection knows, all of them committed.
    fn names(&mut self) -> &mut Names;
    /// Makes what was deleted unreadable; false while a reader is active; try again then.
    fn scrub(&mut self) -> Result<bool, Failure>;
    /// Whether another has to be opened in its place.
    fn is_broken(&self) -> bool;
    /// Whether the transaction that failed last can have been committed all the same: the answer to
    /// its commit got lost.
    fn may_have_committed(&self) -> bool {
        false
    }
}

/// All rows of an answer, as `read` makes them.
pub(super) fn rows<T>(
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

impl dyn Connection + '_ {
    /// Runs a statement once. Returns how many rows it has changed.
    fn change(&mut self, sql: &str, values: Vec<Value<'_>>) -> Result<u64, Failure> {
        Ok(self.execute(sql, Rows::one(values))?.into_iter().sum())
    }
}

/// Runs a statement for each of `rows`. Without rows, nothing is sent to a server far away.
fn execute(connection: &mut dyn Connection, sql: &str, rows: Rows<'_>) -> Result<(), Failure> {
    if !rows.is_empty() {
        connection.execute(sql, rows)?;
    }
    Ok(())
}

/// Inserts rows, as [`Connection::insert`] does. Without rows, nothing is sent.
fn insert(connection: &mut dyn Connection, sql: &str, rows: Rows<'_>) -> Result<(), Failure> {
    if !rows.is_empty() {
        connection.insert(sql, rows)?;
    }
    Ok(())
}

/// What a `SELECT` ends with to lock its rows, without those that another node has locked.
fn skip_locked(connection: &dyn Connection) -> String {
    match connection.lock() {
        "" => String::new(),
        lock => format!("{lock} SKIP LOCKED"),
    }
}

/// `$7, $8, $9` for `count` values after the first `bound` ones.
pub(super) fn places(bound: usize, count: usize) -> String {
    let places = (bound + 1..=bound + count).map(|nth| format!("${nth}"));
    places.collect::<Vec<_>>().join(", ")
}

/// Runs `work`, which commits by itself, in a transaction that is undone when it fails.
fn committing<T>(
    connection: &mut dyn Connection,
    work: impl FnOnce(&mut dyn Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    connection.begin()?;
    let done = work(connection);
    if done.is_err() {
        connection.rollback();
    }
    done
}

/// Runs `work` in a transaction, which is undone when it fails.
fn transaction<T>(
    connection: &mut dyn Connection,
    work: impl FnOnce(&mut dyn Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    committing(connection, |connection| {
        let done = work(connection)?;
        connection.commit()?;
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn places_are_numbered_from_the_first_that_is_free() {
        assert_eq!(places(2, 3), "$3, $4, $5");
        assert_eq!(places(0, 0), "");
    }
}
