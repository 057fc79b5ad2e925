//! The ledger: one record for every request, as it ended.
//!
//! A request takes a [`Slot`] before it is accepted and spends it on its record, so an accepted
//! request always has room in the queue. One thread writes, in groups (`writer`); queries read
//! through their own read-only connections (`connections`) and see a record once it is durable.
//!
//! The database is `SQLite` or `PostgreSQL` behind one trait (`database`): one schema, one set of
//! queries. Sums by day (`rollup`) and sessions (`session`) are kept as records are written.

mod archive;
pub mod balances;
mod entry;
mod error;
mod journal;
pub mod metrics;
pub mod outlets;
mod reports;
mod stores;

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};

use crate::base::secret::Secret;
use crate::config::Database;
pub use crate::formats::{Tokens, ToolCall};
use archive::earlier;
use balances::holds;
pub use entry::{Capture, Entry, EntryId, Outcome, Record};
pub use error::{Error, Unavailable};
pub use journal::retention::Keep;
pub use journal::room::{Backlog, CAPACITY, Slot};
pub use journal::written::Written;
use journal::{misplaced, retention, turn, writer, written};
pub use reports::histogram::Percentiles;
pub use reports::sums::{Counts, Totals};
pub use stores::sql::audit::{AuditQuery, Audited, Version};
pub use stores::sql::buckets::{Held, Stored};
pub use stores::sql::chats::{ChatRow, ChatWrite, Expected, MOST_CHATS, chat_version};
pub use stores::sql::exports::Batch;
pub use stores::sql::outbox::{Delivery, Queued, Waiting};
pub use stores::sql::query::{Query, Scope};
pub use stores::sql::report::{Group, Report, Usage, UsageGroup};
pub use stores::sql::session::Session;
pub use stores::sql::tools::ToolUse;
use stores::sql::{audit, query, report, row, session, tools};
use stores::{self as database, pool as connections};
pub use stores::{Failure, Refusal};

/// How long [`Ledger::close`] waits for the last records: a broken disk must not hold up a stop
/// for ever.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// The ledger. Clones share one database and one writer.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn database::Store>,
    /// Where a relative path begins.
    dir: std::path::PathBuf,
    room: Arc<Semaphore>,
    capacity: usize,
    queue: mpsc::Sender<writer::Message>,
    writer: std::thread::JoinHandle<()>,
    shared: Arc<Shared>,
    readers: connections::Connections,
    /// Write beside the writer, on a database that nodes share.
    tellers: Option<connections::Connections>,
    /// What is held of budgets, in that database.
    holds: holds::Holds,
}

/// What the writer shares with the rest.
struct Shared {
    /// Whether the last write succeeded.
    writing: AtomicBool,
    /// Why it did not.
    trouble: Mutex<String>,
    /// A write has failed.
    failing: Notify,
    /// Why what is written would be lost: the database's file isn't where it was.
    misplaced: Mutex<Option<String>>,
    /// Those of the connections besides the writer's.
    pools: Mutex<Vec<Arc<connections::Pool>>>,
    /// Bytes of the records that are queued.
    held: AtomicUsize,
    policy: Mutex<retention::Policy>,
    /// Records from before that somebody has taken.
    earlier: Mutex<earlier::Taken>,
    /// Something was queued for a hook.
    delivery: Notify,
    /// Records are durable.
    told: written::Told,
    /// Something said was deleted, and can perhaps still be read.
    deleted: AtomicBool,
}

impl Shared {
    fn new() -> Shared {
        Shared {
            writing: AtomicBool::new(true),
            trouble: Mutex::default(),
            failing: Notify::new(),
            misplaced: Mutex::default(),
            pools: Mutex::default(),
            held: AtomicUsize::new(0),
            policy: Mutex::default(),
            earlier: Mutex::default(),
            delivery: Notify::new(),
            told: written::Told::default(),
            deleted: AtomicBool::new(false),
        }
    }

    /// Notes that a write has failed, and why; or that one has succeeded.
    fn fails(&self, why: Option<String>) {
        let works = why.is_none();
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why.unwrap_or_default();
        self.writing.store(works, Ordering::Relaxed);
        if !works {
            self.failing.notify_waiters();
        }
    }

    /// Whether something can be written.
    ///
    /// # Errors
    /// Why not.
    fn writable(&self) -> Result<(), Error> {
        if let Some(why) = self.misplaced() {
            return Err(Error::Write(why));
        }
        if self.writing.load(Ordering::Relaxed) {
            return Ok(());
        }
        let why = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        Err(Error::Write(why.clone()))
    }

    fn misplaced(&self) -> Option<String> {
        let misplaced = self.misplaced.lock();
        misplaced.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pools(&self) -> std::sync::MutexGuard<'_, Vec<Arc<connections::Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Opens the database at `url`, creating or migrating it first; `dir` is where a relative
    /// path starts.
    pub fn open(url: &str, dir: &Path) -> Result<Ledger, Error> {
        Ledger::with_capacity(url, dir, CAPACITY)
    }

    fn with_capacity(url: &str, dir: &Path, capacity: usize) -> Result<Ledger, Error> {
        Ledger::over(database::parse(url, dir)?, dir, capacity)
    }

    fn over(store: Arc<dyn database::Store>, dir: &Path, capacity: usize) -> Result<Ledger, Error> {
        let shared = Arc::new(Shared::new());
        let (queue, writer) = writer::spawn(store.clone(), shared.clone())?;
        misplaced::watch(&store, &shared)?;
        let connections = |writes: bool| {
            connections::Connections::new(store.clone(), writes, queue.clone(), shared.clone())
        };
        let (tellers, readers) = (
            store.is_shared().then(|| connections(true)),
            connections(false),
        );
        let inner = Inner {
            store,
            dir: dir.to_owned(),
            room: Arc::new(Semaphore::new(capacity)),
            capacity,
            tellers,
            readers,
            holds: holds::Holds::default(),
            queue,
            writer,
            shared,
        };
        Ok(Ledger {
            inner: Arc::new(inner),
        })
    }

    /// Whether a start could open the database at `url`; nothing is changed there.
    ///
    /// # Errors
    /// What such a start would end with.
    pub async fn probe(&self, url: &Secret) -> Result<(), Error> {
        let store = database::parse(url.expose(), &self.inner.dir)?;
        let probed = tokio::task::spawn_blocking(move || store.probe()).await;
        probed.map_err(Error::Query)?
    }

    /// Takes another URL of the same database, for its password, which connections are opened with
    /// from now on. False where it is another database, which takes a restart.
    #[must_use]
    pub fn take_url(&self, url: &str) -> bool {
        self.inner.store.take_url(url)
    }

    /// Whether the thread that writes is there. It may still wait for its disk.
    #[must_use]
    pub fn has_writer(&self) -> bool {
        !self.inner.writer.is_finished()
    }

    /// What is to be kept of a request, besides its entry.
    pub fn policy(&self) -> Keep {
        self.lock_policy().keep()
    }

    /// Puts the section's retention in force, now and after each reload; `exporters` are those
    /// that entries are queued for, and that `require_export` waits for.
    pub fn set_retention(&self, database: &Database, exporters: &[&str]) {
        *self.lock_policy() = retention::Policy::new(database, exporters);
        // The writer outlives every handle.
        let _ = self.inner.queue.send(writer::Message::Retention);
    }

    fn lock_policy(&self) -> std::sync::MutexGuard<'_, retention::Policy> {
        let policy = self.inner.shared.policy.lock();
        policy.unwrap_or_else(PoisonError::into_inner)
    }

    /// Purges now all that retention says; returns how many captures and calls of tools went. It
    /// happens by itself once a minute.
    pub async fn purge(&self) -> Result<u64, Error> {
        self.ask(writer::Message::Purge).await
    }

    /// Waits until every record handed over so far is durable, however long that takes.
    pub async fn flush(&self) -> Result<(), Error> {
        self.ask(writer::Message::Flush).await?;
        self.flush_holds().await;
        Ok(())
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> writer::Message,
    ) -> Result<T, Error> {
        let (done, answer) = oneshot::channel();
        match self.inner.queue.send(message(done)) {
            Ok(()) => answer.await.map_err(|_| self.not_durable()),
            Err(_) => Err(self.not_durable()),
        }
    }

    /// Whether other nodes may use the same database: balances are then held in it.
    pub fn is_shared(&self) -> bool {
        self.inner.tellers.is_some()
    }

    /// Notes what was done. It is durable when this returns.
    pub async fn audit(&self, one: Audited) -> Result<(), Error> {
        self.write(move |connection| audit::add(connection, &one))
            .await
    }

    /// What was done, newest first.
    pub async fn audited(&self, query: AuditQuery) -> Result<Vec<Audited>, Error> {
        let read = move |connection: &mut dyn database::Connection| audit::page(connection, &query);
        self.inner.readers.run(read).await
    }

    /// Keeps a version of the configuration, unless it is the newest. Answers whether it is new.
    pub async fn add_version(&self, version: Version) -> Result<bool, Error> {
        self.write(move |connection| audit::add_version(connection, &version))
            .await
    }

    /// The versions of the configuration, newest first, without their texts.
    pub async fn versions(&self) -> Result<Vec<Version>, Error> {
        self.inner.readers.run(audit::versions).await
    }

    /// One version of the configuration.
    pub async fn version(&self, id: &str) -> Result<Option<Version>, Error> {
        let id = id.to_owned();
        let read = move |connection: &mut dyn database::Connection| audit::version(connection, &id);
        self.inner.readers.run(read).await
    }

    /// Whether records and all else can be written, as far as is known.
    ///
    /// # Errors
    /// Why not.
    pub fn writable(&self) -> Result<(), Error> {
        self.inner.shared.writable()
    }

    /// Why what is written would be lost, where the database's file isn't where it was.
    #[must_use]
    pub fn misplaced(&self) -> Option<String> {
        self.inner.shared.misplaced()
    }

    /// Writes at once, by itself: beside the writer where that may be, else through it. May run
    /// twice when a connection breaks. While writing fails, it fails without waiting.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn database::Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        self.write_again(connections::Repeat::Always, work).await
    }

    /// The same for what does something else when it is done twice: where it may have been done, it
    /// fails.
    async fn write_once<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn database::Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        self.write_again(connections::Repeat::Uncommitted, work)
            .await
    }

    async fn write_again<T: Send + 'static>(
        &self,
        repeat: connections::Repeat,
        work: impl Fn(&mut dyn database::Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(tellers) = &self.inner.tellers else {
            return turn::run(&self.inner.queue, &self.inner.shared, work).await;
        };
        self.writable()?;
        let done = tokio::time::timeout(turn::WORK, tellers.run_again(repeat, work)).await;
        done.unwrap_or_else(|_| Err(turn::late()))
    }

    /// Hears of new records from now on. On a database that nodes share, of this node's.
    #[must_use]
    pub fn written(&self) -> Written {
        self.inner.shared.told.listen()
    }

    /// The matching requests within `scope`, newest first.
    pub async fn requests(&self, scope: Scope, query: Query) -> Result<Vec<Entry>, Error> {
        let read = move |connection: &mut dyn database::Connection| {
            query::requests(connection, &scope, &query)
        };
        self.inner.readers.run(read).await
    }

    /// The sessions within `scope` of which some request matches, newest first.
    pub async fn sessions(&self, scope: Scope, query: Query) -> Result<Vec<Session>, Error> {
        let read = move |connection: &mut dyn database::Connection| {
            session::page(connection, &scope, &query)
        };
        self.inner.readers.run(read).await
    }

    /// How many sessions of a login within `scope` have a request in a time: from its start, in
    /// Unix milliseconds, and before its end. Without a login, how many of the scope.
    pub async fn session_count(
        &self,
        scope: Scope,
        login: Option<&str>,
        time: (i64, i64),
    ) -> Result<u64, Error> {
        let login = login.map(str::to_owned);
        let read = move |connection: &mut dyn database::Connection| {
            session::count(connection, &scope, login.as_deref(), time)
        };
        self.inner.readers.run(read).await
    }

    /// One request; `None` also where it is not within `scope`.
    pub async fn request(&self, scope: Scope, id: &str) -> Result<Option<Entry>, Error> {
        self.one(scope, id, query::request).await
    }

    /// The calls of tools in a request's answer, in order; empty where they were purged.
    pub async fn tools(&self, scope: Scope, id: &str) -> Result<Vec<ToolCall>, Error> {
        self.one(scope, id, query::tools).await
    }

    /// The headers by which a request can be filtered.
    pub async fn headers(&self, scope: Scope, id: &str) -> Result<Vec<(String, String)>, Error> {
        self.one(scope, id, query::headers).await
    }

    /// What was said in a request, if it was captured and is kept.
    pub async fn capture(&self, scope: Scope, id: &str) -> Result<Option<Capture>, Error> {
        self.one(scope, id, query::capture).await
    }

    async fn one<T: Send + 'static>(
        &self,
        scope: Scope,
        id: &str,
        read: fn(&mut dyn database::Connection, &Scope, &str) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let id = id.to_owned();
        let read = move |connection: &mut dyn database::Connection| read(connection, &scope, &id);
        self.inner.readers.run(read).await
    }

    /// Sums over the calls of tools within `scope`, by tool and day. The query's time is what
    /// bounds the work.
    pub async fn tool_use(&self, scope: Scope, query: Query) -> Result<Vec<ToolUse>, Error> {
        let read = move |connection: &mut dyn database::Connection| {
            tools::used(connection, &scope, &query)
        };
        self.inner.readers.run(read).await
    }

    /// Sums over the requests within `scope`.
    pub async fn usage(&self, scope: Scope, report: Report) -> Result<Usage, Error> {
        report.check()?;
        let read = move |connection: &mut dyn database::Connection| {
            report::usage(connection, &scope, &report)
        };
        self.inner.readers.run(read).await?
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
            pending: self.promised(),
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Headers as they are stored, each name and value once.
fn distinct(headers: &[(String, String)]) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let mut all: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            (
                database::key(name, row::limit::HEADER_NAME),
                database::key(value, row::limit::HEADER_VALUE),
            )
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests;
