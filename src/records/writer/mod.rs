//! The writer: one thread that owns the write connection and commits records in groups.
//!
//! A group is kept until its transaction has committed. A failed commit may have reached the
//! database all the same: a group has an id that stays with it while it is tried again, and is not written
//! where that is already there. Nothing is lost or doubled.
//!
//! A group is one row of the journal, which is folded into the tables that are queried afterwards (`fold`).
//!
//! A request takes its room in the queue before it is accepted (`room`), other work gets its turn between
//! groups (`turn`), and readers that wait for records are told once those are durable (`written`).

pub(crate) mod fold;
mod gather;
pub(super) mod misplaced;
mod purge;
mod queue;
pub(super) mod room;
pub(super) mod turn;
pub(super) mod written;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::base::clock;
use crate::base::lock::lock;
use crate::base::panics;
use crate::records::journal::packed::Packed;
use crate::records::journal::{Group, Journal, retention};
use crate::records::stores::{Connection, Store};
use crate::records::{EntryId, Error, Failure, Record, Refusal, Shared};
use fold::{Ask, FOLDED_FIRST, Folder};
use gather::Next;
pub(super) use queue::Queue;

/// Records per transaction at most.
const GROUP: usize = 512;

/// Bytes of a transaction, beyond which it takes no further record.
const GROUP_BYTES: usize = 16 << 20;

/// How often a start that waits for its server says so.
pub(super) const LOG_EVERY: Duration = Duration::from_secs(30);

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(2);

pub(crate) enum Message {
    /// The permit is the record's room in the queue, given back once it is durable.
    Record(Box<Record>, OwnedSemaphorePermit),
    Flush(oneshot::Sender<()>),
    /// Asks for the same without hurry: answered with the group that gathers.
    Tell(oneshot::Sender<()>),
    /// Purges all that is due; answered with how many rows went.
    Purge(oneshot::Sender<u64>),
    /// Something has changed that decides what is due.
    Retention,
    /// Waits until rows of the journal are folded.
    Fold(Ask),
    /// Runs once everything sent before is durable, with the connection or the error that prevents one.
    Work(Work),
}

pub(crate) type Work = Box<dyn FnOnce(Result<&mut dyn Connection, String>) + Send>;

/// Opens the database and starts the writer. It ends when the last sender is gone and everything
/// sent is durable.
pub(crate) fn spawn(
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
) -> Result<(Queue, JoinHandle<()>), Error> {
    let (sender, messages) = channel();
    let (opened, opening) = channel();
    let writer = std::thread::Builder::new()
        .name("ledger-writer".into())
        .spawn(move || {
            // Opened here, because a thread of the runtime must not wait for a server.
            let connection = match open_first(&*store) {
                Ok(connection) => connection,
                Err(error) => return drop(opened.send(Err(error))),
            };
            let mut writer = Writer::new(store, connection, shared, messages);
            writer.fold_left();
            if opened.send(Ok(())).is_ok() {
                writer.run_to_end();
            }
        })
        .map_err(Error::Thread)?;
    match opening.recv() {
        Ok(opened) => opened.map(|()| (Queue::new(sender, writer.thread().clone()), writer)),
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
    /// The group as it is written, once that was tried.
    packed: Option<Packed>,
    /// Its id.
    group_id: Option<EntryId>,
    /// It isn't known how the last try to write it has ended.
    is_again: bool,
    group_bytes: usize,
    /// To be answered once the group is durable.
    flushes: Vec<oneshot::Sender<()>>,
    tells: Vec<oneshot::Sender<()>>,
    purges: Vec<oneshot::Sender<u64>>,
    /// To be done once the group is durable.
    work: Vec<Work>,
    /// On a database that nodes share, another thread folds.
    folder: Option<Folder>,
    /// When to fold what is in the journal.
    fold_at: Option<Instant>,
    /// Records that were written and not folded.
    unfolded: usize,
    /// When to look for what has become too old.
    purge_at: Instant,
    /// Something was deleted and can perhaps still be read.
    unscrubbed: bool,
    /// Failed writes in a row.
    failures: u32,
    /// It has panicked since the last record was written.
    has_panicked: bool,
    /// When the group has gathered for long enough.
    gathered_at: Option<Instant>,
}

impl Writer {
    fn new(
        store: Arc<dyn Store>,
        connection: Box<dyn Connection>,
        shared: Arc<Shared>,
        messages: Receiver<Message>,
    ) -> Writer {
        let folder = (!store.is_shared()).then(Folder::default);
        Writer {
            store,
            connection,
            shared,
            messages,
            group: Vec::with_capacity(GROUP),
            packed: None,
            group_id: None,
            is_again: false,
            group_bytes: 0,
            flushes: Vec::new(),
            tells: Vec::new(),
            purges: Vec::new(),
            work: Vec::new(),
            folder,
            fold_at: None,
            unfolded: 0,
            purge_at: Instant::now() + retention::EVERY,
            // A purge before the last end may not have come that far.
            unscrubbed: true,
            failures: 0,
            has_panicked: false,
            gathered_at: None,
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
            let write = || {
                let records: &[&Record] = &[record];
                let packed = Packed::new(EntryId::new(clock::unix_ms()), records, &policy)?;
                connection.try_append(&Group {
                    packed: &packed,
                    records,
                    is_again: false,
                })
            };
            match catch_unwind(AssertUnwindSafe(write)) {
                Ok(Ok(())) => nth += 1,
                // That is another trouble, which may pass.
                Ok(Err(_)) => break,
                Err(_) => {
                    self.connection.rollback();
                    // The log is its last chance. What was said stays out of it.
                    tracing::error!(entry = ?record.entry, "ledger: the writer panics at a record, which is not written");
                    let (record, _) = self.group.remove(nth);
                    self.group_bytes -= record.size();
                    self.shared.held.fetch_sub(record.size(), Ordering::Relaxed);
                    self.packed = None;
                    // Who waits for the record may not hear that it is durable.
                    self.tells.clear();
                }
            }
        }
        if self.group.is_empty() {
            (self.group_id, self.is_again) = (None, false);
        }
        self.group.len() < before
    }

    fn run(&mut self) {
        loop {
            let next = self.gather();
            if next == Next::End {
                return;
            }
            let is_crowded = self.group.len() >= GROUP;
            if next == Next::Write {
                self.write_out();
            }
            let now = Instant::now();
            let is_asked = self.folder.as_ref().is_some_and(Folder::is_asked);
            let is_first = is_asked || self.unfolded >= FOLDED_FIRST;
            if self.fold_at.is_some_and(|at| at <= now) && (!is_crowded || is_first) {
                self.fold();
            }
            if self.purge_at <= now {
                self.purge();
            }
        }
    }

    /// Writes the group, however long that takes, and does what waited for it.
    fn write_out(&mut self) {
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
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Record(record, room) => {
                self.group_bytes += record.size();
                self.group.push((record, room));
            }
            Message::Flush(done) => self.flushes.push(done),
            Message::Tell(done) if self.group.is_empty() => {
                // All before it is durable.
                let _ = done.send(());
            }
            Message::Tell(done) => self.tells.push(done),
            Message::Purge(done) => {
                self.purges.push(done);
                self.purge_at = Instant::now();
            }
            Message::Retention => {
                self.purge_at = Instant::now();
                self.fold_at = self.folder.is_some().then_some(self.purge_at);
            }
            Message::Fold(ask) => {
                if let Some(folder) = &mut self.folder {
                    folder.ask(ask);
                    self.fold_at = Some(Instant::now());
                }
            }
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
        written.map_err(|error| error.to_string())?;
        self.in_place()
    }

    fn write(&mut self) -> Result<(), Failure> {
        let records: Vec<&Record> = self.group.iter().map(|(record, _)| &**record).collect();
        let packed = if let Some(packed) = self.packed.take() {
            packed
        } else {
            let id = self.group_id.clone();
            let id = id.unwrap_or_else(|| EntryId::new(clock::unix_ms()));
            Packed::new(id, &records, &self.policy())?
        };
        let packed = self.packed.insert(packed);
        self.group_id = Some(packed.id.clone());
        let is_again = std::mem::replace(&mut self.is_again, true);
        let group = Group {
            packed,
            records: &records,
            is_again,
        };
        let is_new = self.connection.append(&group)?;
        if !is_new && !is_again {
            // Another group has the same id: it gets another one.
            (self.packed, self.group_id) = (None, None);
            self.is_again = false;
            let what = "a group of records with an id that is there already";
            return Err(Failure::Value(what.to_owned()));
        }
        Ok(())
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
        self.gathered_at = None;
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
        self.has_appended(self.group.len());
        let written = &self.shared.written;
        written.tell(self.group.iter().map(|(record, _)| &**record));
        self.shared
            .held
            .fetch_sub(self.group_bytes, Ordering::Relaxed);
        self.group_bytes = 0;
        (self.packed, self.group_id, self.is_again) = (None, None, false);
        // All room is given back at once.
        let rooms = self.group.drain(..).map(|(_, room)| room);
        drop(rooms.reduce(|mut all, room| {
            all.merge(room);
            all
        }));
        self.shared.drained.notify_waiters();
        // The waiting side may have given up.
        for flush in self.flushes.drain(..).chain(self.tells.drain(..)) {
            let _ = flush.send(());
        }
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
