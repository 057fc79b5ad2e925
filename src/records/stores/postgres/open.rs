//! An open connection. The thread that waits for an answer runs it, so that what the thread asks for in
//! one go leaves in one go. All connections of the process share one runtime, which tells them when there
//! is something to read.
//!
//! A round trip can cost more than all work of the server, so nothing waits that need not: a
//! transaction begins with its first statement, what doesn't depend on each other's answers is sent
//! together, and the last statement takes the commit along.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures_util::{FutureExt, TryStreamExt, future};
use tokio::runtime::Runtime;
use tokio_postgres::Config;
use tokio_postgres::error::Severity;
use tokio_postgres_rustls_improved::MakeRustlsConnect;

use super::DriverError;
use super::connect::{Driver, connect, drive};
use super::session::{Session, row};
use super::value::kind;
use crate::records::Failure;
use crate::records::stores::{Connection, Names, Question, Row, Rows, Value};

/// Waits for an answer. A server that is silent for longer is taken for gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that was not used for this long is asked whether it still works: a firewall can
/// have forgotten it without a word.
const IDLE: Duration = Duration::from_secs(10);

/// How long that answer may take.
const PING: Duration = Duration::from_secs(3);

/// Unix milliseconds by the server's clock, as it is when the expression is evaluated.
const CLOCK: &str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

/// Waits for other transactions that add to sums, and holds others off until this one ends.
const ALONE: &str = "SELECT CAST(pg_advisory_xact_lock(115940116332546) AS TEXT)";

/// The same for statements that are a transaction by themselves.
const ISOLATION: &str = "SET default_transaction_isolation = 'read committed'";

/// What all connections wait with. It is never dropped, which would wait for lookups of names: one can
/// take longer than anything may wait.
static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("ledger-postgres")
        .enable_all()
        .build()
});

/// The runtime of all connections.
fn runtime() -> Result<&'static Runtime, Failure> {
    RUNTIME.as_ref().map_err(|error| {
        let why = format!("no runtime for its connections: {error}");
        Failure::Io(std::io::Error::new(error.kind(), why))
    })
}

/// An open connection.
pub(super) struct ServerConnection {
    runtime: &'static Runtime,
    session: Session,
    /// What sends and receives, while it is run.
    driver: Driver,
    in_transaction: bool,
    /// The last transaction's commit was sent.
    is_committing: bool,
    is_broken: bool,
    /// How long an answer may take.
    pub(super) patience: Duration,
    used: Instant,
    names: Names,
    /// The generation of connections that it is of, and the one that is in use.
    generation: u64,
    current: Arc<AtomicU64>,
}

impl ServerConnection {
    pub(super) fn connect(
        config: &Config,
        tls: Option<&MakeRustlsConnect>,
        writes: bool,
        current: &Arc<AtomicU64>,
    ) -> Result<ServerConnection, Failure> {
        let runtime = runtime()?;
        let generation = current.load(Ordering::Relaxed);
        let connected = runtime.block_on(connect(config, tls))?;
        let is_pooled = connected.is_pooled;
        let mut open = ServerConnection {
            runtime,
            driver: connected.driver,
            session: Session {
                client: Arc::new(connected.client),
                statements: HashMap::new(),
                is_pooled,
                writes,
                begins: false,
            },
            in_transaction: false,
            is_committing: false,
            is_broken: false,
            patience: PATIENCE,
            used: Instant::now(),
            names: Names::default(),
            generation,
            current: Arc::clone(current),
        };
        if !is_pooled {
            let reads = if writes {
                ""
            } else {
                "; SET default_transaction_read_only = on"
            };
            open.batch(&format!("{ISOLATION}{reads}"))?;
        }
        Ok(open)
    }

    /// Runs `work` to its end, and learns from its failure whether the connection is of use still.
    fn wait<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (session, patience) = (&mut self.session, self.patience);
        let (begin, client) = (session.begin(), Arc::clone(&session.client));
        let begun = async {
            match begin {
                Some(begin) => Ok(client.batch_execute(&begin).await?),
                None => Ok(()),
            }
        };
        let driver = &mut self.driver;
        let done = self
            .runtime
            .block_on(async {
                // What begins the transaction is sent first, and not waited for.
                let all = future::try_join(begun, work(session));
                tokio::time::timeout(patience, drive(driver, all)).await
            })
            .map(|done| done.map(|((), done)| done))
            .unwrap_or(Err(Failure::Timeout(patience)));
        self.used = Instant::now();
        if let Err(failure) = &done {
            self.learn(failure);
        }
        self.is_broken |= self.session.client.is_closed();
        done
    }

    /// Whether a failure means that another connection has to be opened.
    fn learn(&mut self, failure: &Failure) {
        let error = match failure {
            Failure::Driver(error) => error.downcast_ref::<DriverError>(),
            _ => None,
        };
        let Some(DriverError(error)) = error else {
            self.is_broken |= matches!(failure, Failure::Timeout(_));
            return;
        };
        let Some(error) = error.as_db_error() else {
            self.is_broken = true;
            return;
        };
        let severity = error.parsed_severity();
        let code = error.code().code();
        // Of a server that takes no writes any more, no other connection is of use either.
        let takes_none = self.session.writes && code == "25006";
        // Class 57P is a server that is going away, 08 a connection that is.
        self.is_broken |= takes_none
            || matches!(severity, Some(Severity::Fatal | Severity::Panic))
            || ["57P", "08"].iter().any(|class| code.starts_with(class));
        if takes_none || code.starts_with("57P0") && code != "57P05" {
            self.retire_all();
        }
    }

    /// Lets no other connection from before be used any more.
    fn retire_all(&self) {
        self.current
            .fetch_max(self.generation + 1, Ordering::Relaxed);
    }

    /// Runs a statement by itself or within the transaction. Alone it gets a transaction where a
    /// session is not ours, for the settings that hold in it.
    fn statement<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if self.in_transaction || !self.session.is_pooled {
            return self.wait(work);
        }
        self.begin()?;
        let done = self.wait(work);
        let done = done.and_then(|done| self.commit().map(|()| done));
        if done.is_err() {
            self.rollback();
        }
        done
    }

    /// The integer that a query answers with.
    pub(super) fn integer(&mut self, sql: &str) -> Result<Option<i64>, Failure> {
        let mut found = None;
        self.query(sql, Vec::new(), &mut |mut row| {
            found = row.maybe_integer()?;
            Ok(())
        })?;
        Ok(found)
    }

    pub(super) fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        self.wait(async |session| Ok(session.client.batch_execute(sql).await?))
    }

    /// Whether the server answers soon.
    fn answers(&mut self) -> bool {
        let before = std::mem::replace(&mut self.patience, PING);
        let answered = self.batch("").is_ok();
        self.patience = before;
        answered
    }
}

impl Connection for ServerConnection {
    fn begin(&mut self) -> Result<(), Failure> {
        self.rollback();
        self.in_transaction = true;
        self.is_committing = false;
        self.session.begins = true;
        if self.session.is_pooled {
            // The server behind the pooler may be another one by now, without the latest names.
            self.names = Names::default();
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        if !std::mem::take(&mut self.session.begins) {
            self.is_committing = true;
            self.batch("COMMIT")?;
        }
        self.in_transaction = false;
        Ok(())
    }

    fn rollback(&mut self) {
        if !std::mem::take(&mut self.in_transaction) || std::mem::take(&mut self.session.begins) {
            return;
        }
        if !self.is_broken
            && let Err(error) = self.batch("ROLLBACK")
        {
            tracing::warn!(%error, "ledger: a transaction could not be undone");
            self.is_broken = true;
        }
    }

    fn execute(&mut self, sql: &str, rows: Rows<'_>) -> Result<Vec<u64>, Failure> {
        self.statement(async |session| session.execute(sql, rows, false).await)
    }

    fn insert(&mut self, sql: &str, rows: Rows<'_>) -> Result<(), Failure> {
        self.statement(async |session| session.insert(sql, rows).await)
    }

    fn insert_free(&mut self, sql: &str, key: &str, rows: Rows<'_>) -> Result<Vec<bool>, Failure> {
        self.statement(async |session| session.insert_free(sql, key, rows).await)
    }

    fn execute_and_commit(&mut self, sql: &str, rows: Rows<'_>) -> Result<Vec<u64>, Failure> {
        self.is_committing = true;
        let changed = self.wait(async |session| session.execute(sql, rows, true).await)?;
        self.in_transaction = false;
        Ok(changed)
    }

    fn query(
        &mut self,
        sql: &str,
        values: Vec<Value<'_>>,
        each: &mut dyn FnMut(Row) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.statement(async |session| {
            let values = values.iter().map(|one| (one, kind(one)));
            let rows = session.client.query_typed_raw(sql, values).await?;
            let mut rows = std::pin::pin!(rows);
            while let Some(found) = rows.try_next().await? {
                each(row(&found)?)?;
            }
            Ok(())
        })
    }

    fn ask(&mut self, questions: Vec<Question<'_>>) -> Result<Vec<Vec<Row>>, Failure> {
        self.statement(async |session| session.ask(questions).await)
    }

    fn clock(&self) -> Option<&'static str> {
        Some(CLOCK)
    }

    fn lock(&self) -> &'static str {
        " FOR UPDATE"
    }

    fn alone(&self) -> Option<&'static str> {
        Some(ALONE)
    }

    fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    /// The server's vacuum frees what was deleted, when it thinks fit.
    fn scrub(&mut self) -> Result<bool, Failure> {
        Ok(true)
    }

    fn check(&mut self) {
        // What the server has said meanwhile, such as that it closes the connection: the runtime looks
        // for what has arrived before it goes on with a task that gave way.
        let has_looked = self.runtime.spawn(tokio::task::yield_now());
        let driver = &mut self.driver;
        self.runtime.block_on(async {
            let _ = has_looked.await;
            let _ = driver.now_or_never();
        });
        self.is_broken |= self.session.client.is_closed()
            || self.generation != self.current.load(Ordering::Relaxed);
        if !self.is_broken && self.used.elapsed() > IDLE && !self.answers() {
            // What was forgotten of one was mostly forgotten of the others as well.
            self.is_broken = true;
            self.retire_all();
        }
    }

    fn is_broken(&self) -> bool {
        self.is_broken
    }

    fn may_have_committed(&self) -> bool {
        self.is_committing
    }
}
