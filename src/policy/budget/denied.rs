//! Why a budget or a limit refuses a request.

use std::time::Duration;

use http::StatusCode;

use crate::base::bucket::{Account, ByKey, Chain, Short, Unit};
use crate::wire::Rejection;

/// What a caller is told to wait at least and at most.
const WAIT: std::ops::RangeInclusive<u64> = 1..=30 * 86_400;

/// Why a request gets nothing of its buckets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Buckets are empty, or all that is in them is held.
    #[error("{}", .details.join("; "))]
    Exhausted {
        /// One sentence for each chain of buckets.
        details: Vec<String>,
        /// Until it is worth another try; `None` if it never will be by itself.
        wait: Option<Duration>,
    },
    /// A grant names a budget that there is not, or that could not be understood.
    #[error("budget {quota:?} cannot be applied: {why}")]
    Broken {
        /// Its name.
        quota: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody knows what the model costs, and the budget lets nothing through unpriced.
    #[error("bucket {bucket:?} pays for no model without a known price")]
    Unpriced {
        /// Its name.
        bucket: String,
    },
    /// Balances can't be looked at.
    #[error("budgets are temporarily unavailable")]
    Unavailable,
}

impl Denied {
    /// What is said of `chains` of which some are `short`.
    #[must_use]
    pub fn exhausted(
        chains: &[Chain],
        accounts: &ByKey<Account>,
        short: &[(usize, Short)],
    ) -> Self {
        let details = short.iter().filter_map(|(nth, why)| {
            let chain = chains.get(*nth)?;
            let terms = &chain.links[0].terms;
            let standing: Vec<String> = chain
                .links
                .iter()
                .filter_map(|link| {
                    let account = accounts.get(&link.key)?;
                    let left = link.terms.show(account.level.balance);
                    Some(if account.held > 0 {
                        let held = link.terms.show(account.held);
                        format!("{} has {left}, of which {held} is held", link.bucket)
                    } else {
                        format!("{} has {left}", link.bucket)
                    })
                })
                .collect();
            let what = match terms.unit {
                Unit::Money => "quota exceeded",
                Unit::Requests | Unit::Tokens => "rate limit exceeded",
                Unit::Parallel => "too many requests at once",
            };
            let when = match why.wait {
                None => "it is not refilled".to_owned(),
                Some(_) => terms
                    .rate_text()
                    .map_or_else(String::new, |rate| format!("it is refilled by {rate}")),
            };
            let when = if when.is_empty() || terms.unit == Unit::Parallel {
                String::new()
            } else {
                format!("; {when}")
            };
            Some(format!("{what}: {}{when}", standing.join(", ")))
        });
        // The longest wait is the one that helps; any that is for ever makes it for ever.
        let wait = short
            .iter()
            .map(|(_, why)| why.wait)
            .reduce(|a, b| Some(a?.max(b?)))
            .flatten();
        Self::Exhausted {
            details: details.collect(),
            wait: wait.map(|ms| Duration::from_millis(ms.max(0).cast_unsigned())),
        }
    }

    /// The refusal that the caller gets.
    #[must_use]
    pub fn rejection(&self) -> Rejection {
        match self {
            Self::Unavailable => Rejection::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "quota_unavailable",
                self.to_string(),
            )
            .retry_after(Duration::from_secs(5)),
            _ => Rejection::new(
                StatusCode::TOO_MANY_REQUESTS,
                "insufficient_quota",
                self.to_string(),
            )
            .retry_after(self.wait()),
        }
    }

    /// Whole seconds, rounded up.
    fn wait(&self) -> Duration {
        let Self::Exhausted {
            wait: Some(wait), ..
        } = self
        else {
            return Duration::from_secs(*WAIT.end());
        };
        let seconds = wait.as_millis().div_ceil(1_000);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        Duration::from_secs(seconds.clamp(*WAIT.start(), *WAIT.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bucket::{Level, Link, Terms};

    fn link(bucket: &str, unit: Unit, rate: i64) -> Link {
        Link {
            key: bucket.into(),
            before: None,
            bucket: bucket.into(),
            template: bucket.into(),
            terms: Terms {
                unit,
                capacity: 5_000_000_000,
                rate,
                per: 86_400_000,
                warn_below: 0,
                refuses_unpriced: false,
            },
        }
    }

    /// The message for chains with these waits; each bucket has -1 and the second of them 2 held.
    fn told(chains: Vec<Vec<Link>>, waits: &[Option<i64>]) -> Denied {
        let chains: Vec<Chain> = chains
            .into_iter()
            .map(|links| Chain {
                links: links.into(),
                amount: 1,
            })
            .collect();
        let links = chains.iter().flat_map(|chain| chain.links.iter());
        let accounts = links.enumerate().map(|(nth, link)| {
            let level = Level { balance: -1, at: 0 };
            let held = if nth == 1 { 2 } else { 0 };
            (link.key.clone(), Account { level, held })
        });
        let short = waits.iter().map(|wait| Short { wait: *wait }).enumerate();
        let short: Vec<(usize, Short)> = short.collect();
        Denied::exhausted(&chains, &accounts.collect(), &short)
    }

    #[test]
    fn it_is_told_what_is_short_and_whether_it_comes_back() {
        let chains = vec![
            vec![link("day", Unit::Tokens, 7), link("more", Unit::Tokens, 0)],
            vec![link("money", Unit::Money, 0)],
            vec![link("open", Unit::Parallel, 0)],
        ];
        let denied = told(chains, &[Some(5), None, Some(1_000)]);
        assert_eq!(
            denied.to_string(),
            "rate limit exceeded: day has -1 tokens, more has -1 tokens, of which 2 tokens is held; \
             it is refilled by 7 tokens/day; \
             quota exceeded: money has -$0.0001; it is not refilled; \
             too many requests at once: open has -1 parallel"
        );
        let requests = vec![vec![link("rpm", Unit::Requests, 0)]];
        assert_eq!(
            told(requests, &[Some(5)]).to_string(),
            "rate limit exceeded: rpm has -1 requests"
        );
    }

    #[test]
    fn the_longest_wait_is_told_within_bounds() {
        let month = 30 * 86_400;
        for (waits, seconds) in [
            (&[Some(1_001), Some(900)][..], 2),
            (&[Some(1), Some(3_000)], 3),
            (&[Some(1_000), None], month),
            (&[None, Some(1_000)], month),
            (&[Some(0)], 1),
            (&[Some(-5)], 1),
            (&[Some(i64::MAX)], month),
        ] {
            let chains = waits.iter().map(|_| vec![link("b", Unit::Money, 1)]);
            let rejection = told(chains.collect(), waits).rejection();
            assert_eq!(rejection.status, StatusCode::TOO_MANY_REQUESTS);
            let told = rejection.retry_after;
            assert_eq!(told, Some(Duration::from_secs(seconds)), "{waits:?}");
        }
        let unavailable = Denied::Unavailable.rejection();
        assert_eq!(unavailable.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(unavailable.retry_after, Some(Duration::from_secs(5)));
        let bucket = "b".to_owned();
        let unpriced = Denied::Unpriced { bucket }.rejection();
        assert_eq!(unpriced.retry_after, Some(Duration::from_secs(month)));
    }
}
