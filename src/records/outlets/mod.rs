//! Records on their way elsewhere, each exporter at its own pace. What it has to take is queued
//! with the records; a batch is forgotten once it has arrived, and sent again until then.

mod otlp;
mod record;
mod s3;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::base::clock;
use crate::base::panics;
use crate::config::{Exporters, Otlp, S3};
use crate::net::client::Client;
use crate::policy::route::backoff;
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
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, exporter: &'static str, change: impl FnOnce(&mut Status)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(exporter).or_default());
    }
}

/// The names of the exporters that take records.
#[must_use]
pub fn names(config: &Exporters) -> Vec<&'static str> {
    let s3 = config.s3.as_ref().map(|_| s3::NAME);
    let traces = config.otlp.as_ref().filter(|otlp| otlp.traces);
    s3.into_iter().chain(traces.map(|_| otlp::NAME)).collect()
}

/// Something that takes records.
#[derive(Clone, Copy)]
enum Job<'c> {
    S3(&'c S3),
    Spans(&'c Otlp),
}

impl Job<'_> {
    /// Its name in the queue, and the pause between two exports.
    fn pace(self) -> (&'static str, Duration) {
        match self {
            Self::S3(config) => (s3::NAME, config.every),
            Self::Spans(config) => (otlp::NAME, config.every),
        }
    }
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
        let s3 = async {
            if let Some(config) = &config.s3 {
                self.pump(Job::S3(config)).await;
            }
        };
        let traces = async {
            if let Some(config) = config.otlp.as_ref().filter(|otlp| otlp.traces) {
                self.pump(Job::Spans(config)).await;
            }
        };
        let metrics = async {
            if let Some(config) = config.otlp.as_ref().filter(|otlp| otlp.metrics) {
                otlp::metrics(self, config).await;
            }
        };
        tokio::join!(s3, traces, metrics);
        std::future::pending::<()>().await;
    }

    /// Exports batch by batch: after a pause, and at once while more is waiting.
    async fn pump(&self, job: Job<'_>) {
        let (name, every) = job.pace();
        let mut failures = 0;
        while let Err(error) = self.ledger.start_export(name).await {
            tracing::warn!(name, %error, "an exporter can't begin yet");
            tokio::time::sleep(backoff(FIRST, failures, LATEST)).await;
            failures += 1;
        }
        loop {
            // The first export comes with the next cycle, as in Aperture.
            tokio::time::sleep(every).await;
            failures = 0;
            panics::point("export");
            loop {
                let exported = match job {
                    Job::S3(config) => s3::export(self, config).await,
                    Job::Spans(config) => otlp::spans(self, config).await,
                };
                match exported {
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
                        self.board.change(name, |status| {
                            status.last_failure = Some(clock::unix_ms());
                            status.last_error = Some(why);
                            status.failures = failures;
                        });
                        tokio::time::sleep(wait).await;
                    }
                }
            }
        }
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
