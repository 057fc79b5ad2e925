//! What is added up over entries, for sessions and for reports.

use serde::Serialize;

use crate::records::reports::histogram::{self, BUCKETS, Percentiles};
use crate::records::stores::sql::row::{self, COUNTERS};
use crate::records::stores::{Failure, Row, Value};
use crate::records::{Entry, Outcome};

/// Requests, errors, the counts of tokens, cost, priced and unpriced: what sessions add up.
pub(crate) const PLAIN: usize = 2 + COUNTERS.len() + 3;

/// Those, and two histograms: what reports add up.
pub(crate) const ALL: usize = PLAIN + 2 * BUCKETS;

/// The columns that hold sums, in the order of [`Sums`].
pub(crate) fn columns(count: usize) -> Vec<String> {
    let named = ["requests", "errors"].into_iter().chain(COUNTERS);
    let named = named.chain(["cost", "priced", "unpriced"]);
    let buckets = |kind| (0..BUCKETS).map(move |nth| format!("{kind}{nth:02}"));
    let all = named.map(str::to_owned);
    all.chain(buckets('d'))
        .chain(buckets('t'))
        .take(count)
        .collect()
}

/// `requests = usage_daily.requests + excluded.requests, …`: adds a row to the one that is there.
pub(crate) fn additions(table: &str, count: usize) -> String {
    let added = columns(count)
        .into_iter()
        .map(|column| format!("{column} = {table}.{column} + excluded.{column}"));
    added.collect::<Vec<_>>().join(", ")
}

/// Sums over entries.
#[derive(Clone, Debug)]
pub(crate) struct Sums([i64; ALL]);

impl Default for Sums {
    fn default() -> Self {
        Self([0; ALL])
    }
}

/// What one entry adds.
pub(crate) struct Measured {
    pub outcome: Outcome,
    pub counts: [Option<i64>; COUNTERS.len()],
    pub cost: Option<i64>,
    pub duration_ms: Option<f64>,
    pub first_token_ms: Option<f64>,
}

impl Measured {
    pub(crate) fn of(entry: &Entry) -> Measured {
        Measured {
            outcome: entry.outcome,
            counts: row::counts(&entry.tokens),
            cost: row::cost(entry),
            duration_ms: Some(entry.duration_ms),
            first_token_ms: entry.first_token_ms,
        }
    }
}

impl Sums {
    pub(crate) fn add_one(&mut self, one: &Measured) {
        let mut add = |nth: usize, more: i64| self.0[nth] = self.0[nth].saturating_add(more);
        add(0, 1);
        add(1, one.outcome.is_error().into());
        for (nth, count) in one.counts.into_iter().enumerate() {
            add(2 + nth, count.unwrap_or(0));
        }
        add(PLAIN - 3, one.cost.unwrap_or(0));
        add(PLAIN - 2, one.cost.is_some().into());
        add(PLAIN - 1, one.cost.is_none().into());
        for (start, ms) in [
            (PLAIN, one.duration_ms),
            (PLAIN + BUCKETS, one.first_token_ms),
        ] {
            if let Some(ms) = ms.filter(|ms| ms.is_finite()) {
                add(start + histogram::bucket(ms), 1);
            }
        }
    }

    pub(crate) fn add(&mut self, other: &Sums) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(more);
        }
    }

    /// The first `count` sums, to be written.
    pub(crate) fn values<'v>(&self, count: usize) -> impl Iterator<Item = Value<'v>> {
        self.0[..count].iter().copied().map(Value::from)
    }

    pub(crate) fn read(row: &mut Row, count: usize) -> Result<Sums, Failure> {
        let mut sums = Sums::default();
        for sum in &mut sums.0[..count] {
            *sum = row.integer()?;
        }
        Ok(sums)
    }

    pub(crate) fn counts(&self) -> Counts {
        let at = |nth: usize| self.0[nth].max(0).cast_unsigned();
        Counts {
            requests: at(0),
            errors: at(1),
            input_tokens: at(2),
            output_tokens: at(3),
            cached_tokens: at(4),
            cache_creation_input_tokens: at(5),
            cache_creation_5m_input_tokens: at(6),
            cache_creation_1h_input_tokens: at(7),
            reasoning_tokens: at(8),
            image_input_tokens: at(9),
            image_output_tokens: at(10),
            web_search_count: at(11),
            cost: self.0[12],
            priced: at(13),
            unpriced: at(14),
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let (duration, first_token) = self.0[PLAIN..].split_at(BUCKETS);
        Totals {
            counts: self.counts(),
            duration_ms: Percentiles::of(duration),
            first_token_ms: Percentiles::of(first_token),
        }
    }
}

/// Sums over requests; the counts of tokens are named as in [`Tokens`](crate::records::Tokens).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub requests: u64,
    /// Requests that ended neither complete nor by their caller's leaving.
    pub errors: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cached_tokens: u64,
    pub cache_creation_input_tokens: u64,
    pub cache_creation_5m_input_tokens: u64,
    pub cache_creation_1h_input_tokens: u64,
    pub reasoning_tokens: u64,
    pub image_input_tokens: u64,
    pub image_output_tokens: u64,
    pub web_search_count: u64,
    /// Nanodollars, of the requests that have a price.
    pub cost: i64,
    /// Requests with a price.
    pub priced: u64,
    /// Requests without one.
    pub unpriced: u64,
}

/// Sums over requests, and how long they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    #[serde(flatten)]
    pub counts: Counts,
    pub duration_ms: Percentiles,
    /// Of the requests whose answer had a first token.
    pub first_token_ms: Percentiles,
}
