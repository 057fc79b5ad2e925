//! Token buckets as arithmetic alone: what a bucket may hold, what it holds at a time, and how
//! a sum is taken from a chain of them. Nothing here waits, stores or reads a clock.

mod by_key;
mod chain;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use by_key::ByKey;
pub use chain::{Account, Chain, Link, Settlement, Short, admit_all, spend};

/// A clock that is this far behind a bucket's was set back. Below that the
/// clocks of two nodes differ, and a bucket must not be refilled twice for the same time.
const CLOCK_SET_BACK: i64 = 5 * 60 * 1000;

/// What a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanodollars.
    Money,
    /// Requests sent to a provider.
    Requests,
    /// Tokens, read and written.
    Tokens,
    /// Requests that run at the same time.
    Parallel,
}

impl Unit {
    /// Its word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Money => "money",
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Parallel => "parallel",
        }
    }
}

/// What a bucket may hold, and how fast it fills again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What is counted.
    pub unit: Unit,
    /// The most that it holds, and what it begins with.
    pub capacity: i64,
    /// What flows in during `per`.
    pub rate: i64,
    /// Milliseconds, above zero.
    pub per: i64,
    /// Below this much left, callers are warned; zero never warns.
    pub warn_below: i64,
    /// Whether what has no known price is refused instead of going for nothing.
    pub refuses_unpriced: bool,
}

/// What a bucket holds at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// May be below zero: a response can cost more than was left.
    pub balance: i64,
    /// Unix milliseconds up to which the refill is counted.
    pub at: i64,
}

impl Terms {
    /// An unused bucket.
    #[must_use]
    pub fn full(&self, now: i64) -> Level {
        Level {
            balance: self.capacity,
            at: now,
        }
    }

    /// What a bucket holds at `now`: refilled by the time that has passed, and never more than
    /// its capacity, whatever that was when the level was written.
    #[must_use]
    pub fn at(&self, level: Level, now: i64) -> Level {
        let balance = level.balance.min(self.capacity);
        let passed = now.saturating_sub(level.at);
        if passed <= 0 {
            let at = if passed < -CLOCK_SET_BACK {
                now
            } else {
                level.at
            };
            return Level { balance, at };
        }
        if balance == self.capacity || self.rate == 0 {
            return Level { balance, at: now };
        }
        let (rate, per) = (i128::from(self.rate), i128::from(self.per));
        let flowed = rate * i128::from(passed) / per;
        let refilled = i128::from(balance) + flowed;
        if refilled >= i128::from(self.capacity) {
            return self.full(now);
        }
        // Only the time of whole units is used up: a slow rate would else never fill anything.
        let used = (flowed * per + rate - 1) / rate;
        Level {
            balance: clamp(refilled),
            at: level.at.saturating_add(clamp(used)),
        }
    }

    /// Milliseconds until `missing` has flowed in; `None` if that never happens.
    #[must_use]
    pub fn wait(&self, missing: i64) -> Option<i64> {
        if missing <= 0 {
            return Some(0);
        }
        if self.rate <= 0 {
            return None;
        }
        let (rate, per) = (i128::from(self.rate), i128::from(self.per));
        Some(clamp((i128::from(missing) * per + rate - 1) / rate))
    }

    /// An amount of this bucket's unit, for people.
    #[must_use]
    pub fn show(&self, amount: i64) -> Shown {
        Shown(self.unit, amount)
    }

    /// The refill, for people; `None` without one.
    #[must_use]
    pub fn rate_text(&self) -> Option<String> {
        let per = match self.per {
            60_000 => "min",
            3_600_000 => "hour",
            86_400_000 => "day",
            604_800_000 => "week",
            _ => "month",
        };
        (self.rate > 0).then(|| format!("{}/{per}", self.show(self.rate)))
    }
}

/// An amount with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown(Unit, i64);

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(unit, amount) = *self;
        match unit {
            Unit::Money => {
                let sign = if amount < 0 { "-" } else { "" };
                // Whole hundredths of a cent, towards what is less.
                let units = amount.div_euclid(100_000).unsigned_abs();
                let (dollars, rest) = (units / 10_000, units % 10_000);
                if rest % 100 == 0 {
                    write!(out, "{sign}${dollars}.{:02}", rest / 100)
                } else {
                    write!(out, "{sign}${dollars}.{rest:04}")
                }
            }
            Unit::Requests => write!(out, "{amount} requests"),
            Unit::Tokens => write!(out, "{amount} tokens"),
            Unit::Parallel => write!(out, "{amount} parallel"),
        }
    }
}

fn clamp(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn terms(capacity: i64, rate: i64, per: i64) -> Terms {
        Terms {
            unit: Unit::Money,
            capacity,
            rate,
            per,
            warn_below: 0,
            refuses_unpriced: false,
        }
    }

    pub(super) const fn level(balance: i64, at: i64) -> Level {
        Level { balance, at }
    }

    #[test]
    fn a_bucket_fills_continuously_up_to_its_capacity() {
        let terms = terms(1_000, 600, 60_000);
        let start = level(-100, 0);
        assert_eq!(terms.at(start, 5_000).balance, -50);
        assert_eq!(terms.at(start, 110_000).balance, 1_000);
        assert_eq!(terms.at(start, i64::MAX), terms.full(i64::MAX));
    }

    #[test]
    fn only_the_time_of_whole_units_is_used_up() {
        let terms = terms(1_000, 600, 60_000);
        assert_eq!(terms.at(level(-100, 0), 5_050), level(-50, 5_000));
        let closed = Terms { rate: 0, ..terms };
        assert_eq!(closed.at(level(-100, 0), 5_050), level(-100, 5_050));
    }

    #[test]
    fn looking_often_takes_nothing_from_a_slow_bucket() {
        let terms = terms(60, 1, 60_000);
        let mut level = Level { balance: 0, at: 0 };
        for now in (0..=600_000).step_by(7) {
            level = terms.at(level, now);
        }
        level = terms.at(level, 600_000);
        assert_eq!(level.balance, 10);
    }

    #[test]
    fn looking_often_gives_nothing_either() {
        for (rate, per) in [(7, 1_000), (1_000_003, 60_000), (1, 86_400_000), (3, 7)] {
            let terms = terms(i64::MAX, rate, per);
            let mut level = Level { balance: 0, at: 0 };
            for now in 1..50_000 {
                level = terms.at(level, now);
                let most = i128::from(rate) * i128::from(now) / i128::from(per);
                assert!(i128::from(level.balance) <= most, "{rate}/{per} at {now}");
            }
        }
    }

    #[test]
    fn a_lower_capacity_clips_and_a_clock_set_back_refills_nothing() {
        let terms = terms(50, 10, 1_000);
        assert_eq!(terms.at(level(80, 1_000), 1_000).balance, 50);
        let low = level(10, 10_000_000);
        let skewed = terms.at(low, 10_000_000 - 1_000);
        assert_eq!(skewed, low, "another node's clock");
        assert_eq!(terms.at(low, low.at - CLOCK_SET_BACK), low);
        let further = low.at - CLOCK_SET_BACK - 1;
        assert_eq!(terms.at(low, further).at, further);
        let back = terms.at(low, 1_000_000);
        assert_eq!((back.balance, back.at), (10, 1_000_000));
        assert_eq!(terms.at(back, 1_001_000).balance, 20);
    }

    #[test]
    fn waits_are_rounded_up_and_can_be_for_ever() {
        assert_eq!(terms(10, 3, 1_000).wait(1), Some(334));
        assert_eq!(terms(10, 3, 1_000).wait(0), Some(0));
        assert_eq!(terms(10, 0, 1_000).wait(1), None);
        assert_eq!(terms(10, 1, i64::MAX).wait(i64::MAX), Some(i64::MAX));
        assert_eq!((clamp(i128::MIN), clamp(i128::MAX)), (i64::MIN, i64::MAX));
    }

    #[test]
    fn amounts_are_shown_with_their_unit() {
        let terms = terms(0, 5_000_000_000, 86_400_000);
        for (amount, text) in [
            (5_000_000_000, "$5.00"),
            (420_000_000, "$0.42"),
            (12_345_678, "$0.0123"),
            (0, "$0.00"),
            (-1, "-$0.0001"),
            (-2_500_000_000, "-$2.50"),
        ] {
            assert_eq!(terms.show(amount).to_string(), text);
        }
        for (per, text) in [
            (60_000, "$5.00/min"),
            (3_600_000, "$5.00/hour"),
            (86_400_000, "$5.00/day"),
            (604_800_000, "$5.00/week"),
            (2_592_000_000, "$5.00/month"),
        ] {
            assert_eq!(Terms { per, ..terms }.rate_text().as_deref(), Some(text));
        }
        assert_eq!(Terms { rate: 0, ..terms }.rate_text(), None);
        let requests = Terms {
            unit: Unit::Requests,
            ..terms
        };
        assert_eq!(requests.show(3).to_string(), "3 requests");
    }
}
