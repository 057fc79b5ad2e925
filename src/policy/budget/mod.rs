//! Budgets and limits: which buckets pay for a request, how much of each it is expected to take, and
//! why one refuses it. What buckets hold, and what of it is held for requests that run, is kept by
//! `records::balances`.

mod definitions;
mod denied;
mod low;
mod state;

pub use definitions::{Definitions, Plan};
pub use denied::Denied;
pub use low::Low;
pub use state::State;

use std::sync::Arc;

use crate::base::bucket::{Chain, Unit};
use crate::base::money::Money;
use crate::base::text::Text;

/// What a request takes: estimated before, counted after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Tokens read and written.
    pub tokens: i64,
    /// What they cost; `None` where no price is known.
    pub cost: Option<Money>,
}

impl Amounts {
    /// What a request without a price takes, before anything is counted.
    pub const FREE: Self = Self {
        tokens: 0,
        cost: Some(Money::ZERO),
    };

    /// What a bucket of this unit is expected to give.
    fn estimated(self, unit: Unit) -> i64 {
        match unit {
            Unit::Parallel => 1,
            unit => self.spent(unit),
        }
    }

    /// What is taken of a bucket of this unit once the request has ended.
    #[must_use]
    pub fn spent(self, unit: Unit) -> i64 {
        match unit {
            Unit::Money => self.cost.map_or(0, Money::nanodollars),
            Unit::Tokens => self.tokens,
            Unit::Requests => 1,
            Unit::Parallel => 0,
        }
    }
}

impl Plan {
    /// What a request is expected to take of each chain of buckets.
    ///
    /// # Errors
    /// [`Denied::Unpriced`] where a bucket pays for nothing without a price.
    pub fn chains(&self, estimate: Amounts) -> Result<Vec<Chain>, Denied> {
        let chains = self.chains.iter().map(|planned| {
            let first = &planned.links[0];
            if first.terms.unit == Unit::Money
                && first.terms.refuses_unpriced
                && estimate.cost.is_none()
            {
                let bucket = first.bucket.to_string();
                return Err(Denied::Unpriced { bucket });
            }
            let amount = estimate.estimated(planned.unit);
            let links = Arc::clone(&planned.links);
            Ok(Chain { links, amount })
        });
        chains.collect()
    }

    /// The grants that name each chain of buckets.
    pub fn sources(&self) -> impl Iterator<Item = &Text> {
        self.chains.iter().map(|planned| &planned.source)
    }
}
