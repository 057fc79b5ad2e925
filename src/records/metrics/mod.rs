//! What is counted while requests end: for Prometheus, which asks, and for OpenTelemetry, which
//! is told. Labels come from the configuration alone, so their number has a bound.

mod prometheus;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

pub use prometheus::{CONTENT_TYPE, Gauge, render};

use crate::base::quick_hash::QuickHash;
use crate::base::text::Text;
use crate::formats::Tokens;

/// Bounds of durations in seconds, those of OpenTelemetry's conventions for generative AI.
pub const SECONDS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
/// Bounds of counts of tokens, likewise.
pub const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// Bounds of what the gateway itself takes, in seconds.
pub const OVERHEAD: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.012_8, 0.025_6,
    0.051_2, 0.102_4, 0.5, 1.0,
];

/// What requests are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The format, such as `openai_chat`.
    pub api: Text,
    /// The provider's id; empty for requests that went to none.
    pub provider: Text,
    /// The model as the provider names it; empty likewise.
    pub model: Text,
    /// How it ended, such as `complete`.
    pub outcome: &'static str,
    /// Hundreds of the status: 2, 4, 5.
    pub class: u16,
}

/// What is known of a request when it ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// Counts of tokens.
    pub tokens: Tokens,
    /// Nanodollars.
    pub cost: Option<i64>,
    /// It went with the caller's own credential.
    pub own_credential: bool,
    /// Seconds of the whole.
    pub duration: f64,
    /// Seconds to the first token.
    pub first_token: Option<f64>,
    /// Seconds that the gateway took before it asked the provider.
    pub overhead: Option<f64>,
}

/// The counters. Live as long as the process.
#[derive(Default)]
pub struct Metrics {
    series: RwLock<HashMap<Key, Arc<Series>, QuickHash>>,
}

/// The counters of requests that are alike.
pub struct Series {
    /// How many.
    pub requests: AtomicU64,
    /// Nanodollars.
    pub cost: AtomicU64,
    /// Of them, those of requests with callers' own credentials.
    pub own_credential_cost: AtomicU64,
    /// Of them, those served from a cache.
    pub cached: AtomicU64,
    /// Of them, those of reasoning.
    pub reasoning: AtomicU64,
    /// Tokens read a request.
    pub input: Histogram,
    /// Tokens written a request.
    pub output: Histogram,
    /// Seconds of the whole.
    pub duration: Histogram,
    /// Seconds to the first token.
    pub first_token: Histogram,
    /// Seconds that the gateway took.
    pub overhead: Histogram,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            requests: AtomicU64::default(),
            cost: AtomicU64::default(),
            own_credential_cost: AtomicU64::default(),
            cached: AtomicU64::default(),
            reasoning: AtomicU64::default(),
            input: Histogram::new(&TOKENS),
            output: Histogram::new(&TOKENS),
            duration: Histogram::new(&SECONDS),
            first_token: Histogram::new(&SECONDS),
            overhead: Histogram::new(&OVERHEAD),
        }
    }
}

/// How values are spread.
pub struct Histogram {
    bounds: &'static [f64; 14],
    /// By bound, and beyond the last.
    counts: [AtomicU64; 15],
    /// Millionths.
    sum: AtomicU64,
}

/// A histogram at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// The bounds.
    pub bounds: &'static [f64; 14],
    /// How many values are in each, and beyond the last.
    pub counts: [u64; 15],
    /// Their sum.
    pub sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64; 14]) -> Self {
        Self {
            bounds,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            sum: AtomicU64::new(0),
        }
    }

    fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what is below zero or beyond any sum is not believed"
        )]
        let millionths = (value * 1e6).clamp(0.0, 1e15) as u64;
        self.sum.fetch_add(millionths, Ordering::Relaxed);
    }

    /// What it holds.
    #[must_use]
    pub fn spread(&self) -> Spread {
        #[expect(clippy::cast_precision_loss, reason = "a figure for a chart")]
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e6;
        Spread {
            bounds: self.bounds,
            counts: std::array::from_fn(|nth| self.counts[nth].load(Ordering::Relaxed)),
            sum,
        }
    }
}

impl Spread {
    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Metrics {
    /// Counts a request that has ended.
    pub fn count(&self, key: Key, ended: &Ended) {
        let series = self.series(key);
        series.requests.fetch_add(1, Ordering::Relaxed);
        let add = |counter: &AtomicU64, value: Option<u64>| {
            counter.fetch_add(value.unwrap_or_default(), Ordering::Relaxed);
        };
        let cost = ended.cost.and_then(|cost| u64::try_from(cost).ok());
        add(&series.cost, cost);
        let own = cost.filter(|_| ended.own_credential);
        add(&series.own_credential_cost, own);
        add(&series.cached, ended.tokens.cached);
        add(&series.reasoning, ended.tokens.reasoning);
        #[expect(clippy::cast_precision_loss, reason = "a figure for a chart")]
        for (spread, count) in [
            (&series.input, ended.tokens.input),
            (&series.output, ended.tokens.output),
        ] {
            if let Some(count) = count {
                spread.observe(count as f64);
            }
        }
        series.duration.observe(ended.duration);
        if let Some(first_token) = ended.first_token {
            series.first_token.observe(first_token);
        }
        if let Some(overhead) = ended.overhead {
            series.overhead.observe(overhead);
        }
    }

    fn series(&self, key: Key) -> Arc<Series> {
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(&key) {
            return Arc::clone(series);
        }
        drop(known);
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(key).or_default())
    }

    /// All that was counted, in order.
    #[must_use]
    pub fn all(&self) -> Vec<(Key, Arc<Series>)> {
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = known
            .iter()
            .map(|(key, series)| (key.clone(), Arc::clone(series)))
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }
}
