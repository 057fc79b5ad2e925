//! Asking providers, one after the other, until one answers. Another is asked only while nothing
//! of an answer has reached the caller, and only while the budget of retries allows it.

use std::time::Duration;

use http::request::Parts;
use http::{Response, StatusCode};

use super::{Gateway, Verified, budget, lists};
use crate::access::Permit;
use crate::api::{Api, Call};
use crate::clock::within;
use crate::panics;
use crate::relay::{Begun, Recording};
use crate::route::{Choice, Route, backoff};
use crate::rules::Rules;
use crate::upstream::Failure;
use crate::wire::{Mask, Rejection, headers};

/// Before a provider that refused the connection is asked once more.
const PAUSE: Duration = Duration::from_millis(100);

/// What is asked, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) api: &'static dyn Api,
    pub(super) call: &'a Call,
    pub(super) rules: &'a Rules,
    pub(super) permit: &'a Permit,
    pub(super) who: &'a Verified,
    pub(super) head: &'a Parts,
}

/// The answer of a provider.
pub(super) struct Answer {
    pub(super) response: Response<Begun>,
    pub(super) route: Route,
    /// Milliseconds from the request to its being sent.
    pub(super) before: f64,
    /// Why it is worth asking another, if it is.
    failure: Option<String>,
}

impl Answer {
    /// An answer than which no other provider could give a better one.
    pub(super) fn new(response: Response<Begun>, route: Route, before: f64) -> Self {
        Self {
            response,
            route,
            before,
            failure: None,
        }
    }

    /// The response, who gave it, and when it was asked for.
    pub(super) fn into_parts(self) -> (Response<Begun>, Route, f64) {
        (self.response, self.route, self.before)
    }
}

/// No answer.
enum Stop {
    /// Nobody else could do better.
    Refused(Rejection),
    /// This provider has none; another may.
    Failed(Failure),
}

impl Gateway {
    /// Asks the providers of a choice.
    pub(super) async fn ask(
        &self,
        choice: Choice,
        asking: Asking<'_>,
        recording: &mut Recording,
    ) -> Result<Answer, Rejection> {
        let mut others = choice.others.into_iter();
        let mut route = choice.first;
        let most = asking.rules.file.routing.attempts;
        let mut repeated = false;
        let mut attempt = 1;
        loop {
            let may_go_on = attempt < most && others.len() > 0;
            let began = recording.elapsed_ms();
            let outcome = self.attempt(&route, asking, recording, may_go_on).await;
            let why = match &outcome {
                Ok(Answer { failure: None, .. }) | Err(Stop::Refused(_)) => None,
                Ok(Answer { failure, .. }) => failure.clone(),
                Err(Stop::Failed(failure)) => Some(failure.to_string()),
            };
            let refused = matches!(
                outcome,
                Err(Stop::Failed(Failure::Unreachable { sent: false, .. }))
            );
            let again = others.len() == 0 && refused && !repeated;
            if let Some(why) = why
                && attempt < most
                && (others.len() > 0 || again)
                && self.traffic.retry()
            {
                let took = recording.elapsed_ms() - began;
                let next = others.next();
                repeated |= next.is_none();
                let then = next.as_ref().map_or("the same again", |_| "another");
                recording.note(|entry| {
                    entry.reasons.push(format!(
                        "attempt {attempt} at provider {} failed after {took:.0} ms: {why}; asking {then}",
                        route.provider.id
                    ));
                });
                if next.is_none() {
                    tokio::time::sleep(backoff(PAUSE, 0, PAUSE)).await;
                }
                route = next.unwrap_or(route);
                attempt += 1;
                continue;
            }
            return match outcome {
                Ok(answer) => Ok(answer),
                Err(Stop::Refused(rejection)) => Err(rejection),
                Err(Stop::Failed(failure)) => Err(failure.rejection()),
            };
        }
    }

    /// Asks one provider.
    async fn attempt(
        &self,
        route: &Route,
        asking: Asking<'_>,
        recording: &mut Recording,
        may_go_on: bool,
    ) -> Result<Answer, Stop> {
        let Asking {
            api,
            call,
            rules,
            permit,
            who,
            head,
        } = asking;
        recording.closed();
        self.routed(recording, rules, route, (api, call), &head.headers);
        let outbound = api
            .prepare(call, &route.provider.destination(&route.model))
            .map_err(Stop::Refused)?;
        let payer = (rules, permit, &*who.caller);
        panics::point("quota");
        let held = self
            .reserve(payer, route, call, recording)
            .await
            .map_err(Stop::Refused)?;
        let passed = lists::headers(api, &route.provider, &head.headers);
        let query = lists::query(api, &route.provider, head.uri.query());
        let told = (held.states, held.crossed);
        self.tell((rules, permit, who), route, (call, told), recording);
        let before = recording.elapsed_ms();
        let routing = &rules.file.routing;
        let mut open = self.traffic.open(&route.provider.id);
        recording.asked(true);
        panics::point("upstream");
        let sent = self
            .upstream
            .send(route, permit, &passed, query.as_deref(), outbound)
            .await;
        let sent = match sent {
            Ok(answered) => self.begun(answered, route, may_go_on).await,
            Err(failure) => Err(failure),
        };
        let mut response = match sent {
            Ok(response) => response,
            Err(failure) => {
                if failure.is_the_providers() {
                    open.failed(&failure.to_string(), routing);
                }
                recording.asked(failure.leaves_work());
                return Err(Stop::Failed(failure));
            }
        };
        panics::point("answered");
        let status = response.status();
        if is_broken(status) {
            open.failed(&format!("it answered {status}"), routing);
        } else {
            open.succeeded();
        }
        recording.opened(open, *routing);
        // Reports may be filtered by headers that the caller doesn't get.
        let named = rules.filterable.of(response.headers());
        recording.index_response(named.filter(|(name, _)| headers::is_passable(name)));
        recording.counted(api.counts_in_head(response.headers()));
        let more = &route.provider.pass_headers;
        lists::returned(api, more, response.headers_mut());
        budget::tell(&held.warnings, response.headers_mut());
        let worth_another = is_broken(status) || status == StatusCode::TOO_MANY_REQUESTS;
        Ok(Answer {
            response,
            route: route.clone(),
            before,
            failure: worth_another.then(|| format!("it answered {status}")),
        })
    }

    /// Waits for the first bytes of a body where another provider could still be asked.
    async fn begun(
        &self,
        (response, mask): (Response<hyper::body::Incoming>, Mask),
        route: &Route,
        may_go_on: bool,
    ) -> Result<Response<Begun>, Failure> {
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            let masked = Begun::masked(body, mask);
            return Ok(Response::from_parts(head, masked));
        }
        if !may_go_on {
            return Ok(Response::from_parts(head, body.into()));
        }
        let broke_off = |why: String| Failure::Unreachable {
            provider: route.provider.id.clone(),
            why,
            sent: true,
        };
        let limit = self.upstream.timeouts().first_byte;
        let begun = within(limit, Begun::begin(body))
            .await
            .map_err(|_| Failure::TimedOut {
                provider: route.provider.id.clone(),
                within: limit,
            })?
            .map_err(|error| broke_off(error.to_string()))?;
        if begun.is_empty() && super::framing(&head.headers).is_some() {
            return Err(broke_off("its stream ended before it began".to_owned()));
        }
        Ok(Response::from_parts(head, begun))
    }
}

/// Statuses by which a provider says that it can't, not that it won't. 529 is Anthropic's for
/// being overloaded.
fn is_broken(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504 | 529)
}
