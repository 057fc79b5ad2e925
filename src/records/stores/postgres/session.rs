//! What a connection sends: statements, prepared where they come again, and rows together where they can be.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::bulk;
use super::connect::LOCAL_SETTINGS;
use super::value::{kind, value};
use crate::records::Failure;
use crate::records::stores::{Question, Row, Rows, Value};

/// Statements that a connection keeps prepared; one more and it forgets them all.
const STATEMENTS: usize = 128;

/// Rows that are inserted by a statement each: another one is prepared for more.
const FEW: usize = 8;

/// Whoever has waited for a lock must see what was committed meanwhile, whatever the default of the
/// server, the database or the user.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const BEGIN_READING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY";

pub(super) struct Session {
    pub(super) client: Arc<Client>,
    /// Those that were executed before; prepared from the second time on.
    pub(super) statements: HashMap<String, Option<Statement>>,
    /// Each transaction may run in another session of the server.
    pub(super) is_pooled: bool,
    pub(super) writes: bool,
    /// A transaction begins with the next statement.
    pub(super) begins: bool,
}

type Bound<'v> = Vec<(&'v (dyn ToSql + Sync), Type)>;

fn bound<'v>(values: &'v [Value<'v>]) -> Bound<'v> {
    let typed = values.iter().map(|one| {
        let value: &(dyn ToSql + Sync) = one;
        (value, kind(one))
    });
    typed.collect()
}

impl Session {
    /// What is sent before the next statement.
    pub(super) fn begin(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.begins) {
            return None;
        }
        let begin = if self.writes { BEGIN } else { BEGIN_READING };
        Some(if self.is_pooled {
            format!("{begin}; {LOCAL_SETTINGS}")
        } else {
            begin.to_owned()
        })
    }

    /// A statement that is executed often is parsed once. Where sessions are not ours alone, each
    /// is parsed when it is executed.
    async fn prepare(&mut self, sql: &str, count: usize) -> Result<Option<Statement>, Failure> {
        if self.is_pooled {
            return Ok(None);
        }
        let known = self.statements.get(sql).cloned();
        if let Some(Some(statement)) = known {
            return Ok(Some(statement));
        }
        if known.is_none() && self.statements.len() >= STATEMENTS {
            self.statements.clear();
        }
        let statement = if known.is_some() || count > 1 {
            Some(self.client.prepare(sql).await?)
        } else {
            None
        };
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Executes a statement for each of `rows`, and `commits` behind the last; all is sent before the
    /// first answer is waited for.
    pub(super) async fn execute(
        &mut self,
        sql: &str,
        rows: Rows<'_>,
        commits: bool,
    ) -> Result<Vec<u64>, Failure> {
        let statement = self.prepare(sql, rows.len()).await?;
        let client = &self.client;
        // A statement that fails makes the commit behind it a rollback.
        let commit = async {
            if commits {
                client.batch_execute("COMMIT").await?;
            }
            Ok(())
        };
        let changed = if let Some(statement) = statement {
            let sent = rows
                .iter()
                .map(|values| client.execute_raw(&statement, values));
            future::try_join(future::try_join_all(sent), commit).await
        } else {
            let rows: Vec<Bound<'_>> = rows.iter().map(bound).collect();
            let sent = rows.iter().map(|values| client.execute_typed(sql, values));
            future::try_join(future::try_join_all(sent), commit).await
        };
        Ok(changed.map(|(changed, ())| changed)?)
    }

    /// Inserts rows, all by one statement where sessions are ours.
    pub(super) async fn insert(&mut self, sql: &str, rows: Rows<'_>) -> Result<(), Failure> {
        let Some((one, many)) = self.many(sql, rows.len(), "").await? else {
            return self.execute(sql, rows, false).await.map(drop);
        };
        let columns = bulk::columns(&rows, one.params())?;
        self.client.execute(&many, &all(&columns)).await?;
        Ok(())
    }

    /// Inserts the rows whose key is free, all by one statement where sessions are ours.
    pub(super) async fn insert_free(
        &mut self,
        sql: &str,
        key: &str,
        rows: Rows<'_>,
    ) -> Result<Vec<bool>, Failure> {
        let returning = format!(" RETURNING {key}");
        let Some((one, many)) = self.many(sql, rows.len(), &returning).await? else {
            let inserted = self.execute(sql, rows, false).await?;
            return Ok(inserted.into_iter().map(|count| count > 0).collect());
        };
        let columns = bulk::columns(&rows, one.params())?;
        let inserted = self.client.query(&many, &all(&columns)).await?;
        let inserted = inserted.iter().map(|row| row.try_get::<_, i64>(0));
        let mut inserted: HashSet<i64> = inserted.collect::<Result<_, _>>()?;
        // Of rows with the same key, the first was inserted.
        let is_free = rows.iter().map(|row| match row.first() {
            Some(Value::Integer(key)) => inserted.remove(key),
            _ => false,
        });
        Ok(is_free.collect())
    }

    /// The statement that inserts one row, and the one that inserts many and ends with `end`. `None` where
    /// rows are few, or sessions aren't ours.
    async fn many(
        &mut self,
        sql: &str,
        count: usize,
        end: &str,
    ) -> Result<Option<(Statement, Statement)>, Failure> {
        if count < FEW {
            return Ok(None);
        }
        let Some(one) = self.prepare(sql, count).await? else {
            return Ok(None);
        };
        let Some(many) = bulk::statement(sql, &one) else {
            return Ok(None);
        };
        let many = self.prepare(&(many + end), count).await?;
        Ok(many.map(|many| (one, many)))
    }

    /// Sends all questions before the first answer is waited for. One that is asked several times is parsed
    /// once.
    pub(super) async fn ask(
        &mut self,
        questions: Vec<Question<'_>>,
    ) -> Result<Vec<Vec<Row>>, Failure> {
        let mut statements: Vec<Option<Statement>> = Vec::with_capacity(questions.len());
        for (nth, (sql, _)) in questions.iter().enumerate() {
            let is_as = |other: Option<&Question<'_>>| other.is_some_and(|(other, _)| other == sql);
            let before = nth
                .checked_sub(1)
                .filter(|before| is_as(questions.get(*before)));
            let statement = if let Some(before) = before {
                statements[before].clone()
            } else if is_as(questions.get(nth + 1)) {
                self.prepare(sql, questions.len()).await?
            } else {
                None
            };
            statements.push(statement);
        }
        let client = &self.client;
        let sent = questions
            .iter()
            .zip(&statements)
            .map(async |((sql, values), statement)| {
                let rows = match statement {
                    Some(statement) => {
                        let values: Vec<_> = values.iter().map(|one| one as _).collect();
                        client.query(statement, &values).await?
                    }
                    None => client.query_typed(sql, &bound(values)).await?,
                };
                rows.iter().map(row).collect()
            });
        future::try_join_all(sent).await
    }
}

fn all<'c>(columns: &'c [bulk::Column<'_>]) -> Vec<&'c (dyn ToSql + Sync)> {
    columns.iter().map(|one| &**one as _).collect()
}

pub(super) fn row(row: &tokio_postgres::Row) -> Result<Row, Failure> {
    let values = (0..row.len()).map(|nth| value(row, nth));
    Ok(Row::new(values.collect::<Result<_, _>>()?))
}
