//! What a request is expected to take of its budgets, and what its caller learns about them.

use http::{HeaderMap, HeaderValue};

use super::Gateway;
use crate::base::money::{Mode, Money};
use crate::exchange::relay::Recording;
use crate::exchange::rules::Rules;
use crate::formats::{Call, Tokens};
use crate::policy::access::Permit;
use crate::policy::budget::{Amounts, Denied, State};
use crate::policy::identity::Caller;
use crate::policy::pricing::Quote;
use crate::policy::route::Route;
use crate::wire::Rejection;

/// Tokens that an answer is expected to have at most, where its caller sets no bound.
const ANSWER: u64 = 4_096;
/// Tells a caller that a budget is running low.
const WARNING: &str = "x-iris-quota-warning";

/// What is held for a request.
#[derive(Default)]
pub(super) struct Held {
    /// What its caller should know of the buckets.
    pub(super) warnings: Vec<String>,
    /// The buckets as they stood before.
    pub(super) states: Vec<State>,
    /// The buckets that began to run low with it.
    pub(super) crossed: Vec<String>,
}

impl Gateway {
    /// Holds what a request may cost of every bucket that pays for it.
    pub(super) async fn reserve(
        &self,
        (rules, permit, caller): (&Rules, &Permit, &Caller),
        route: &Route,
        call: &Call,
        recording: &mut Recording,
    ) -> Result<Held, Rejection> {
        let subject = route.subject();
        let denied = |denied: Denied| {
            tracing::warn!(
                login_name = caller.name(),
                model = %subject,
                detail = %denied,
                "refused by a budget"
            );
            denied.rejection()
        };
        let plan = rules.quotas.plan(permit, caller, subject).map_err(denied)?;
        // What an attempt before held is given back first.
        recording.forgo();
        if plan.is_empty() {
            return Ok(Held::default());
        }
        let estimate = estimate(call, recording.asked_tokens(), recording.quote());
        let hold = recording.hold();
        let mut reservation = self
            .quotas
            .reserve(plan, estimate, hold)
            .await
            .map_err(denied)?;
        let reasons = std::mem::take(&mut reservation.reasons);
        recording.note(|entry| entry.reasons.extend(reasons));
        let held = Held {
            warnings: std::mem::take(&mut reservation.warnings),
            states: std::mem::take(&mut reservation.states),
            crossed: recording.crossed(std::mem::take(&mut reservation.crossed)),
        };
        recording.reserve(reservation);
        Ok(held)
    }
}

/// What a call is expected to take. `quote` is there if it is billed.
fn estimate(call: &Call, read: u64, quote: Option<&Quote>) -> Amounts {
    let Some(quote) = quote else {
        return Amounts {
            tokens: 0,
            cost: Some(Money::ZERO),
        };
    };
    let written = call.answer_limit.unwrap_or(ANSWER);
    let counts = Tokens {
        input: Some(read),
        output: Some(written),
        ..Tokens::default()
    };
    Amounts {
        tokens: i64::try_from(read.saturating_add(written)).unwrap_or(i64::MAX),
        cost: quote.cost(&counts, Mode::Standard).map(|cost| cost.total),
    }
}

/// Puts warnings of budgets on an answer.
pub(super) fn tell(warnings: &[String], headers: &mut HeaderMap) {
    for warning in warnings {
        // A login that is no header's text is left out of it.
        if let Ok(value) = HeaderValue::from_str(warning) {
            headers.append(WARNING, value);
        }
    }
}
