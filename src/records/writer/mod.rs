//! The writer: one thread that owns the write connection and commits records in groups.
//!
//! A group is kept until its transaction has committed. A failed commit may have reached the
//! database all the same, so a retry skips the ids that are already there, and adds nothing to
//! the sums for them: nothing is lost or doubled.
//!
//! A request takes its room in the queue before it is accepted (`room`), other work gets its turn between
//! groups (`turn`), and readers that wait for records are told once those are durable (`written`).

pub(super) mod misplaced;
pub(super) mod room;
pub(super) mod turn;
pub(super) mod written;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::base::clock;
use crate::base::lock::lock;
use crate::base::panics;
use crate::records::journal::{Journal, retention};
use crate::records::stores::{Connection, Store};
use crate::records::{Error, Failure, Record, Refusal, Shared};

/// Records per transaction: enough to share the cost of one sync, few enough to commit quickly.
const GROUP: usize = 512;

/// Records of a group after which the next is gathered for a while before it is written: more of
/// them then share a sync, and the pages that all of them touch.
const BUSY: usize = 16;
const GATHER: Duration = Duration::from_millis(5);

/// Bytes of a transaction, beyond which it takes no further record.
const GROUP_BYTES: usize = 16 << 20;

/// How often a start that waits for its server says so.
const LOG_EVERY: Duration = Duration::from_secs(30);

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(2);

pub(crate) enum Message {
    /// The permit is the record's room in the queue, given back once it is durable.
    Record(Box<Record>, OwnedSemaphorePermit),
    Flush(oneshot::Sender<()>),
    /// Purges all that is due; answered with how many rows went.
    Purge(oneshot::Sender<u64>),
    /// Something has changed that decides what is due.
    Retention,
    /// Runs once everything sent before is durable, with the connection or the error that prevents one.
    Work(Work),
}

pub(crate) type Work = Box<dyn FnOnce(Result<&mut dyn Connection, String>) + Send>;

/// Opens the database and starts the writer. It ends when the last sender is gone and everything
/// sent is durable.
pub(crate) fn spawn(
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
) -> Result<(Sender<Message>, JoinHandle<()>), Error> {
    let (queue, messages) = channel();
    let (opened, opening) = channel();
    let writer = std::thread::Builder::new()
        .name("ledger-writer".into())
        .spawn(move || {
            // Opened here, because a thread of the runtime must not wait for a server.
            let connection = match open_first(&*store) {
                Ok(connection) => connection,
                Err(error) => return drop(opened.send(Err(error))),
            };
            let writer = Writer::new(store, connection, shared, messages);
            if opened.send(Ok(())).is_ok() {
                writer.run_to_end();
            }
        })
        .map_err(Error::Thread)?;
    match opening.recv() {
        Ok(opened) => opened.map(|()| (queue, writer)),
        Err(gone) => Err(Error::Thread(std::io::Error::other(gone))),
    }
}

/// Opens the database, however long a server takes that will be of use by itself: one that starts,
/// a standby that waits to be promoted, one that has no connection left.
fn open_first(store: &dyn Store) -> Result<Box<dyn Connection>, Error> {
    let mut logged_at: Option<Instant> = None;
    loop {
        let error = match store.open_writer() {
            Err(error) => error,
            opened => return opened,
        };
        let doing = match error.refusal() {
            Some(Refusal::ReadOnly) => {
                "waiting until it takes writes, or the address leads to the primary"
            }
            Some(Refusal::Starting) => "waiting until it has started",
            Some(Refusal::Full) => "waiting until it has a connection left",
            Some(Refusal::Other) | None => return Err(error),
        };
        if logged_at.is_none_or(|logged_at| logged_at.elapsed() >= LOG_EVERY) {
            tracing::warn!("{error}; {doing}");
            logged_at = Some(Instant::now());
        }
        std::thread::park_timeout(BACKOFF_LAST);
    }
}

struct Writer {
    store: Arc<dyn Store>,
    /// Gone before the connection: files that go with it are not missed.
    shared: Arc<Shared>,
    connection: Box<dyn Connection>,
    messages: Receiver<Message>,
    /// Taken from the queue and not yet durable.
    group: Vec<(Box<Record>, OwnedSemaphorePermit)>,
    group_bytes: usize,
    /// To be answered once the group is durable.
    flushes: Vec<oneshot::Sender<()>>,
    purges: Vec<oneshot::Sender<u64>>,
    /// To be done once the group is durable.
    work: Vec<Work>,
    /// When to look for what has become too old.
    purge_at: Instant,
    /// Something was deleted and can perhaps still be read.
    unscrubbed: bool,
    /// Failed writes in a row.
    failures: u32,
    /// It has panicked since the last record was written.
    has_panicked: bool,
    /// The last group was large.
    is_busy: bool,
}

impl Writer {
    fn new(
        store: Arc<dyn Store>,
        connection: Box<dyn Connection>,
        shared: Arc<Shared>,
        messages: Receiver<Message>,
    ) -> Writer {
        Writer {
            store,
            connection,
            shared,
            messages,
            group: Vec::with_capacity(GROUP),
            group_bytes: 0,
            flushes: Vec::new(),
            purges: Vec::new(),
            work: Vec::new(),
            purge_at: Instant::now() + retention::EVERY,
            // A purge before the last end may not have come that far.
            unscrubbed: true,
            failures: 0,
            has_panicked: false,
            is_busy: false,
        }
    }

    fn run_to_end(mut self) {
        // The group outlives a panic, so the writer takes it up again.
        while let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.run())) {
            let what = panics::message(panic.as_ref());
            self.panicked(what);
        }
    }

    /// Nothing of an open transaction may become part of the next. Where no record waits, none is
    /// in doubt, and no request has to be refused: the caller of what panicked gets the error.
    fn panicked(&mut self, what: &str) {
        self.connection.rollback();
        tracing::error!(panic = what, "ledger: the writer has panicked");
        if self.group.is_empty() || !std::mem::replace(&mut self.has_panicked, true) {
            std::thread::park_timeout(BACKOFF_FIRST);
        } else if self.sift() {
            // The others may be there already, which is expected.
            self.failures = self.failures.max(1);
        } else {
            self.failed("the writer goes on panicking");
        }
    }

    /// Gives up the records at which the writer panics: they would hold up all others for ever.
    /// Answers whether there were any.
    fn sift(&mut self) -> bool {
        let policy = self.policy();
        let (mut nth, before) = (0, self.group.len());
        while let Some((record, _)) = self.group.get(nth) {
            let connection = &mut *self.connection;
            let write = || connection.write(&[record], &policy);
            match catch_unwind(AssertUnwindSafe(write)) {
                Ok(Ok(_)) => nth += 1,
                // That is another trouble, which may pass.
                Ok(Err(_)) => break,
                Err(_) => {
                    self.connection.rollback();
                    // The log is its last chance. What was said stays out of it.
                    tracing::error!(entry = ?record.entry, "ledger: the writer panics at a record, which is not written");
                    let (record, _) = self.group.remove(nth);
                    self.group_bytes -= record.size();
                    self.shared.held.fetch_sub(record.size(), Ordering::Relaxed);
                }
            }
        }
        self.group.len() < before
    }

    fn run(&mut self) {
        loop {
            if self.group.is_empty() && self.flushes.is_empty() && self.work.is_empty() {
                let wait = self.purge_at.saturating_duration_since(Instant::now());
                match self.messages.recv_timeout(wait) {
                    Ok(message) => self.take(message),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            if self.is_busy && self.flushes.is_empty() && self.work.is_empty() {
                std::thread::park_timeout(GATHER);
            }
            // What comes after work may count on it, so it ends a group.
            while self.group.len() < GROUP
                && self.group_bytes < GROUP_BYTES
                && self.work.is_empty()
                && let Ok(message) = self.messages.try_recv()
            {
                self.take(message);
            }
            while let Err(error) = self.commit() {
                // Records wait for as long as it takes, people do not.
                for work in self.work.drain(..) {
                    work(Err(error.clone()));
                }
                self.failed(&error);
            }
            self.succeeded();
            for work in std::mem::take(&mut self.work) {
                panics::point("ledger-work");
                match self.in_place().and_then(|()| self.connect()) {
                    Ok(_) => work(Ok(&mut *self.connection)),
                    Err(error) => work(Err(error)),
                }
            }
            if self.purge_at <= Instant::now() {
                self.purge();
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Record(record, room) => {
                self.group_bytes += record.size();
                self.group.push((record, room));
            }
            Message::Flush(done) => self.flushes.push(done),
            Message::Purge(done) => {
                self.purges.push(done);
                self.purge_at = Instant::now();
            }
            Message::Retention => self.purge_at = Instant::now(),
            Message::Work(work) => self.work.push(work),
        }
    }

    fn commit(&mut self) -> Result<(), String> {
        if self.group.is_empty() {
            return Ok(());
        }
        self.in_place()?;
        let is_new = self.connect()?;
        let mut written = self.write();
        // It was closed while nothing was written, or its server takes no writes any more.
        let is_again = !is_new && written.is_err() && self.connection.is_broken();
        if is_again {
            self.open()?;
            written = self.write();
        }
        let skipped = written.map_err(|error| error.to_string())?;
        self.in_place()?;
        if skipped > 0 && self.failures == 0 && !is_again {
            tracing::error!(skipped, "ledger: records with an id that is there already");
        }
        Ok(())
    }

    fn write(&mut self) -> Result<usize, Failure> {
        let policy = self.policy();
        let records: Vec<&Record> = self.group.iter().map(|(record, _)| &**record).collect();
        self.connection.write(&records, &policy)
    }

    /// Whether what is written stays.
    fn in_place(&self) -> Result<(), String> {
        let Some(why) = self.store.misplaced() else {
            return Ok(());
        };
        misplaced::note(&self.shared, Some(why.clone()));
        Err(why)
    }

    /// Replaces a broken connection. Answers whether it did.
    fn connect(&mut self) -> Result<bool, String> {
        self.connection.check();
        let is_broken = self.connection.is_broken();
        if is_broken {
            self.open()?;
        }
        Ok(is_broken)
    }

    fn open(&mut self) -> Result<(), String> {
        let opened = self.store.open_writer();
        if let Err(error) = &opened
            && error.refusal() == Some(Refusal::Full)
        {
            // Records come first.
            for pool in lock(&self.shared.pools).iter() {
                pool.close_idle();
            }
        }
        self.connection = opened.map_err(|error| error.to_string())?;
        Ok(())
    }

    fn failed(&mut self, error: &str) {
        self.shared.fails(Some(error.to_owned()));
        let wait = backoff(self.failures);
        self.failures = self.failures.saturating_add(1);
        tracing::error!(
            ledger = self.store.name(),
            records = self.group.len(),
            failures = self.failures,
            error,
            "ledger: write failed; the records are kept and retried; check the disk's space and \
             who else holds the file, or the server"
        );
        std::thread::park_timeout(wait);
    }

    fn succeeded(&mut self) {
        self.is_busy = self.group.len() >= BUSY;
        // A flush of nothing proves nothing about the disk.
        let has_written = !self.group.is_empty();
        self.has_panicked &= !has_written;
        if self.failures > 0 && has_written {
            tracing::info!(
                ledger = self.store.name(),
                records = self.group.len(),
                failures = self.failures,
                "ledger: writing again"
            );
            self.failures = 0;
            self.shared.fails(None);
        }
        if self
            .group
            .iter()
            .any(|(record, _)| !record.deliveries.is_empty())
        {
            self.shared.delivery.notify_one();
        }
        let written = &self.shared.written;
        written.tell(self.group.iter().map(|(record, _)| &**record));
        for (record, room) in self.group.drain(..) {
            self.shared.held.fetch_sub(record.size(), Ordering::Relaxed);
            drop(room);
        }
        self.group_bytes = 0;
        // The waiting side may have given up.
        for flush in self.flushes.drain(..) {
            let _ = flush.send(());
        }
    }

    /// Purges a batch; the next comes after the records that have arrived meanwhile, unless
    /// a flush waits for all.
    fn purge(&mut self) {
        let due = std::mem::replace(&mut self.purge_at, Instant::now() + retention::EVERY);
        panics::point("purge");
        let mut total = 0;
        loop {
            match self.purge_batch() {
                Ok((purged, is_more)) => {
                    total += purged;
                    if is_more && !self.purges.is_empty() {
                        continue;
                    }
                    if is_more {
                        self.purge_at = due;
                    }
                }
                Err(error) => {
                    // Records come first; this is tried again.
                    tracing::warn!(error, "ledger: the purge of old captures failed");
                }
            }
            break;
        }
        for done in self.purges.drain(..) {
            let _ = done.send(total);
        }
    }

    fn purge_batch(&mut self) -> Result<(u64, bool), String> {
        self.connect()?;
        let policy = self.policy();
        let failed = |error: Failure| error.to_string();
        let (purged, is_more) = self
            .connection
            .purge(&policy, clock::unix_ms())
            .map_err(failed)?;
        self.unscrubbed |= purged > 0 || self.shared.deleted.swap(false, Ordering::Relaxed);
        if self.unscrubbed && !is_more {
            self.unscrubbed = !self.connection.scrub().map_err(failed)?;
        }
        if purged > 0 {
            tracing::info!(rows = purged, "ledger: old captures were purged");
        }
        Ok((purged, is_more))
    }

    fn policy(&self) -> retention::Policy {
        lock(&self.shared.policy).clone()
    }
}

/// How long to wait after a failed write that so many went before.
fn backoff(failures: u32) -> Duration {
    let wait = BACKOFF_FIRST.saturating_mul(1 << failures.min(16));
    wait.min(BACKOFF_LAST)
}

#[cfg(test)]
mod tests;
