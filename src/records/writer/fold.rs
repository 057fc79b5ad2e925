//! Folds the journal into the tables that are queried, a batch at a time: the writer does between groups, or,
//! on a database that nodes share, a thread with a connection of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{LOG_EVERY, Message, Queue, Writer};
use crate::base::lock::lock;
use crate::base::panics;
use crate::records::journal::packed::Texts;
use crate::records::journal::{Folded, Journal as _};
use crate::records::stores::Connection;
use crate::records::{Error, Failure, Shared};

/// How long a record stays in the journal, unless someone asks for it.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// Records of one batch at least: few enough not to hold up the next group.
const BATCH: usize = 1_000;

/// Records of one batch at most: enough to share the rows that they add to, few enough for the memory.
const BATCH_MOST: usize = 8_000;

/// The part of what waits that is a batch: the more there is, the more it matters how much work it is.
const BATCH_PART: usize = 4;

/// Records in the journal at which they are folded at once, and at which folding goes before what waits.
const FOLDED_AT: usize = 8_000;
pub(super) const FOLDED_FIRST: usize = 4_000_000;

/// For how long a start folds what the last end has left, before all else.
const FOLDED_ON_START: Duration = Duration::from_secs(1);

/// Between two tries while folding fails; longer and longer while it panics at no record.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(10);

/// For how long those who ask wait while folding fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Someone who waits until a row of the journal is folded. Dropped unanswered where it can't be.
pub(crate) struct Ask {
    upto: String,
    done: oneshot::Sender<()>,
}

/// Where to ask.
#[derive(Clone)]
pub(crate) enum Folds {
    ByWriter(Queue),
    ByThread(Sender<Ask>),
}

impl Folds {
    /// Waits until all is folded up to a row of the journal.
    ///
    /// # Errors
    /// While nothing can be written.
    pub(crate) async fn upto(&self, upto: String, shared: &Shared) -> Result<(), Error> {
        let mut failing = std::pin::pin!(shared.failing.notified());
        failing.as_mut().enable();
        shared.writable()?;
        let (done, answer) = oneshot::channel();
        let ask = Ask { upto, done };
        let is_sent = match self {
            Folds::ByWriter(queue) => queue.send(Message::Fold(ask)).is_ok(),
            Folds::ByThread(thread) => thread.send(ask).is_ok(),
        };
        let is_folded = is_sent
            && tokio::select! {
                answer = answer => answer.is_ok(),
                () = failing => false,
            };
        if is_folded {
            return Ok(());
        }
        shared.writable()?;
        Err(Error::Write("the journal can't be folded".to_owned()))
    }
}

/// What folds.
#[derive(Default)]
pub(crate) struct Folder {
    asks: Vec<Ask>,
    /// It has panicked since it last folded something.
    has_panicked: bool,
    /// How often in a row it has failed.
    futile: u32,
    pub(super) failing_since: Option<Instant>,
    logged_at: Option<Instant>,
}

impl Folder {
    pub(crate) fn ask(&mut self, ask: Ask) {
        self.asks.push(ask);
    }

    /// Whether someone waits.
    pub(crate) fn is_asked(&self) -> bool {
        !self.asks.is_empty()
    }

    /// Folds a batch of about `most` records. Answers those who waited for it.
    pub(crate) fn step(
        &mut self,
        connection: &mut dyn Connection,
        shared: &Shared,
        most: usize,
    ) -> Result<Folded, Failure> {
        let policy = lock(&shared.policy).clone();
        let folded = loop {
            let (left_out, open) = (lock(&shared.left_out).clone(), &mut *connection);
            let fold = AssertUnwindSafe(|| open.fold(&policy, &left_out, most));
            match catch_unwind(fold) {
                Ok(folded) => break folded?,
                Err(panic) => {
                    let what = panics::message(panic.as_ref());
                    tracing::error!(panic = what, "ledger: folding the journal has panicked");
                    connection.rollback();
                }
            }
            if !std::mem::replace(&mut self.has_panicked, true) {
                continue;
            }
            let sifted = catch_unwind(AssertUnwindSafe(|| sift(connection, shared, most)));
            let has_found = sifted.unwrap_or_else(|_| {
                connection.rollback();
                Ok(false)
            })?;
            if !has_found {
                let why = "folding the journal goes on panicking";
                return Err(Failure::Value(why.to_owned()));
            }
        };
        (self.has_panicked, self.futile) = (false, 0);
        (self.failing_since, self.logged_at) = (None, None);
        *lock(&shared.unfoldable) = None;
        if folded.skipped > 0 {
            let skipped = folded.skipped;
            tracing::error!(skipped, "ledger: records with an id that is there already");
        }
        for (row, failure) in &folded.unreadable {
            tracing::error!(row, %failure, "ledger: records in the journal can't be read; they stay there");
            lock(&shared.left_out).rows.insert(row.clone());
        }
        if folded.has_deliveries {
            shared.delivery.notify_one();
        }
        let is_done = |ask: &Ask| {
            let last = folded.last.as_ref();
            !folded.is_more || last.is_some_and(|last| ask.upto <= *last)
        };
        for ask in self.asks.extract_if(.., |ask| is_done(ask)) {
            // The receiver may be gone.
            let _ = ask.done.send(());
        }
        Ok(folded)
    }

    /// Notes that folding has failed. Those who wait don't do so for ever. Answers how long to wait until
    /// the next try, unless someone asks.
    pub(crate) fn failed(&mut self, ledger: &str, error: &str, shared: &Shared) -> Duration {
        let now = Instant::now();
        let since = *self.failing_since.get_or_insert(now);
        if self.logged_at.is_none_or(|at| now - at >= LOG_EVERY) {
            self.logged_at = Some(now);
            tracing::error!(
                ledger,
                error,
                "ledger: the journal can't be folded; it is tried again"
            );
        }
        self.futile = self.futile.saturating_add(1);
        if since.elapsed() >= PATIENCE {
            self.asks.clear();
            *lock(&shared.unfoldable) = Some(error.to_owned());
        }
        let wait = BACKOFF_FIRST.saturating_mul(1 << self.futile.min(16));
        wait.min(BACKOFF_LAST)
    }
}

/// Leaves out the records at which folding panics: they would hold up all others for ever. Answers
/// whether there were any.
fn sift(connection: &mut dyn Connection, shared: &Shared, most: usize) -> Result<bool, Failure> {
    let policy = lock(&shared.policy).clone();
    let left_out = lock(&shared.left_out).clone();
    let mut any = false;
    let rows = connection.waiting(&left_out, most)?;
    let (mut texts, mut records) = (Texts::default(), Vec::new());
    // Those that can't be read are noted when they are folded.
    for row in &rows {
        let _ = row.read_into(&mut texts, &mut records);
    }
    records.retain(|one| !left_out.entries.contains(one.entry.id));
    for record in records {
        let open = &mut *connection;
        let tried = catch_unwind(AssertUnwindSafe(|| open.try_fold(&record, &policy)));
        if let Ok(tried) = tried {
            tried?;
            continue;
        }
        connection.rollback();
        any = true;
        // The log is its last chance. What was said stays out of it.
        let entry = &record.entry;
        tracing::error!(
            ?entry,
            "ledger: the writer panics at a record, which is not written"
        );
        lock(&shared.left_out).entries.insert(entry.id.to_string());
    }
    Ok(any)
}

impl Writer {
    /// Records are in the journal.
    pub(super) fn has_appended(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.unfolded += count;
        if self.folder.is_none() {
            self.shared.has_appended.store(true, Ordering::Relaxed);
            return;
        }
        let now = Instant::now();
        let at = if self.unfolded >= FOLDED_AT {
            now
        } else {
            now + EVERY
        };
        self.fold_at = Some(self.fold_at.map_or(at, |before| before.min(at)));
    }

    /// Folds a batch of what is in the journal. Answers whether there may be more.
    pub(super) fn fold(&mut self) -> bool {
        self.fold_at = None;
        let is_open = self.in_place().and_then(|()| self.connect());
        let Some(folder) = &mut self.folder else {
            return false;
        };
        let most = (self.unfolded / BATCH_PART).clamp(BATCH, BATCH_MOST);
        let folded = is_open.and_then(|_| {
            let folded = folder.step(&mut *self.connection, &self.shared, most);
            folded.map_err(|error| error.to_string())
        });
        match folded {
            Ok(folded) => {
                self.unscrubbed |= folded.has_dropped;
                self.unfolded = self.unfolded.saturating_sub(folded.records);
                if folded.is_more {
                    self.fold_at = Some(Instant::now());
                } else {
                    self.unfolded = 0;
                }
                folded.is_more
            }
            Err(error) => {
                let wait = folder.failed(self.store.name(), &error, &self.shared);
                self.fold_at = Some(Instant::now() + wait);
                false
            }
        }
    }

    /// Folds what the last end has left. What takes longer goes on between groups.
    pub(super) fn fold_left(&mut self) {
        if self.folder.is_some() {
            let left = self.connection.length().unwrap_or(0);
            self.unfolded = usize::try_from(left).unwrap_or(usize::MAX);
        }
        let begun = Instant::now();
        while self.fold() && begun.elapsed() < FOLDED_ON_START {}
    }
}
