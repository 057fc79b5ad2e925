//! A bucket as people and hooks see it.

use serde::Serialize;

use crate::base::bucket::{Account, Link, Unit};

/// A bucket at a time. Amounts are nanodollars, requests, tokens or requests at once, as `unit`
/// says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[schemars(rename = "QuotaState")]
pub struct State {
    /// What it is told apart by, such as `money|daily:<user>|user:7`. A refill names it if another
    /// bucket is called the same.
    pub key: String,
    /// What people call it, such as `daily:pat@example.org`.
    pub bucket: String,
    /// Such as `daily:<user>`.
    pub template: String,
    /// What amounts count; money is in nanodollars.
    #[schemars(with = "String", extend("enum" = ["money", "requests", "tokens", "parallel"]))]
    pub unit: Unit,
    /// What it holds; below zero for what is owed.
    pub current: i64,
    /// What of it is held for requests that run.
    pub held: i64,
    /// The most that it holds.
    pub capacity: i64,
    /// Its refill, such as `$5.00/day`; none where nothing flows in.
    pub rate: Option<String>,
    /// Below this much left, callers are warned; 0 warns nobody.
    pub warn_below: i64,
    /// Seconds until it is full, if nothing is taken; none where it never will be.
    pub full_in: Option<i64>,
    /// Unix milliseconds for which this is true.
    pub at: i64,
}

impl State {
    /// The current state of a bucket.
    #[must_use]
    pub fn new(link: &Link, account: Account) -> Self {
        let terms = &link.terms;
        let missing = terms.capacity.saturating_sub(account.level.balance);
        Self {
            key: link.key.to_string(),
            bucket: link.bucket.to_string(),
            template: link.template.clone(),
            unit: terms.unit,
            current: account.level.balance,
            held: account.held,
            capacity: terms.capacity,
            rate: terms.rate_text(),
            warn_below: terms.warn_below,
            full_in: terms
                .wait(missing)
                .map(|wait| wait.saturating_add(999) / 1_000),
            at: account.level.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bucket::{Level, Terms};

    #[test]
    fn it_says_when_it_will_be_full() {
        let mut link = Link {
            key: "b".into(),
            before: None,
            bucket: "b".into(),
            template: "b".into(),
            terms: Terms {
                unit: Unit::Requests,
                capacity: 10,
                rate: 60,
                per: 60_000,
                warn_below: 2,
                refuses_unpriced: false,
            },
        };
        let account = |balance| Account {
            level: Level { balance, at: 7 },
            held: 1,
        };
        let state = State::new(&link, account(4));
        let figures = (state.current, state.held, state.capacity, state.warn_below);
        assert_eq!(figures, (4, 1, 10, 2));
        assert_eq!((state.full_in, state.at), (Some(6), 7));
        assert_eq!(state.rate.as_deref(), Some("60 requests/min"));
        assert_eq!(State::new(&link, account(10)).full_in, Some(0));
        // Whole seconds, rounded up.
        link.terms.per = 59_999;
        assert_eq!(State::new(&link, account(9)).full_in, Some(1));
        link.terms.rate = 0;
        let state = State::new(&link, account(4));
        assert_eq!((state.full_in, state.rate), (None, None));
    }
}
