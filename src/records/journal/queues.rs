//! The queues of what leaves the gateway, as their users see them: deliveries for hooks, and batches for
//! exporters. Both are filled in the transaction that folds the record that they are about.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::records::{EntryId, Error, Failure, Ledger, millis};

/// Entries that are taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub name: String,
    /// In the order of their ids.
    pub entries: Vec<EntryId>,
}

/// A delivery from the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub id: String,
    /// Name of the hook.
    pub hook: String,
    pub event: String,
    /// JSON.
    pub payload: Vec<u8>,
    /// How often it was tried before.
    pub tries: u32,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// What waits for a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub hook: String,
    /// How many deliveries.
    pub count: u64,
    /// When the oldest was queued, in Unix milliseconds.
    pub oldest: i64,
}

/// The queue of exporters.
pub(crate) trait Exports {
    /// Queues what was written while an exporter was off: all that is newer than the newest that it
    /// has taken. `alone` says that no other node can be taking a batch.
    fn start_export(&mut self, exporter: &str, alone: bool) -> Result<(), Failure>;
    /// Takes a batch of up to `limit` entries, under the name `name` unless one was left behind. No other
    /// node gets them for `lease` milliseconds.
    fn take_batch(
        &mut self,
        exporter: &str,
        name: &str,
        limit: usize,
        lease: i64,
    ) -> Result<Option<Batch>, Failure>;
    /// Puts back entries that didn't fit into their batch.
    fn put_back(&mut self, exporter: &str, entries: &[EntryId]) -> Result<(), Failure>;
    /// Lets a batch that could not be sent be taken again at once.
    fn abandon_batch(&mut self, exporter: &str, batch: &str) -> Result<(), Failure>;
    /// Forgets a batch that has arrived.
    fn exported(&mut self, exporter: &str, batch: &Batch) -> Result<(), Failure>;
    /// How many entries an exporter has yet to take.
    fn export_waiting(&mut self, exporter: &str) -> Result<u64, Failure>;
}

/// The queue of deliveries to hooks.
pub(crate) trait Outbox {
    /// Takes up to `count` deliveries that are due for a hook. No other node gets them for `lease`
    /// milliseconds.
    fn due(&mut self, hook: &str, count: usize, lease: i64) -> Result<Vec<Queued>, Failure>;
    /// Makes all deliveries due now.
    fn hasten(&mut self) -> Result<(), Failure>;
    /// Forgets a delivery.
    fn delivered(&mut self, id: &str) -> Result<(), Failure>;
    /// Makes a delivery due once more, after `wait` milliseconds.
    fn put_off(&mut self, id: &str, wait: i64) -> Result<(), Failure>;
    /// What waits for each hook.
    fn deliveries_waiting(&mut self) -> Result<Vec<Waiting>, Failure>;
    /// Forgets what is for other hooks than `hooks`, and of each the oldest beyond so many rows and
    /// bytes. Returns how many were forgotten of which hook.
    fn retain_deliveries(
        &mut self,
        hooks: &[String],
        rows_max: usize,
        bytes_max: i64,
    ) -> Result<Vec<(String, u64)>, Failure>;
}

impl Ledger {
    /// Waits until something is queued for a hook.
    pub async fn delivery(&self) {
        self.inner.shared.delivery.notified().await;
    }

    /// Takes up to `count` deliveries that are due for a hook. Nobody else gets them for `lease`.
    pub async fn due(
        &self,
        hook: &str,
        count: usize,
        lease: Duration,
    ) -> Result<Vec<Queued>, Error> {
        let hook = hook.to_owned();
        self.write(move |connection| connection.due(&hook, count, millis(lease)))
            .await
    }

    /// Makes all deliveries due now: for a node that is alone, when it starts.
    pub async fn hasten(&self) -> Result<(), Error> {
        self.write(|connection| connection.hasten()).await
    }

    /// What waits for each hook.
    pub async fn deliveries_waiting(&self) -> Result<Vec<Waiting>, Error> {
        self.read_records(|connection| connection.deliveries_waiting())
            .await
    }

    /// Forgets a delivery. What it said can soon be read nowhere.
    pub async fn delivered(&self, id: &str) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |connection| connection.delivered(&id))
            .await?;
        self.inner.shared.deleted.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a delivery due once more.
    pub async fn put_off(&self, id: &str, wait: Duration) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |connection| connection.put_off(&id, millis(wait)))
            .await
    }

    /// Forgets what is for other hooks than `hooks`, and of each the oldest beyond so many rows
    /// and bytes. Answers with how many of whose went.
    pub async fn retain_deliveries(
        &self,
        hooks: Vec<String>,
        rows: usize,
        bytes: i64,
    ) -> Result<Vec<(String, u64)>, Error> {
        let gone = self
            .write(move |connection| connection.retain_deliveries(&hooks, rows, bytes))
            .await?;
        if !gone.is_empty() {
            self.inner.shared.deleted.store(true, Ordering::Relaxed);
        }
        Ok(gone)
    }

    /// Queues for an exporter what was written while it was off.
    pub async fn start_export(&self, exporter: &str) -> Result<(), Error> {
        // Records that were packed before may not have been for it, also those that are still written.
        self.durable().await?;
        self.fold().await?;
        let (exporter, alone) = (exporter.to_owned(), !self.is_shared());
        self.write(move |connection| connection.start_export(&exporter, alone))
            .await
    }

    /// Takes up to `limit` entries for an exporter, under the name `name`; or a batch that was
    /// begun and not ended. Nobody else gets them for `lease`.
    pub async fn take_batch(
        &self,
        exporter: &str,
        name: &str,
        limit: usize,
        lease: Duration,
    ) -> Result<Option<Batch>, Error> {
        let (exporter, name) = (exporter.to_owned(), name.to_owned());
        self.write(move |connection| connection.take_batch(&exporter, &name, limit, millis(lease)))
            .await
    }

    /// Puts entries back that did not fit into their batch.
    pub async fn put_back(&self, exporter: &str, entries: Vec<EntryId>) -> Result<(), Error> {
        let exporter = exporter.to_owned();
        self.write(move |connection| connection.put_back(&exporter, &entries))
            .await
    }

    /// Lets a batch that could not be sent be taken up again at once.
    pub async fn abandon_batch(&self, exporter: &str, batch: &str) -> Result<(), Error> {
        let (exporter, batch) = (exporter.to_owned(), batch.to_owned());
        self.write(move |connection| connection.abandon_batch(&exporter, &batch))
            .await
    }

    /// Notes durably that a batch is where it should be.
    pub async fn exported(&self, exporter: &str, batch: Batch) -> Result<(), Error> {
        let exporter = exporter.to_owned();
        self.write(move |connection| connection.exported(&exporter, &batch))
            .await
    }

    /// How many entries an exporter has yet to take.
    pub async fn export_waiting(&self, exporter: &str) -> Result<u64, Error> {
        let exporter = exporter.to_owned();
        self.read_records(move |connection| connection.export_waiting(&exporter))
            .await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::records::Delivery;
    use crate::records::Record;
    use crate::records::entry::tests::entry;

    #[tokio::test]
    async fn who_waits_for_deliveries_is_woken_once_there_is_one() {
        let ledger = Ledger::open("sqlite::memory:", std::path::Path::new(".")).unwrap();
        let mut record = Record::from(entry(1, "ann@example.com", "s"));
        ledger.admit().unwrap().record(record.clone());
        ledger.flush().await.unwrap();
        assert_eq!(ledger.delivery().now_or_never(), None);
        record.entry.id = EntryId::new(2);
        record.deliveries.push(Delivery {
            hook: "log".to_owned(),
            event: "entire_request".to_owned(),
            payload: b"{}".to_vec(),
        });
        ledger.admit().unwrap().record(record);
        ledger.delivery().await;
        let due = ledger.due("log", 1, Duration::from_mins(1)).await.unwrap();
        assert_eq!(due.len(), 1);
    }
}
