//! The fourth stage: what an attempt may cost is held of every bucket that pays for it (429). The only
//! place that holds money, anew for each attempt.

use std::borrow::Cow;
use std::ops::Deref;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, StatusCode};

use super::Gateway;
use super::attempts::{Attempt, Price, Reached};
use super::clear::{Cleared, story};
use super::context::Asked;
use super::draft::Facts;
use super::route::Routed;
use crate::base::money::{Mode, Money};
use crate::base::reasons::Reason;
use crate::base::{clock, panics};
use crate::exchange::hooks::{self, After};
use crate::formats::{Call, Outbound, Tokens};
use crate::policy::budget::{Amounts, Denied, State};
use crate::policy::route::Route;
use crate::records::Entry;
use crate::records::balances::Reservation;
use crate::wire::Rejection;

/// Tokens that an answer is expected to have at most, where its caller sets no bound.
const ANSWER: u64 = 4_096;
/// Tells a caller that a budget is running low.
const WARNING: &str = "x-iris-quota-warning";

/// An attempt at one provider that budgets pay for. Nothing that a caller asks is sent without it.
pub struct Funded<'c> {
    asked: &'c Asked,
    entry: &'c mut Entry,
    attempt: &'c mut Attempt,
    started: Instant,
    outbound: Outbound,
    warnings: Vec<String>,
}

/// Why an attempt is not made.
pub(super) enum Unfunded {
    /// No budget pays for this provider; one may for another.
    Unpaid(Rejection),
    /// No other provider could do better.
    Refused(Rejection),
}

impl From<Rejection> for Unfunded {
    fn from(rejection: Rejection) -> Self {
        // Balances that can't be read can't be read for another provider either.
        if rejection.status == StatusCode::TOO_MANY_REQUESTS {
            Self::Unpaid(rejection)
        } else {
            Self::Refused(rejection)
        }
    }
}

impl Deref for Funded<'_> {
    type Target = Asked;

    fn deref(&self) -> &Asked {
        self.asked
    }
}

impl Funded<'_> {
    /// Where it goes.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.attempt.route
    }

    /// What the provider is sent.
    #[must_use]
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    pub(super) fn attempt(&mut self) -> &mut Attempt {
        self.attempt
    }

    pub(super) fn entry(&mut self) -> &mut Entry {
        self.entry
    }

    /// Notes why something was decided.
    pub(super) fn reason(&mut self, reason: Reason) {
        self.entry.reasons.push(reason);
    }

    pub(super) fn elapsed_ms(&self) -> f64 {
        clock::to_microsecond(self.started.elapsed().as_secs_f64() * 1000.0)
    }

    /// Leaves out what Iris has added so that the provider counts. Answers whether that is possible.
    pub(super) fn without_usage_asked(&mut self) -> bool {
        let to = &self.attempt.route;
        let to = to.provider.destination(&to.model);
        let plain = self.asked.call.without_usage_asked();
        match self.asked.formats.served.prepare(&plain, &to) {
            Ok(outbound) => {
                self.outbound = outbound;
                true
            }
            Err(_) => false,
        }
    }

    /// Puts warnings of budgets on an answer.
    pub(super) fn warn(&self, headers: &mut HeaderMap) {
        for warning in &self.warnings {
            // A login that is no header's text is left out of it.
            if let Ok(value) = HeaderValue::from_str(warning) {
                headers.append(WARNING, value);
            }
        }
    }
}

impl Gateway {
    /// Funds an attempt at the next of the providers.
    pub(super) async fn fund<'c>(&self, cleared: &'c mut Cleared) -> Result<Funded<'c>, Unfunded> {
        let next = cleared.choices_mut().pop_front();
        let (asked, draft) = cleared.split();
        let (Some(route), Some(facts)) = (next, draft.facts_mut()) else {
            return Err(Unfunded::Refused(Rejection::panicked()));
        };
        facts.choose(asked, route);
        let name = format!("{}/{}", facts.entry.id, facts.attempts.len());
        let Facts {
            started,
            entry,
            attempts,
            crossed,
            ..
        } = facts;
        let Some(attempt) = attempts.last_mut() else {
            return Err(Unfunded::Refused(Rejection::panicked()));
        };
        let outbound = self
            .outbound(asked, &attempt.route)
            .map_err(Unfunded::Refused)?;
        panics::point("quota");
        let estimate = estimate(&asked.call, attempt.price.as_ref());
        let (mut warnings, mut states, mut told) = (Vec::new(), Vec::new(), &[][..]);
        if let Some(mut hold) = self.held(asked, &attempt.route, estimate, name).await? {
            entry.reasons.append(&mut hold.reasons);
            crossed.append(&mut hold.crossed);
            warnings = std::mem::take(&mut hold.warnings);
            states = std::mem::take(&mut hold.states);
            told = crossed;
            attempt.hold = Some(hold);
        }
        attempt.told = self.told(asked, &attempt.route, entry, states, told);
        self.traffic.deposit(&asked.call.model);
        let open = self
            .traffic
            .open(&attempt.route.provider, &attempt.route.model);
        attempt.reached = Reached::Funded(open);
        let funded = Funded {
            asked,
            entry,
            attempt,
            started: *started,
            outbound,
            warnings,
        };
        funded.attempt.before_ms = funded.elapsed_ms();
        Ok(funded)
    }

    /// The attempt that was made last, to be sent once more; `None` if nothing is held for it.
    pub(super) fn refund<'c>(&self, cleared: &'c mut Cleared) -> Option<Funded<'c>> {
        let (asked, draft) = cleared.split();
        let facts = draft.facts_mut()?;
        let attempt = facts.attempts.last_mut()?;
        if !attempt.is_funded() {
            return None;
        }
        Some(Funded {
            outbound: self.outbound(asked, &attempt.route).ok()?,
            asked,
            entry: &mut facts.entry,
            attempt,
            started: facts.started,
            warnings: Vec::new(),
        })
    }

    /// Whether the buckets of the first provider could pay for a request, and how they stand.
    pub(super) async fn look_at_buckets(&self, routed: &Routed) -> Result<Vec<State>, Rejection> {
        let (asked, route) = (routed.asked(), &routed.choice().first);
        let denied = |why| denied(&why, asked, route);
        let (permit, caller) = (&asked.permit, &asked.who.caller);
        let plan = asked.rules.quotas.plan(permit, caller, route.subject());
        let plan = plan.map_err(denied)?;
        self.quotas.look(&plan, FREE).await.map_err(denied)
    }

    /// What is held for an attempt; `None` where no bucket has to pay.
    async fn held(
        &self,
        asked: &Asked,
        route: &Route,
        estimate: Amounts,
        name: String,
    ) -> Result<Option<Reservation>, Rejection> {
        let denied = |why| denied(&why, asked, route);
        let (permit, caller) = (&asked.permit, &asked.who.caller);
        let plan = asked.rules.quotas.plan(permit, caller, route.subject());
        let plan = plan.map_err(denied)?;
        if plan.is_empty() {
            return Ok(None);
        }
        let held = self.quotas.reserve(plan, estimate, name).await;
        held.map(Some).map_err(denied)
    }

    /// The hooks that are called once a request has ended.
    fn told(
        &self,
        asked: &Asked,
        route: &Route,
        entry: &Entry,
        states: Vec<State>,
        warnings: &[String],
    ) -> Option<After> {
        let wired = hooks::wired(&asked.rules.file.hooks, &asked.permit, route.subject());
        if wired.is_empty() {
            return None;
        }
        let mut story = story(entry, asked, route, states);
        story.warnings = warnings.to_vec();
        After::new(&wired, &story, &asked.call.body, self.ledger.policy().tools)
    }

    /// What a provider is sent.
    fn outbound(&self, asked: &Asked, route: &Route) -> Result<Outbound, Rejection> {
        let provider = &route.provider;
        let adds = match provider.stream_options {
            Some(adds) => adds,
            None => !self.traffic.refuses_stream_options(provider),
        };
        let call = if adds {
            Cow::Borrowed(&asked.call)
        } else {
            Cow::Owned(asked.call.without_usage_asked())
        };
        let to = provider.destination(&route.model);
        asked.formats.served.prepare(&call, &to)
    }
}

fn denied(denied: &Denied, asked: &Asked, route: &Route) -> Rejection {
    tracing::warn!(
        login_name = asked.who.caller.name(),
        model = %route.subject(),
        detail = %denied,
        "refused by a budget"
    );
    denied.rejection()
}

/// What nobody charges for.
const FREE: Amounts = Amounts {
    tokens: 0,
    cost: Some(Money::ZERO),
};

/// What a call is expected to take. `price` is there if it is billed.
fn estimate(call: &Call, price: Option<&Price>) -> Amounts {
    let Some(price) = price else {
        return FREE;
    };
    let read = price.asked_tokens();
    let written = call.answer_limit.unwrap_or(ANSWER);
    let counts = Tokens {
        input: Some(read),
        output: Some(written),
        ..Tokens::default()
    };
    let cost = price.quote.cost(&counts, Mode::Standard);
    Amounts {
        tokens: i64::try_from(read.saturating_add(written)).unwrap_or(i64::MAX),
        cost: cost.map(|cost| cost.total),
    }
}
