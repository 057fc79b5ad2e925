//! Why a budget or a limit refuses a request.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;

use crate::bucket::{Account, Chain, Short, Unit};
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
    #[error("budgets cannot be looked at at the moment")]
    Unavailable,
}

impl Denied {
    pub(super) fn exhausted(
        chains: &[Chain],
        accounts: &BTreeMap<String, Account>,
        short: &[(usize, Short)],
    ) -> Self {
        let details = short.iter().filter_map(|(nth, why)| {
            let chain = chains.get(*nth)?;
            let terms = &chain.links[0].terms;
            let standing: Vec<String> = chain
                .links
                .iter()
                .filter_map(|link| {
                    let account = accounts.get(&link.bucket)?;
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
