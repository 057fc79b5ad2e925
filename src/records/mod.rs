//! The ledger: one record for every request, as it ended.
//!
//! A request takes a [`Slot`] before it is accepted and spends it on its record, so an accepted
//! request always has room in the queue. Queries read through connections of their own and see a record
//! once it is durable.
//!
//! Five roles, each with a trait that says what a store of it promises: the `journal` writes records, the
//! `archive` finds one of them, `reports` add many of them up, `balances` are what requests have left of
//! budgets, and `objects` are what is kept for callers beyond a request. `stores` implements them. They are apart because they can be had from different
//! stores: reports need none of the transactions that the others are about.

mod archive;
pub mod balances;
mod body;
mod entry;
mod entry_id;
mod error;
mod journal;
pub mod marks;
pub mod metrics;
pub mod objects;
pub mod outlets;
mod pool;
mod reports;
mod stores;
mod writer;

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;

use crate::base::lock::lock;
use crate::base::secret::Secret;
use crate::config::Database;
pub use crate::formats::{Tokens, ToolCall};
pub use archive::{
    AuditQuery, Audited, ChatRow, ChatWrite, Expected, MOST_CHATS, Session, Version, chat_version,
};
pub use balances::{Admission, StoredBucket};
pub use entry::{Capture, Delivery, Entry, Outcome, Record};
pub use entry_id::EntryId;
pub use error::{Error, Failure, Refusal, Unavailable};
use journal::retention;
pub use journal::retention::Keep;
pub use journal::{Batch, Queued, Waiting};
use pool::{Connections, Pool};
pub use reports::{
    Counts, Group, Percentiles, Query, Report, Scope, ToolUse, Totals, Usage, UsageGroup,
};
use stores::{Connection, Store};
use writer::fold::Folds;
pub use writer::room::{Backlog, Slot};
pub use writer::written::Written;
use writer::{misplaced, turn, written};

/// Records that may be promised or queued at once. It bounds the memory held while the database
/// cannot be written.
pub const CAPACITY: usize = 65_536;

/// How long [`Ledger::close`] waits for the last records: a broken disk must not hold up a stop
/// for ever.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// A caller's key as rows have it: a long one ends with a hash. What is kept for a caller is known by this, so that
/// what comes out of the database is found again by it.
#[must_use]
pub fn owner_key(caller: &str) -> Cow<'_, str> {
    stores::sql::caller_key(caller)
}

/// What to do with work whose connection broke during its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// Run it again: run twice, it does the same.
    Always,
    /// Fail, because run twice, it would do something else.
    Uncommitted,
}

/// The ledger. Clones share one database and one writer.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    /// Where a relative path begins.
    dir: std::path::PathBuf,
    room: Arc<Semaphore>,
    capacity: usize,
    queue: writer::Queue,
    writer: std::thread::JoinHandle<()>,
    shared: Arc<Shared>,
    readers: Arc<Connections>,
    /// Write beside the writer, on a database that nodes share.
    writers: Option<Connections>,
    reports: Arc<dyn reports::Reports>,
    /// What is held of budgets, in that database.
    holds: balances::Holds,
}

/// What keeps records that are durable from being read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoldingProblems {
    /// Why the journal hasn't been folded for some seconds.
    pub failing: Option<String>,
    /// Rows of the journal that can't be read, of some records each. They stay there.
    pub unreadable_rows: usize,
    /// Records at which folding panics. They are in the log alone.
    pub given_up_records: usize,
}

/// What the writer shares with the rest.
#[derive(Default)]
struct Shared {
    /// Whether the last write failed.
    has_failed: AtomicBool,
    /// Why it did.
    trouble: Mutex<String>,
    /// A write has failed.
    failing: Notify,
    /// Why what is written would be lost: the database's file isn't where it was.
    misplaced: Mutex<Option<String>>,
    /// In which millisecond a request last looked where the file is.
    looked: AtomicI64,
    /// The pools of all connections but the writer's.
    pools: Mutex<Vec<Arc<Pool>>>,
    /// Bytes of the records that are queued.
    held: AtomicUsize,
    /// Queued records have become durable: there is room for others.
    drained: Notify,
    policy: Mutex<retention::Policy>,
    /// Earlier records that a user has taken.
    earlier: Mutex<archive::earlier::Taken>,
    /// Records are in the journal that may not be folded yet.
    has_appended: AtomicBool,
    /// What is not folded at all.
    left_out: Mutex<journal::LeftOut>,
    /// Why nothing is folded, once that has lasted.
    unfoldable: Mutex<Option<String>>,
    /// Responses end only when their record is durable.
    acknowledges: AtomicBool,
    /// A delivery was queued for a hook.
    delivery: Notify,
    /// Records are durable.
    written: written::Announcer,
    /// Content was deleted, and can perhaps still be read.
    deleted: AtomicBool,
}

impl Shared {
    /// Notes that a write has failed, and why; or that one has succeeded.
    fn fails(&self, why: Option<String>) {
        let fails = why.is_some();
        *lock(&self.trouble) = why.unwrap_or_default();
        self.has_failed.store(fails, Ordering::Relaxed);
        if fails {
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
        if self.has_failed.load(Ordering::Relaxed) {
            return Err(Error::Write(lock(&self.trouble).clone()));
        }
        Ok(())
    }

    fn misplaced(&self) -> Option<String> {
        lock(&self.misplaced).clone()
    }
}

impl Ledger {
    /// Opens the database at `url`, creating or migrating it first; `dir` is where a relative
    /// path starts.
    pub fn open(url: &str, dir: &Path) -> Result<Ledger, Error> {
        Ledger::with_capacity(url, dir, CAPACITY)
    }

    fn with_capacity(url: &str, dir: &Path, capacity: usize) -> Result<Ledger, Error> {
        Ledger::over(stores::parse(url, dir)?, dir, capacity)
    }

    fn over(store: Arc<dyn Store>, dir: &Path, capacity: usize) -> Result<Ledger, Error> {
        let shared = Arc::new(Shared::default());
        let (queue, writer) = writer::spawn(store.clone(), shared.clone())?;
        misplaced::watch(&store, &shared)?;
        let folds = if store.is_shared() {
            Folds::ByThread(pool::folding::spawn(&store, &shared, &queue)?)
        } else {
            Folds::ByWriter(queue.clone())
        };
        let connections = |writes| {
            let (store, shared) = (Arc::clone(&store), Arc::clone(&shared));
            Connections::new(store, writes, queue.clone(), folds.clone(), shared)
        };
        let writers = store.is_shared().then(|| connections(true));
        let readers = Arc::new(connections(false));
        let inner = Inner {
            store,
            dir: dir.to_owned(),
            room: Arc::new(Semaphore::new(capacity)),
            capacity,
            writers,
            reports: readers.clone(),
            readers,
            holds: balances::Holds::default(),
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
        let store = stores::parse(url.expose(), &self.inner.dir)?;
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
        lock(&self.inner.shared.policy).keep()
    }

    /// Puts the section's retention in force, now and after each reload; `exporters` are those
    /// that entries are queued for, and that `require_export` waits for.
    pub fn set_retention(&self, database: &Database, exporters: &[&str]) {
        *lock(&self.inner.shared.policy) = retention::Policy::new(database, exporters);
        // The writer outlives every handle.
        let _ = self.inner.queue.send(writer::Message::Retention);
    }

    /// Puts the section `records` in force, now and after each reload.
    pub fn set_acknowledge(&self, acknowledge: bool) {
        let acknowledges = &self.inner.shared.acknowledges;
        acknowledges.store(acknowledge, Ordering::Relaxed);
    }

    /// Whether a response ends only when its record is durable.
    #[must_use]
    pub fn acknowledges(&self) -> bool {
        self.inner.shared.acknowledges.load(Ordering::Relaxed)
    }

    /// Purges now all that retention says; returns how many captures and calls of tools went. It
    /// happens by itself once a minute.
    pub async fn purge(&self) -> Result<u64, Error> {
        // What is on its way is to be purged as well.
        self.durable().await?;
        self.fold().await?;
        self.ask(writer::Message::Purge).await
    }

    /// Waits until every record handed over so far is durable, however long that takes.
    pub async fn durable(&self) -> Result<(), Error> {
        self.ask(writer::Message::Flush).await
    }

    /// The same, without waiting while nothing can be written.
    async fn durable_now(&self) -> Result<(), Error> {
        let mut failing = std::pin::pin!(self.inner.shared.failing.notified());
        failing.as_mut().enable();
        self.writable()?;
        tokio::select! {
            durable = self.durable() => durable,
            () = failing => Err(self.writable().err().unwrap_or_else(|| self.not_durable())),
        }
    }

    /// The same, with the group that the records are in, which isn't hurried.
    pub async fn written_so_far(&self) -> Result<(), Error> {
        self.ask(writer::Message::Tell).await
    }

    /// The same, and until the records are in the tables that are queried, and what was held and given up
    /// is free. They are durable also where an error says that the tables can't be looked at.
    pub async fn flush(&self) -> Result<(), Error> {
        self.durable().await?;
        self.flush_holds().await;
        self.fold().await
    }

    /// Waits until what is durable now is in the tables that are queried.
    ///
    /// # Errors
    /// When it can't be folded.
    async fn fold(&self) -> Result<(), Error> {
        self.inner.readers.fold().await
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
        self.inner.writers.is_some()
    }

    /// Whether records and all else can be written, as far as is known.
    ///
    /// # Errors
    /// Why not.
    pub fn writable(&self) -> Result<(), Error> {
        self.inner.shared.writable()
    }

    /// What keeps records that are durable from being read.
    #[must_use]
    pub fn folding_problems(&self) -> FoldingProblems {
        let left_out = lock(&self.inner.shared.left_out);
        FoldingProblems {
            failing: lock(&self.inner.shared.unfoldable).clone(),
            unreadable_rows: left_out.rows.len(),
            given_up_records: left_out.entries.len(),
        }
    }

    /// Why what is written would be lost, where the database's file isn't where it was.
    #[must_use]
    pub fn misplaced(&self) -> Option<String> {
        self.inner.shared.misplaced()
    }

    /// Reads something other than records, beside the writer. May run twice when a connection breaks.
    async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.readers.run(Repeat::Always, work).await
    }

    /// Reads all records that are durable now, beside the writer. May run twice when a connection breaks.
    async fn read_records<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Connection) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        self.inner.readers.run_folded(work).await
    }

    /// Reads what goes with a request. It is folded with its entry, so that only a request that isn't there has
    /// the journal folded.
    async fn read_part<T: Default + Send + 'static>(
        &self,
        scope: Scope,
        id: &str,
        read: fn(&mut dyn Connection, &Scope, &str) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        if self.request(scope.clone(), id).await?.is_none() {
            return Ok(T::default());
        }
        let id = id.to_owned();
        self.read(move |connection| read(connection, &scope, &id))
            .await
    }

    /// Reads what people wait for before they change something: it fails in time if a server is silent.
    async fn read_in_time<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let read = tokio::time::timeout(turn::TURN, self.read(work)).await;
        read.unwrap_or_else(|_| Err(turn::busy()))
    }

    /// Writes at once, by itself: beside the writer on a database that nodes share, else through it. May
    /// run twice when a connection breaks. While writing fails, it fails without waiting.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        self.write_again(Repeat::Always, work).await
    }

    /// The same, and run again as `repeat` says.
    async fn write_again<T: Send + 'static>(
        &self,
        repeat: Repeat,
        work: impl Fn(&mut dyn Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(writers) = &self.inner.writers else {
            return turn::run(&self.inner.queue, &self.inner.shared, work).await;
        };
        self.writable()?;
        let done = tokio::time::timeout(turn::WORK, writers.run(repeat, work)).await;
        done.unwrap_or_else(|_| Err(turn::late()))
    }

    /// Hears of new records from now on. On a database that nodes share, of this node's.
    #[must_use]
    pub fn written(&self) -> Written {
        self.inner.shared.written.listen()
    }

    /// Admits nothing more and waits, at most ten seconds, until what was handed over is durable.
    /// A slot taken earlier still records; the writer ends when the last handle is gone.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.room.close();
        let end = Instant::now() + CLOSE_WAIT;
        match tokio::time::timeout_at(end, self.durable()).await {
            Ok(durable) => durable?,
            Err(_) => return Err(self.not_durable()),
        }
        // What is not folded by then is when the gateway starts again.
        let folded = tokio::time::timeout_at(end, self.flush()).await;
        if let Ok(Err(error)) = folded {
            tracing::warn!(%error, "ledger: the journal is folded at the next start");
        }
        Ok(())
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

#[cfg(test)]
mod tests;
