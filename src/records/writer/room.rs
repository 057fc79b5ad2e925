//! Room for records: how much may be promised and not yet durable, and the slot that a request takes
//! of it before it is accepted.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};
use tokio::time::{Instant, timeout_at};

use super::{Message, misplaced};
use crate::base::{clock, memory};
use crate::records::{Inner, Ledger, Record, Unavailable};

/// Bytes of queued records beyond which nothing more is admitted: captures are long.
pub(crate) const HELD_MAX: usize = 256 << 20;

/// The same where there is little memory.
pub(super) fn held_max() -> usize {
    HELD_MAX.min(memory::limit() / 8)
}

/// How long a request waits for room. A few long captures fill the queue for some tenths of a second; a
/// longer wait would not help: the database can't keep up.
const PATIENCE: Duration = Duration::from_secs(2);

/// How much is promised to the ledger and not yet durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Records of requests that run or have ended.
    pub promised: usize,
    /// How many there may be.
    pub capacity: usize,
    /// Bytes of the records that are queued.
    pub bytes: usize,
}

impl Backlog {
    /// Whether half of what there is room for is taken.
    #[must_use]
    pub fn is_long(self) -> bool {
        self.promised > self.capacity / 2 || self.bytes > held_max() / 2
    }
}

impl Ledger {
    /// False after a failed write until one succeeds, and while the queue is full. Requests that
    /// must be recorded should then be refused.
    pub fn healthy(&self) -> bool {
        !self.inner.shared.has_failed.load(Ordering::Relaxed)
            && self.inner.shared.misplaced().is_none()
            && self.inner.room.available_permits() > 0
            && !self.is_heavy()
    }

    fn is_heavy(&self) -> bool {
        self.inner.shared.held.load(Ordering::Relaxed) > held_max()
    }

    /// How much is promised and not yet durable.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        Backlog {
            promised: self.promised(),
            capacity: self.inner.capacity,
            bytes: self.inner.shared.held.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn promised(&self) -> usize {
        self.inner.capacity - self.inner.room.available_permits()
    }

    /// As [`Self::admit`], and waits a while where the queue is full but written.
    ///
    /// # Errors
    /// As [`Self::admit`]; [`Unavailable::Failing`] at once while the database can't be written.
    pub async fn admit_soon(&self) -> Result<Slot, Unavailable> {
        match self.admit_now() {
            // Boxed, because there mostly is room.
            Err(Unavailable::Full) => Box::pin(self.admit_later()).await,
            admitted => admitted,
        }
    }

    async fn admit_later(&self) -> Result<Slot, Unavailable> {
        let end = Instant::now() + PATIENCE;
        loop {
            // Listens before it looks, so that no news is missed in between.
            let drained = self.inner.shared.drained.notified();
            let admitted = self.admit_now();
            if admitted.as_ref().err() != Some(&Unavailable::Full)
                || timeout_at(end, drained).await.is_err()
            {
                return admitted;
            }
        }
    }

    fn admit_now(&self) -> Result<Slot, Unavailable> {
        if self.inner.shared.writable().is_err() {
            return Err(Unavailable::Failing);
        }
        self.admit()
    }

    /// Reserves room for one record; to be taken before a request is accepted.
    pub fn admit(&self) -> Result<Slot, Unavailable> {
        if self.is_heavy() {
            return Err(Unavailable::Full);
        }
        // Looked at in each millisecond, because a record that is written elsewhere is lost. A request takes
        // longer, so one that is admitted within the same millisecond is at no greater risk.
        let (now, looked) = (clock::unix_ms(), &self.inner.shared.looked);
        if looked.swap(now, Ordering::Relaxed) != now
            && let Some(why) = self.inner.store.misplaced()
        {
            looked.store(i64::MIN, Ordering::Relaxed);
            misplaced::note(&self.inner.shared, Some(why));
            return Err(Unavailable::Misplaced);
        }
        match self.inner.room.clone().try_acquire_owned() {
            Ok(room) => Ok(Slot {
                inner: self.inner.clone(),
                room,
            }),
            Err(TryAcquireError::NoPermits) => Err(Unavailable::Full),
            Err(TryAcquireError::Closed) => Err(Unavailable::Closed),
        }
    }
}

/// Room for one record. Dropped unused, it gives the room back.
#[must_use = "a dropped slot records nothing"]
pub struct Slot {
    inner: Arc<Inner>,
    room: OwnedSemaphorePermit,
}

impl Slot {
    /// Hands the record to the writer. Never blocks; the room is free again once it is durable.
    pub fn record(self, record: Record) {
        let shared = &self.inner.shared;
        shared.held.fetch_add(record.size(), Ordering::Relaxed);
        let message = Message::Record(Box::new(record), self.room);
        if let Err(mpsc::SendError(Message::Record(record, _))) = self.inner.queue.send(message) {
            // Cannot happen while a handle exists; the log is then the record's last chance. What
            // was said stays out of it.
            shared.fails(Some("the writer has ended".to_owned()));
            tracing::error!(entry = ?record.entry, "ledger: the writer is gone; record not written");
        }
    }
}
