//! The writer: one thread that owns the write connection and commits records in groups.
//!
//! A group is kept until its transaction has committed. A failed commit may have reached the disk
//! all the same, so a retry skips the ids that are already there: nothing is lost or doubled.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Entry, Error, row};

/// Records per transaction: enough to share the cost of one sync, few enough to commit quickly.
const GROUP: usize = 512;

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(2);

pub(super) enum Message {
    /// The permit is the record's room in the queue, given back once it is durable.
    Record(Box<Entry>, OwnedSemaphorePermit),
    Flush(oneshot::Sender<()>),
}

/// Starts the writer. It ends when the last sender is gone and everything sent is durable.
pub(super) fn spawn(
    connection: Connection,
    path: PathBuf,
    writing: Arc<AtomicBool>,
) -> Result<Sender<Message>, Error> {
    let (queue, messages) = channel();
    let group = Vec::with_capacity(GROUP);
    let mut writer = Writer {
        connection,
        path,
        writing,
        messages,
        group,
        flushes: Vec::new(),
        failures: 0,
    };
    std::thread::Builder::new()
        .name("ledger-writer".into())
        .spawn(move || {
            // The group outlives a panic, so the writer takes it up again.
            while let Err(panic) = catch_unwind(AssertUnwindSafe(|| writer.run())) {
                let what = panic
                    .downcast_ref::<&str>()
                    .map(ToString::to_string)
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_default();
                writer.failed(&format!("the writer panicked: {what}"));
            }
        })
        .map_err(Error::Thread)?;
    Ok(queue)
}

struct Writer {
    connection: Connection,
    path: PathBuf,
    writing: Arc<AtomicBool>,
    messages: Receiver<Message>,
    /// Taken from the queue and not yet durable.
    group: Vec<(Box<Entry>, OwnedSemaphorePermit)>,
    /// To be answered once the group is durable.
    flushes: Vec<oneshot::Sender<()>>,
    /// Failed writes in a row.
    failures: u32,
}

impl Writer {
    fn run(&mut self) {
        loop {
            if self.group.is_empty() && self.flushes.is_empty() {
                match self.messages.recv() {
                    Ok(message) => self.take(message),
                    Err(_) => return,
                }
            }
            while self.group.len() < GROUP
                && let Ok(message) = self.messages.try_recv()
            {
                self.take(message);
            }
            while let Err(error) = self.commit() {
                self.failed(&error.to_string());
            }
            self.succeeded();
            self.group.clear();
            for flush in self.flushes.drain(..) {
                // Whoever waited may have given up.
                let _ = flush.send(());
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Record(entry, room) => self.group.push((entry, room)),
            Message::Flush(done) => self.flushes.push(done),
        }
    }

    fn commit(&mut self) -> rusqlite::Result<()> {
        if self.group.is_empty() {
            return Ok(());
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(row::INSERT)?;
            for (entry, _) in &self.group {
                let written = row::insert(&mut insert, entry)?;
                if written == 0 && self.failures == 0 {
                    tracing::error!(id = %entry.id, "ledger: a second record with this id skipped");
                }
            }
        }
        transaction.commit()
    }

    fn failed(&mut self, error: &str) {
        self.writing.store(false, Ordering::Relaxed);
        let wait = BACKOFF_FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(BACKOFF_LAST);
        self.failures = self.failures.saturating_add(1);
        tracing::error!(
            path = %self.path.display(),
            records = self.group.len(),
            failures = self.failures,
            error,
            "ledger: write failed; the records are kept and retried; check the disk's space and \
             who else holds the file"
        );
        std::thread::park_timeout(wait);
    }

    fn succeeded(&mut self) {
        // A flush of nothing proves nothing about the disk.
        if self.failures > 0 && !self.group.is_empty() {
            tracing::info!(
                path = %self.path.display(),
                records = self.group.len(),
                failures = self.failures,
                "ledger: writing again"
            );
            self.failures = 0;
            self.writing.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::row::tests::entry;
    use crate::ledger::{EntryId, Ledger, Query};
    use std::collections::HashSet;
    use std::time::Instant;

    #[tokio::test]
    async fn flushed_records_survive_without_a_close() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open("sqlite:ledger.db", dir.path()).unwrap();
        let written = entry(1_000, "ann@example.com", "s1");
        ledger.admit().unwrap().record(written.clone());
        ledger.flush().await.unwrap();
        std::mem::forget(ledger);
        let ledger = Ledger::open("sqlite:ledger.db", dir.path()).unwrap();
        assert_eq!(ledger.requests(Query::default()).await.unwrap(), [written]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_failed_write_keeps_the_record_and_writes_it_once() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open("sqlite:ledger.db", dir.path()).unwrap();
        let other = Connection::open(dir.path().join("ledger.db")).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        ledger
            .admit()
            .unwrap()
            .record(entry(1_000, "ann@example.com", "s1"));
        let deadline = Instant::now() + Duration::from_secs(10);
        while ledger.healthy() {
            assert!(Instant::now() < deadline, "still healthy");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(ledger.requests(Query::default()).await.unwrap().is_empty());
        other.execute_batch("ROLLBACK").unwrap();
        ledger.flush().await.unwrap();
        assert!(ledger.healthy());
        assert_eq!(ledger.requests(Query::default()).await.unwrap().len(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn concurrent_records_are_all_there_once() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open("sqlite:ledger.db", dir.path()).unwrap();
        let tasks: Vec<_> = (0..100)
            .map(|task| {
                let ledger = ledger.clone();
                tokio::spawn(async move {
                    for n in 0..100 {
                        let slot = ledger.admit().unwrap();
                        slot.record(entry(task * 100 + n, "ann@example.com", "s1"));
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        ledger.close().await.unwrap();
        assert!(ledger.admit().is_err());
        let mut starts = HashSet::new();
        let mut rows = 0;
        let mut before = None;
        loop {
            let query = Query {
                before,
                limit: 1000,
                ..Query::default()
            };
            let page = ledger.requests(query).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.id.to_string());
            rows += page.len();
            starts.extend(page.iter().map(|entry| entry.started_at));
        }
        assert_eq!((rows, starts.len()), (10_000, 10_000));
    }

    #[tokio::test]
    async fn a_strange_record_does_not_stop_the_queue() {
        let ledger = Ledger::open("sqlite::memory:", std::path::Path::new(".")).unwrap();
        let mut strange = entry(1_000, "ann@example.com", "s1");
        strange.duration_ms = f64::NAN;
        strange.tokens.input = Some(u64::MAX);
        ledger.admit().unwrap().record(strange.clone());
        ledger.admit().unwrap().record(strange.clone());
        strange.id = EntryId::new(1_000);
        ledger.admit().unwrap().record(strange);
        ledger.flush().await.unwrap();
        assert_eq!(ledger.requests(Query::default()).await.unwrap().len(), 2);
        let sessions = ledger.sessions(Query::default()).await.unwrap();
        assert_eq!(sessions[0].input_tokens, i64::MAX as u64);
    }
}
