//! What leaves the gateway, as those see it who send it: deliveries for hooks, and batches for
//! exporters.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::records::stores::Connection;
use crate::records::stores::sql::exports;
use crate::records::stores::sql::outbox;
use crate::records::{Batch, EntryId, Error, Ledger, Queued, Waiting, millis};

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
        self.write(move |connection| {
            let now = connection.now()?;
            let until = now.saturating_add(millis(lease));
            outbox::due(connection, &hook, count, (now, until))
        })
        .await
    }

    /// Makes all deliveries due now: for a node that is alone, when it starts.
    pub async fn hasten(&self) -> Result<(), Error> {
        self.write(outbox::hasten).await
    }

    /// What waits for each hook.
    pub async fn deliveries_waiting(&self) -> Result<Vec<Waiting>, Error> {
        self.inner.readers.run(outbox::waiting).await
    }

    /// Forgets a delivery. What it said can soon be read nowhere.
    pub async fn delivered(&self, id: &str) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |connection| outbox::delivered(connection, &id))
            .await?;
        self.inner.shared.deleted.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a delivery due once more.
    pub async fn put_off(&self, id: &str, wait: Duration) -> Result<(), Error> {
        let id = id.to_owned();
        self.write(move |connection| {
            let due_at = connection.now()?.saturating_add(millis(wait));
            outbox::put_off(connection, &id, due_at)
        })
        .await
    }

    /// Forgets what is for other hooks than `hooks`, and of each the oldest beyond so many rows
    /// and bytes. Answers with how many of whose went.
    pub async fn retain_deliveries(
        &self,
        hooks: Vec<String>,
        kept: (usize, i64),
    ) -> Result<Vec<(String, u64)>, Error> {
        let gone = self
            .write(move |connection| outbox::retain(connection, &hooks, kept))
            .await?;
        if !gone.is_empty() {
            self.inner.shared.deleted.store(true, Ordering::Relaxed);
        }
        Ok(gone)
    }

    /// Queues for an exporter what was written while it was off.
    pub async fn start_export(&self, exporter: &str) -> Result<(), Error> {
        let (exporter, alone) = (exporter.to_owned(), !self.is_shared());
        self.write(move |connection| exports::start(connection, &exporter, alone))
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
        self.write(move |connection| {
            let now = connection.now()?;
            let until = now.saturating_add(millis(lease));
            exports::take(connection, &exporter, (&name, limit), (now, until))
        })
        .await
    }

    /// Puts entries back that did not fit into their batch.
    pub async fn put_back(&self, exporter: &str, entries: Vec<EntryId>) -> Result<(), Error> {
        let exporter = exporter.to_owned();
        self.write(move |connection| exports::put_back(connection, &exporter, &entries))
            .await
    }

    /// Lets a batch that could not be sent be taken up again at once.
    pub async fn abandon_batch(&self, exporter: &str, batch: &str) -> Result<(), Error> {
        let (exporter, batch) = (exporter.to_owned(), batch.to_owned());
        self.write(move |connection| exports::abandon(connection, &exporter, &batch))
            .await
    }

    /// Notes durably that a batch is where it should be.
    pub async fn exported(&self, exporter: &str, batch: Batch) -> Result<(), Error> {
        let exporter = exporter.to_owned();
        self.write(move |connection| exports::done(connection, &exporter, &batch))
            .await
    }

    /// How many entries an exporter has yet to take.
    pub async fn export_waiting(&self, exporter: &str) -> Result<u64, Error> {
        let exporter = exporter.to_owned();
        let read = move |connection: &mut dyn Connection| exports::waiting(connection, &exporter);
        self.inner.readers.run(read).await
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
