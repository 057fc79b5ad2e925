//! Records on their way elsewhere, each exporter at its own pace. What it has to take is queued
//! with the records; a batch is forgotten once it has arrived, and sent again until then.

mod otlp;
mod record;
mod s3;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;

use crate::base::clock::{self, backoff};
use crate::base::lock::lock;
use crate::base::panics;
use crate::config::{Exporter, Exporters};
use crate::net::client::Client;
use crate::records::metrics::Metrics;
use crate::records::{Batch, Entry, EntryId, Ledger, Scope};

/// How long a batch is this node's before another may take it up.
const LEASE: Duration = Duration::from_mins(10);
/// After a failure; doubled for each in a row, up to [`LATEST`].
const FIRST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_mins(5);
/// Longest time for one upload.
const PATIENCE: Duration = Duration::from_mins(5);

/// How an exporter does.
#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Status {
    /// Unix milliseconds of the last batch that arrived.
    pub last_success: Option<i64>,
    /// Unix milliseconds of the last failure.
    pub last_failure: Option<i64>,
    /// What it was.
    pub last_error: Option<String>,
    /// Records that have arrived since the start of the process.
    pub records: u64,
    /// Failures in a row.
    pub failures: u32,
}

/// How all exporters do. Clones share it.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<&'static str, Status>>>);

impl Board {
    /// Every exporter that has done something, by its name.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, Status> {
        lock(&self.0).clone()
    }

    fn change(&self, exporter: &'static str, change: impl FnOnce(&mut Status)) {
        change(lock(&self.0).entry(exporter).or_default());
    }
}

/// An exporter: the keys that it declares, and what it does with them.
struct Outlet {
    exporter: Exporter,
    /// Whether it takes records.
    takes_records: fn(&Exporters) -> bool,
    /// Exports if it is configured. Never ends.
    run: for<'a> fn(&'a Outlets<'a>, &'a Exporters) -> Option<BoxFuture<'a, ()>>,
}

/// Every exporter.
const ALL: [Outlet; 2] = [s3::OUTLET, otlp::OUTLET];

/// The exporters, as they declare themselves.
pub(crate) fn declared() -> Vec<Exporter> {
    ALL.into_iter().map(|outlet| outlet.exporter).collect()
}

/// The names of the exporters that take records.
#[must_use]
pub fn names(config: &Exporters) -> Vec<&'static str> {
    let taking = ALL
        .into_iter()
        .filter(|outlet| (outlet.takes_records)(config));
    taking.map(|outlet| outlet.exporter.name()).collect()
}

/// What exporters need.
pub struct Outlets<'e> {
    /// Connections.
    pub upstream: &'e Client,
    /// Where records are.
    pub ledger: &'e Ledger,
    /// What was counted.
    pub metrics: &'e Metrics,
    /// How they do.
    pub board: &'e Board,
}

impl Outlets<'_> {
    /// Exports as `config` says. Never returns; to be restarted with another configuration.
    pub async fn run(&self, config: &Exporters) {
        join_all(ALL.iter().filter_map(|outlet| (outlet.run)(self, config))).await;
        std::future::pending::<()>().await;
    }

    /// Exports batch by batch: after a pause, and at once while more is waiting. `export` answers
    /// with the number of records.
    async fn pump<F: Future<Output = Result<u64, String>>>(
        &self,
        name: &'static str,
        every: Duration,
        export: impl Fn() -> F,
    ) {
        let mut failures = 0;
        while let Err(error) = self.ledger.start_export(name).await {
            tracing::warn!(name, %error, "an exporter can't begin yet");
            let wait = backoff(FIRST, failures, LATEST);
            failures += 1;
            self.failing(name, failures, error.to_string());
            tokio::time::sleep(wait).await;
        }
        self.board.change(name, |status| status.failures = 0);
        loop {
            // The first export comes with the next cycle, as in Aperture.
            tokio::time::sleep(every).await;
            failures = 0;
            panics::point("export");
            loop {
                match export().await {
                    Ok(0) => break,
                    Ok(records) => {
                        failures = 0;
                        self.board.change(name, |status| {
                            status.last_success = Some(clock::unix_ms());
                            status.records += records;
                            status.failures = 0;
                        });
                    }
                    Err(why) => {
                        let wait = backoff(FIRST, failures, LATEST);
                        failures = failures.saturating_add(1);
                        tracing::error!(name, why, ?wait, "an export failed and is tried again");
                        self.failing(name, failures, why);
                        tokio::time::sleep(wait).await;
                    }
                }
            }
        }
    }

    fn failing(&self, name: &'static str, failures: u32, why: String) {
        self.board.change(name, |status| {
            status.last_failure = Some(clock::unix_ms());
            status.last_error = Some(why);
            status.failures = failures;
        });
    }

    /// The entry of a batch; `None` if it is gone.
    async fn entry(&self, id: &EntryId) -> Result<Option<Entry>, String> {
        let entry = self.ledger.request(Scope::Everyone, id.as_str()).await;
        entry.map_err(|error| error.to_string())
    }

    async fn take(&self, name: &str, batch: &str, limit: usize) -> Result<Option<Batch>, String> {
        let batch = self.ledger.take_batch(name, batch, limit, LEASE).await;
        batch.map_err(|error| error.to_string())
    }

    /// Gives a batch up that could not be sent; the next try is for the same one.
    async fn failed(&self, name: &str, batch: &Batch, why: String) -> String {
        if let Err(error) = self.ledger.abandon_batch(name, &batch.name).await {
            tracing::warn!(name, %error, "a batch is taken up again once its lease ends");
        }
        why
    }

    async fn done(&self, name: &str, batch: Batch) -> Result<u64, String> {
        let count = batch.entries.len() as u64;
        let done = self.ledger.exported(name, batch).await;
        done.map_err(|error| error.to_string())?;
        Ok(count)
    }
}
