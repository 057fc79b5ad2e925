//! Attempts at the providers of a request, one after the other, until one answers. Another is asked
//! only while nothing of a response has reached the caller, and after a failure only while the
//! budget of retries allows it.

use std::sync::Arc;
use std::time::Duration;

use super::Gateway;
use super::clear::Cleared;
use super::context::Asked;
use super::ending::Ending;
use super::fund::Unfunded;
use crate::base::clock::backoff;
use crate::base::reasons::{self, Reason};
use crate::config::{AuthMode, Routing};
use crate::exchange::hooks::After;
use crate::exchange::upstream::Failure;
use crate::formats::{Density, Tokens};
use crate::policy::pricing::{Prices, Quote};
use crate::policy::route::{InFlight, Route, Scope, Standing};
use crate::records::balances::Reservation;
use crate::wire::Rejection;

/// Before a provider that refused the connection is asked once more.
const PAUSE: Duration = Duration::from_millis(100);

/// An attempt at one provider.
pub(super) struct Attempt {
    pub(super) route: Route,
    /// What it costs; `None` for what is not billed.
    pub(super) price: Option<Price>,
    /// What is held of budgets; `None` where none has to pay.
    pub(super) hold: Option<Reservation>,
    /// The hooks that are called after the request.
    pub(super) told: Option<After>,
    pub(super) reached: Reached,
    /// Milliseconds from the request to this attempt.
    pub(super) before_ms: f64,
    /// Headers of its response by which the record can be found.
    pub(super) headers: Vec<(String, String)>,
    /// What the head of its response counts, for what its body doesn't.
    pub(super) in_head: Tokens,
}

/// What a provider's answer costs, and what bytes stand for where it doesn't count.
pub(super) struct Price {
    pub(super) quote: Quote,
    /// The prices of other models, one of which the provider may have used.
    pub(super) prices: Arc<Prices>,
    pub(super) density: Density,
    /// Bytes of the request that count as text.
    pub(super) asked_bytes: u64,
}

impl Price {
    /// The tokens of the request, estimated by its bytes.
    pub(super) fn asked_tokens(&self) -> u64 {
        self.density.input(self.asked_bytes)
    }
}

/// How far an attempt has come.
pub(super) enum Reached {
    /// A provider is chosen.
    Chosen,
    /// It is being reached, with what the request may cost held.
    Funded(InFlight),
    /// It has the request, so it may be at work.
    Asked(InFlight),
    /// Nothing more comes of it. It may have worked all the same.
    Over { worked: bool },
}

impl Attempt {
    /// An attempt at a provider of which nothing is held yet.
    pub(super) fn new(asked: &Asked, route: Route, before_ms: f64) -> Self {
        let (rules, call) = (&asked.rules, &asked.call);
        let price = call.billed.then(|| Price {
            quote: rules.prices.quote(&route.provider.id, &route.model),
            prices: Arc::clone(&rules.prices),
            density: (asked.formats.served.density)(&call.path),
            asked_bytes: call.text_bytes(),
        });
        Self {
            route,
            price,
            hold: None,
            told: None,
            reached: Reached::Chosen,
            before_ms,
            headers: Vec::new(),
            in_head: Tokens::default(),
        }
    }

    /// Whether it is funded, and not over.
    pub(super) fn is_funded(&self) -> bool {
        matches!(self.reached, Reached::Funded(_) | Reached::Asked(_))
    }

    /// Whether a provider has the request, so that it may have worked.
    pub(super) fn is_asked(&self) -> bool {
        matches!(
            self.reached,
            Reached::Asked(_) | Reached::Over { worked: true }
        )
    }

    /// The request as it is open at the provider.
    pub(super) fn open(&mut self) -> Option<&mut InFlight> {
        match &mut self.reached {
            Reached::Funded(open) | Reached::Asked(open) => Some(open),
            Reached::Chosen | Reached::Over { .. } => None,
        }
    }

    /// The provider gets the request.
    pub(super) fn ask(&mut self) {
        let before = std::mem::replace(&mut self.reached, Reached::Chosen);
        self.reached = match before {
            Reached::Funded(open) => Reached::Asked(open),
            other => other,
        };
    }

    /// No response has come; to a WebSocket that didn't open, nothing was sent either.
    pub(super) fn fail(&mut self, failure: &Failure, routing: &Routing) {
        let (is_shared, why) = (self.is_shared(), failure.to_string());
        let worked = self.is_asked() && failure.leaves_work();
        if let Some(open) = self.open() {
            match failure {
                Failure::Declined { wait, .. } if failure.is_limit() && is_shared => {
                    open.limited(&why, *wait);
                }
                Failure::Declined { .. } if failure.is_limit() => open.succeeded(),
                _ if failure.is_the_providers() => {
                    open.failed(&why, failure.scope(), routing);
                }
                Failure::Declined { .. } => open.succeeded(),
                _ => {}
            }
        }
        self.reached = Reached::Over { worked };
    }

    /// The provider has broken off before anything of its response could be used.
    pub(super) fn break_off(&mut self, why: &str, routing: &Routing) {
        if let Some(open) = self.open() {
            open.failed(why, Scope::Model, routing);
        }
    }

    /// Whether the provider's limits are those of everybody: a caller's own credential has limits of
    /// its own.
    pub(super) fn is_shared(&self) -> bool {
        self.route.provider.auth_mode != AuthMode::Passthrough
    }

    /// Nothing more comes of it: what it holds is given back.
    fn leave(&mut self) {
        self.hold = None;
        self.reached = Reached::Over {
            worked: self.is_asked(),
        };
    }

    /// Tells how the provider has done, now that the exchange has ended.
    pub(super) fn judge(&mut self, ending: &Ending, routing: &Routing) {
        let Reached::Asked(open) = &mut self.reached else {
            return;
        };
        match (ending.fault(), ending) {
            (Some(why), _) => open.failed(why, Scope::Model, routing),
            (None, Ending::Complete) => open.succeeded(),
            // A caller who leaves tells nothing of the provider.
            _ => {}
        }
    }
}

/// What came of an attempt.
pub(super) enum Outcome<A> {
    /// No other provider could do better.
    Answered(A),
    /// The provider says that it can't, or none was reached. The caller gets `instead`, unless
    /// another is asked.
    Failed {
        why: String,
        is_unsent: bool,
        instead: Result<A, Rejection>,
    },
    /// It takes no requests for a while; for how long, if it says so.
    Limited {
        why: String,
        wait: Option<Duration>,
        instead: Result<A, Rejection>,
    },
    /// No budget pays for it.
    Unpaid(Rejection),
    /// The request can't be sent, to none.
    Refused(Rejection),
}

impl<A> From<Unfunded> for Outcome<A> {
    fn from(unfunded: Unfunded) -> Self {
        match unfunded {
            Unfunded::Unpaid(rejection) => Self::Unpaid(rejection),
            Unfunded::Refused(rejection) => Self::Refused(rejection),
        }
    }
}

impl<A> From<Failure> for Outcome<A> {
    fn from(failure: Failure) -> Self {
        let instead = Err(failure.rejection());
        match &failure {
            Failure::Declined { wait, .. } if failure.is_limit() => Self::Limited {
                why: failure.to_string(),
                wait: *wait,
                instead,
            },
            Failure::Declined { .. } if !failure.may_be_another() => {
                Self::Refused(failure.rejection())
            }
            _ => Self::Failed {
                why: failure.to_string(),
                is_unsent: matches!(failure, Failure::Unreachable { sent: false, .. }),
                instead,
            },
        }
    }
}

/// Where to go on after an attempt.
pub(super) enum Then<A> {
    /// To the next of the providers, after a pause if there is one.
    Next(Option<Duration>),
    /// This is the caller's. Of several limits it is told the shortest, if that is not told already.
    End(Result<A, Rejection>, Option<Duration>),
}

/// What came of the attempts so far.
pub(super) struct Tries<A> {
    /// The number of this one.
    nth: u32,
    /// Attempts that count towards the bound of the configuration.
    counted: u32,
    is_repeated: bool,
    /// When this one began, in milliseconds from the request.
    began_ms: f64,
    /// The shortest time after which a provider that is limited takes requests again.
    soonest: Option<Duration>,
    /// What an earlier attempt came to, in case that no budget pays for a later one.
    earlier: Option<Earlier<A>>,
    /// The refusal by budgets after which it is soonest worth another try.
    unpaid: Option<Rejection>,
}

/// What an attempt came to before another provider was asked.
struct Earlier<A> {
    at: usize,
    result: Result<A, Rejection>,
    limit: Option<Limit>,
}

/// A provider takes no requests for a while; for how long, if it says so.
#[derive(Clone, Copy)]
struct Limit(Option<Duration>);

impl<A> Tries<A> {
    pub(super) fn new() -> Self {
        Self {
            nth: 1,
            counted: 1,
            is_repeated: false,
            began_ms: 0.0,
            soonest: None,
            earlier: None,
            unpaid: None,
        }
    }

    /// An attempt begins. Answers whether another could follow if it fails.
    pub(super) fn begin(&mut self, cleared: &mut Cleared) -> bool {
        self.began_ms = cleared.draft().elapsed_ms();
        let most = cleared.asked().rules.file.routing.attempts;
        self.counted < most && cleared.choices().len() > 1
    }

    fn wait(&mut self, wait: Option<Duration>) {
        self.soonest = [self.soonest, wait].into_iter().flatten().min();
    }

    /// Keeps the refusal that names the shortest wait. One that names none is for good.
    fn unpaid(&mut self, rejection: Rejection) {
        let wait = |one: &Rejection| one.retry_after.unwrap_or(Duration::MAX);
        let before = self.unpaid.as_ref();
        if before.is_none_or(|before| wait(&rejection) < wait(before)) {
            self.unpaid = Some(rejection);
        }
    }

    fn end(&self, result: Result<A, Rejection>, limit: Option<Limit>) -> Then<A> {
        let own = limit.map(|Limit(own)| own.unwrap_or(Duration::MAX));
        let soonest = self
            .soonest
            .filter(|soonest| own.is_some_and(|own| *soonest < own));
        let result = result.map_err(|rejection| match soonest {
            Some(soonest) => rejection.retry_after(soonest),
            None => rejection,
        });
        Then::End(result, soonest)
    }
}

impl Gateway {
    /// Decides what becomes of an exchange after an attempt.
    pub(super) fn judge<A>(
        &self,
        tries: &mut Tries<A>,
        cleared: &mut Cleared,
        outcome: Outcome<A>,
    ) -> Then<A> {
        match outcome {
            Outcome::Answered(answer) => Then::End(Ok(answer), None),
            Outcome::Refused(rejection) => Then::End(Err(rejection), None),
            Outcome::Unpaid(rejection) => {
                tries.unpaid(rejection);
                unpaid(tries, cleared)
            }
            // A limit costs neither the provider nor the callers anything: it is no reason not to
            // ask one that is idle.
            Outcome::Limited { why, wait, instead } => {
                tries.wait(wait);
                if self.has_unlimited(tries, cleared) {
                    go_on(tries, cleared, &why, instead, Some(Limit(wait)))
                } else {
                    tries.end(instead, Some(Limit(wait)))
                }
            }
            Outcome::Failed {
                why,
                is_unsent,
                instead,
            } => {
                let most = cleared.asked().rules.file.routing.attempts;
                let has_others = !cleared.choices().is_empty();
                let again = !has_others && is_unsent && !tries.is_repeated;
                let may = tries.counted < most
                    && (has_others || again)
                    && self.traffic.retry(&cleared.asked().call.model);
                if !may {
                    return tries.end(instead, None);
                }
                tries.counted += 1;
                if again {
                    tries.is_repeated = true;
                    return repeat(tries, cleared, &why);
                }
                go_on(tries, cleared, &why, instead, None)
            }
        }
    }

    /// Whether there is another provider that is not known to take no requests. Those before it are
    /// passed over.
    fn has_unlimited<A>(&self, tries: &mut Tries<A>, cleared: &mut Cleared) -> bool {
        while let Some(next) = cleared.choices().front() {
            match self.traffic.standing(&next.provider, &next.model) {
                Standing::Limited(left) => {
                    tries.wait(Some(left));
                    cleared.choices_mut().pop_front();
                }
                _ => return true,
            }
        }
        false
    }
}

/// Goes on with another provider.
fn go_on<A>(
    tries: &mut Tries<A>,
    cleared: &mut Cleared,
    why: &str,
    result: Result<A, Rejection>,
    limit: Option<Limit>,
) -> Then<A> {
    leave(tries, cleared, why, reasons::Next::Another);
    let attempts = cleared.draft().facts().map(|facts| facts.attempts.len());
    tries.earlier = Some(Earlier {
        at: attempts.unwrap_or_default().saturating_sub(1),
        result,
        limit,
    });
    Then::Next(None)
}

/// Goes on with the only provider, which refused the connection.
fn repeat<A>(tries: &mut Tries<A>, cleared: &mut Cleared, why: &str) -> Then<A> {
    leave(tries, cleared, why, reasons::Next::Same);
    let route = cleared.draft().attempt();
    if let Some(route) = route.map(|attempt| attempt.route.clone()) {
        cleared.choices_mut().push_front(route);
    }
    Then::Next(Some(backoff(PAUSE, 0, PAUSE)))
}

fn leave<A>(tries: &mut Tries<A>, cleared: &mut Cleared, why: &str, next: reasons::Next) {
    let ms = cleared.draft().elapsed_ms() - tries.began_ms;
    let Some(attempt) = cleared.draft().attempt() else {
        return;
    };
    attempt.leave();
    let provider = attempt.route.provider.id.clone();
    cleared.draft().reason(Reason::AttemptFailed {
        attempt: tries.nth,
        provider,
        ms,
        why: why.to_owned(),
        next,
    });
    tries.nth += 1;
}

/// No budget pays for an attempt. If it was the last, the caller gets what an earlier one came to,
/// if there was one.
fn unpaid<A>(tries: &mut Tries<A>, cleared: &mut Cleared) -> Then<A> {
    if !cleared.choices().is_empty() {
        if let Some(attempt) = cleared.draft().attempt() {
            let provider = attempt.route.provider.id.clone();
            cleared.draft().reason(Reason::Unpaid { provider });
        }
        return Then::Next(None);
    }
    let rejection = tries.unpaid.take();
    let Some(earlier) = tries.earlier.take() else {
        let rejection = rejection.unwrap_or_else(Rejection::panicked);
        return Then::End(Err(rejection), None);
    };
    if let Some(facts) = cleared.draft().facts_mut() {
        facts.go_back(earlier.at);
    }
    tries.wait(rejection.and_then(|rejection| rejection.retry_after));
    tries.end(earlier.result, earlier.limit)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn of_several_refusals_the_one_is_told_that_ends_first() {
        for (waits, expected) in [
            (&[None, Some(3)][..], Some(3)),
            (&[Some(3), None], Some(3)),
            (&[Some(3), Some(1), Some(2)], Some(1)),
        ] {
            let mut tries: Tries<()> = Tries::new();
            for wait in waits {
                let refused = Rejection::new(StatusCode::TOO_MANY_REQUESTS, "limited", "");
                tries.unpaid(match wait {
                    Some(wait) => refused.retry_after(Duration::from_secs(*wait)),
                    None => refused,
                });
            }
            let wait = tries.unpaid.and_then(|told| told.retry_after);
            assert_eq!(wait, expected.map(Duration::from_secs));
        }
    }

    #[test]
    fn of_several_limits_the_shortest_is_told() {
        let seconds = Duration::from_secs;
        for (own, others, expected) in [
            (Some(9), vec![9, 3], Some(3)),
            (None, vec![3], Some(3)),
            (Some(2), vec![2, 3], None),
            (None, vec![], None),
        ] {
            let mut tries: Tries<()> = Tries::new();
            for other in others {
                tries.wait(Some(seconds(other)));
            }
            let Then::End(_, told) = tries.end(Ok(()), Some(Limit(own.map(seconds)))) else {
                panic!("it ends");
            };
            assert_eq!(told, expected.map(seconds), "{own:?}");
        }
        let mut tries: Tries<()> = Tries::new();
        tries.wait(Some(seconds(3)));
        let failed = Rejection::new(StatusCode::BAD_GATEWAY, "failed", "");
        let Then::End(Err(told), None) = tries.end(Err(failed), None) else {
            panic!("a failure is no limit");
        };
        assert_eq!(told.retry_after, None);
    }
}
