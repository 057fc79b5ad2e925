//! Attempts at the providers of a request, one after the other, until one answers. Another is asked
//! only while nothing of a response has reached the caller, and after a failure only while the
//! budget of retries allows it.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::Gateway;
use super::clear::Cleared;
use super::context::Candidate;
use super::failure::Failure;
use super::fund::Funded;
use super::translation::UNTRANSLATABLE;
use crate::base::clock::backoff;
use crate::base::reasons::{self, Reason};
use crate::policy::route::Standing;
use crate::wire::Rejection;

/// Before a provider that refused the connection is asked once more.
const PAUSE: Duration = Duration::from_millis(100);

/// How providers are asked: over HTTP, or with a frame of a WebSocket.
pub(super) trait Ask {
    type Response;

    /// Asks one provider; with `may_go_on` another could follow if it fails.
    async fn attempt(&mut self, funded: Funded<'_>, may_go_on: bool) -> Outcome<Self::Response>;
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
    /// The provider's format can't express it.
    Untranslatable(Rejection),
    /// The request can't be sent, to none.
    Refused(Rejection),
}

impl<A> Outcome<A> {
    /// The same for those who have several kinds of responses.
    pub(super) fn map<B>(self, map: fn(A) -> B) -> Outcome<B> {
        match self {
            Self::Answered(response) => Outcome::Answered(map(response)),
            Self::Failed {
                why,
                is_unsent,
                instead,
            } => Outcome::Failed {
                why,
                is_unsent,
                instead: instead.map(map),
            },
            Self::Limited { why, wait, instead } => Outcome::Limited {
                why,
                wait,
                instead: instead.map(map),
            },
            Self::Unpaid(rejection) => Outcome::Unpaid(rejection),
            Self::Untranslatable(rejection) => Outcome::Untranslatable(rejection),
            Self::Refused(rejection) => Outcome::Refused(rejection),
        }
    }

    /// An attempt wasn't funded. Another provider may be paid for; any other refusal would be the same there.
    fn unfunded(rejection: Rejection) -> Self {
        if rejection.status == StatusCode::TOO_MANY_REQUESTS {
            Self::Unpaid(rejection)
        } else if rejection.code.0 == UNTRANSLATABLE {
            Self::Untranslatable(rejection)
        } else {
            Self::Refused(rejection)
        }
    }

    /// No response has come from a provider.
    pub(super) fn failed(failure: &Failure, provider: &str) -> Self {
        let rejection = failure.rejection(provider);
        if !failure.may_be_another() {
            return Self::Refused(rejection);
        }
        let (why, instead) = (failure.of(provider), Err(rejection));
        match failure {
            Failure::Declined { wait, .. } if failure.is_limit() => Self::Limited {
                why,
                wait: *wait,
                instead,
            },
            _ => Self::Failed {
                why,
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
    /// The shortest time after which a provider that is limited takes requests again.
    soonest: Option<Duration>,
    /// What an earlier attempt came to, in case that no budget pays for a later one.
    earlier: Option<Earlier<A>>,
    /// Of the refusals of requests that weren't sent, the one after which another try is soonest worth it.
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
            soonest: None,
            earlier: None,
            unpaid: None,
        }
    }

    /// Whether another attempt could follow if the next one fails.
    fn may_go_on(&self, cleared: &Cleared) -> bool {
        let routing = cleared.asked().rules.file.routing;
        routing.failover && self.counted < routing.attempts && cleared.choices.len() > 1
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
    /// Tries the providers of a request until one responds or none is left. Also returns the retry delay for the
    /// caller, if it is shorter than the provider's own.
    pub(super) async fn ask<A: Ask>(
        &self,
        provider: &mut A,
        tries: &mut Tries<A::Response>,
        cleared: &mut Cleared,
    ) -> (Result<A::Response, Rejection>, Option<Duration>) {
        loop {
            let may_go_on = tries.may_go_on(cleared);
            let outcome = match self.fund(cleared).await {
                Ok(funded) => provider.attempt(funded, may_go_on).await,
                Err(rejection) => Outcome::unfunded(rejection),
            };
            match self.judge(tries, cleared, outcome) {
                Then::Next(None) => {}
                Then::Next(Some(pause)) => tokio::time::sleep(pause).await,
                Then::End(result, soonest) => return (result, soonest),
            }
        }
    }

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
                if !cleared.choices.is_empty()
                    && let Some(attempt) = cleared.draft.attempt()
                {
                    let provider = attempt.route.provider.id.clone();
                    cleared.draft.reason(Reason::Unpaid { provider });
                }
                unsent(tries, cleared)
            }
            Outcome::Untranslatable(rejection) => {
                tries.unpaid(rejection);
                unsent(tries, cleared)
            }
            // A limit costs neither the provider nor the callers anything: it is no reason not to
            // ask one that is idle.
            Outcome::Limited { why, wait, instead } => {
                tries.wait(wait);
                let fails_over = cleared.asked().rules.file.routing.failover;
                if fails_over && self.has_unlimited(tries, cleared) {
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
                let routing = cleared.asked().rules.file.routing;
                let has_others = routing.failover && !cleared.choices.is_empty();
                let again = !has_others && is_unsent && !tries.is_repeated;
                let may = tries.counted < routing.attempts
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
        while let Some(next) = cleared.choices.front() {
            match self
                .traffic
                .standing(&next.route.provider, &next.route.model)
            {
                Standing::Limited(left) => {
                    tries.wait(Some(left));
                    cleared.choices.pop_front();
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
    tries.earlier = Some(Earlier {
        at: cleared.draft.attempts.len().saturating_sub(1),
        result,
        limit,
    });
    Then::Next(None)
}

/// Goes on with the only provider, which refused the connection.
fn repeat<A>(tries: &mut Tries<A>, cleared: &mut Cleared, why: &str) -> Then<A> {
    leave(tries, cleared, why, reasons::Next::Same);
    let last = cleared.draft.attempts.last();
    cleared.choices.extend(last.map(|attempt| Candidate {
        route: attempt.route.clone(),
        terms: Arc::clone(&attempt.terms),
    }));
    Then::Next(Some(backoff(PAUSE, 0, PAUSE)))
}

fn leave<A>(tries: &mut Tries<A>, cleared: &mut Cleared, why: &str, next: reasons::Next) {
    let now_ms = cleared.draft.elapsed_ms();
    let Some(attempt) = cleared.draft.attempt() else {
        return;
    };
    let ms = now_ms - attempt.chosen_ms;
    attempt.leave();
    let provider = attempt.route.provider.id.clone();
    cleared.draft.reason(Reason::AttemptFailed {
        attempt: tries.nth,
        provider,
        ms,
        why: why.into(),
        next,
    });
    tries.nth += 1;
}

/// A provider isn't asked: no budget pays, or its format can't express the request. If it was the last,
/// the caller gets what an earlier one came to, if there was one.
fn unsent<A>(tries: &mut Tries<A>, cleared: &mut Cleared) -> Then<A> {
    if !cleared.choices.is_empty() {
        return Then::Next(None);
    }
    let rejection = tries.unpaid.take();
    let Some(earlier) = tries.earlier.take() else {
        let rejection = rejection.unwrap_or_else(Rejection::panicked);
        return Then::End(Err(rejection), None);
    };
    cleared.draft.go_back(earlier.at);
    tries.wait(rejection.and_then(|rejection| rejection.retry_after));
    tries.end(earlier.result, earlier.limit)
}

#[cfg(test)]
mod tests {
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
