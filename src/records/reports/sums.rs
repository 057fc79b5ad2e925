//! What is added up over entries, for sessions and for reports.

use serde::Serialize;

use super::histogram::{self, BUCKETS, Percentiles};
use crate::records::journal::packed::unpacked::JournaledEntry;
use crate::records::{Outcome, Tokens};

/// Counts of tokens that an entry has.
pub(crate) const COUNTS: usize = Tokens::COUNTS;

/// Requests, errors, the counts of tokens, cost, priced and unpriced: what sessions add up.
pub(crate) const PLAIN: usize = 2 + COUNTS + 3;

/// Those, two histograms, and the cost of requests with callers' own credentials: what reports add up.
pub(crate) const ALL: usize = PLAIN + 2 * BUCKETS + 1;

/// Where the cost of requests with callers' own credentials stands. It came last, and stored sums name their places.
pub(crate) const OWN_COST: usize = ALL - 1;

/// A provider may claim any count. This is more than any request has, and a sum of a hundred
/// million of them still fits; an overflow would stop the queue behind the record.
const COUNT_MAX: u64 = 1 << 36;

/// Nanodollars: ten thousand dollars for one request, for the same reason.
const COST_MAX: i64 = 10_000_000_000_000;

/// The counts, bounded.
pub(crate) fn counts(tokens: &Tokens) -> [Option<i64>; COUNTS] {
    let bounded = |count: u64| count.min(COUNT_MAX).cast_signed();
    tokens.counts().map(|count| count.map(bounded))
}

/// The counts of sound, bounded; `None` if there are none.
pub(crate) fn sound(tokens: &Tokens) -> Option<[Option<i64>; 3]> {
    let bounded = |count: u64| count.min(COUNT_MAX).cast_signed();
    let sound = tokens.sound().map(|count| count.map(bounded));
    sound.iter().any(Option::is_some).then_some(sound)
}

/// The cost in nanodollars, bounded.
pub(crate) fn cost(cost: Option<i64>) -> Option<i64> {
    cost.map(|cost| cost.clamp(-COST_MAX, COST_MAX))
}

/// Sums over entries.
#[derive(Clone, Debug)]
pub(crate) struct Sums(pub [i64; ALL]);

impl Default for Sums {
    fn default() -> Self {
        Self([0; ALL])
    }
}

/// What one entry adds.
pub(crate) struct Measured {
    pub outcome: Outcome,
    pub counts: [Option<i64>; COUNTS],
    pub cost: Option<i64>,
    pub duration_ms: Option<f64>,
    pub first_token_ms: Option<f64>,
    pub own_credential: bool,
}

impl Measured {
    pub(in crate::records) fn of(entry: &JournaledEntry<'_>) -> Measured {
        Measured {
            outcome: entry.outcome,
            counts: counts(&entry.tokens),
            cost: cost(entry.cost),
            duration_ms: Some(entry.duration_ms),
            first_token_ms: entry.first_token_ms,
            own_credential: entry.own_credential.0,
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
        if one.own_credential {
            add(OWN_COST, one.cost.unwrap_or(0));
        }
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
            own_credential_cost: self.0[OWN_COST],
            priced: at(13),
            unpriced: at(14),
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let (duration, first_token) = self.0[PLAIN..OWN_COST].split_at(BUCKETS);
        Totals {
            counts: self.counts(),
            duration_ms: Percentiles::of(duration),
            first_token_ms: Percentiles::of(first_token),
        }
    }
}

/// Sums over requests; the counts of tokens are named as in [`Tokens`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
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
    /// Nanodollars of `cost` at list price, of the requests that went with callers' own credentials.
    pub own_credential_cost: i64,
    /// Requests with a price.
    pub priced: u64,
    /// Requests without one.
    pub unpriced: u64,
}

/// Sums over requests, and how long they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Totals {
    #[serde(flatten)]
    pub counts: Counts,
    pub duration_ms: Percentiles,
    /// Of the requests whose answer had a first token, in milliseconds; null where nothing was
    /// measured.
    pub first_token_ms: Percentiles,
}
