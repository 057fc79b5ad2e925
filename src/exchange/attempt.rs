//! Asking providers, one after the other, until one answers. Another is asked only while nothing
//! of an answer has reached the caller, and after a failure only while the budget of retries allows it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;

use super::{Gateway, Verified, budget, lists};
use crate::base::clock::{backoff, within};
use crate::base::panics;
use crate::base::reasons::{Next, Reason};
use crate::config::AuthMode;
use crate::exchange::relay::{Begun, Recording};
use crate::exchange::rules::Rules;
use crate::exchange::upstream::{Failure, asked_wait};
use crate::formats::{Call, Format, Outbound};
use crate::net::client::{Received, Reuse};
use crate::policy::access::Permit;
use crate::policy::route::{Choice, Route, Scope, Standing};
use crate::wire::decode::Decoding;
use crate::wire::{Mask, Rejection, headers};

/// Bytes of a refusal that are read to find out what it is about.
const REFUSAL: usize = 64 << 10;
/// Before a provider that refused the connection is asked once more.
const PAUSE: Duration = Duration::from_millis(100);

/// What is asked, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) api: &'static Format,
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
    flaw: Option<Flaw>,
}

impl Answer {
    /// An answer than which no other provider could give a better one.
    pub(super) fn new(response: Response<Begun>, route: Route, before: f64) -> Self {
        Self {
            response,
            route,
            before,
            flaw: None,
        }
    }

    /// The response, who gave it, and when it was asked for.
    pub(super) fn into_parts(self) -> (Response<Begun>, Route, f64) {
        (self.response, self.route, self.before)
    }
}

/// What is wrong with an answer that another provider may not have.
enum Flaw {
    /// The provider says that it can't.
    Broken(String),
    /// It takes no requests for a while; for how long, if it says so.
    Limited(String, Option<Duration>),
}

/// No answer.
enum Stop {
    /// No other provider could do better.
    Refused(Rejection),
    /// No budget pays for this provider; one may for another.
    Unpaid(Rejection),
    /// This provider has none; another may.
    Failed(Failure),
}

type Outcome = Result<Answer, Stop>;

/// What came of the attempts so far.
struct Attempts {
    others: VecDeque<Route>,
    /// Attempts that count towards the bound of the configuration.
    counted: u32,
    /// Whether the only provider was asked once more.
    repeated: bool,
    /// The shortest time after which a provider that is limited takes requests again.
    soonest: Option<Duration>,
    /// What an earlier attempt came to, in case that no budget pays for a later one.
    earlier: Option<(Route, Outcome)>,
    /// The refusal by budgets after which it is soonest worth another try.
    unpaid: Option<Rejection>,
}

impl Attempts {
    fn wait(&mut self, wait: Option<Duration>) {
        self.soonest = [self.soonest, wait].into_iter().flatten().min();
    }

    fn unpaid(&mut self, rejection: Rejection) {
        let wait = |one: &Rejection| one.retry_after.unwrap_or(Duration::MAX);
        if self
            .unpaid
            .as_ref()
            .is_none_or(|before| wait(&rejection) < wait(before))
        {
            self.unpaid = Some(rejection);
        }
    }
}

impl Gateway {
    /// Asks the providers of a choice.
    pub(super) async fn ask(
        &self,
        choice: Choice,
        asking: Asking<'_>,
        recording: &mut Recording,
    ) -> Result<Answer, Rejection> {
        let mut attempts = Attempts {
            others: choice.others.into(),
            counted: 1,
            repeated: false,
            soonest: None,
            earlier: None,
            unpaid: None,
        };
        let mut route = choice.first;
        let mut nth = 1;
        loop {
            let most = asking.rules.file.routing.attempts;
            let may_go_on = attempts.counted < most && !attempts.others.is_empty();
            let began = recording.elapsed_ms();
            let outcome = self.attempt(&route, asking, recording, may_go_on).await;
            let outcome = match outcome {
                Err(Stop::Unpaid(rejection)) => {
                    attempts.unpaid(rejection);
                    let Some(next) = attempts.others.pop_front() else {
                        return self.unpaid(attempts, asking, recording);
                    };
                    let provider = route.provider.id.clone();
                    recording.note(|entry| entry.reasons.push(Reason::Unpaid { provider }));
                    route = next;
                    continue;
                }
                outcome => outcome,
            };
            let why = why(&outcome);
            let next = self.next(&outcome, asking, &mut attempts);
            let Some(then) = next else {
                return attempts.end(outcome);
            };
            let failed = Reason::AttemptFailed {
                attempt: nth,
                provider: route.provider.id.clone(),
                ms: recording.elapsed_ms() - began,
                why,
                next: if then.is_some() {
                    Next::Another
                } else {
                    Next::Same
                },
            };
            recording.note(|entry| entry.reasons.push(failed));
            nth += 1;
            match then {
                Some(next) => {
                    let before = std::mem::replace(&mut route, next);
                    attempts.earlier = Some((before, outcome));
                }
                None => tokio::time::sleep(backoff(PAUSE, 0, PAUSE)).await,
            }
        }
    }

    /// Where to go on after an attempt: to another provider, or to the same. `None` if what came
    /// of the attempt is the caller's.
    #[expect(
        clippy::option_option,
        reason = "the outer one is whether to go on at all"
    )]
    fn next(
        &self,
        outcome: &Outcome,
        asking: Asking<'_>,
        attempts: &mut Attempts,
    ) -> Option<Option<Route>> {
        let group = asking.call.model.as_str();
        let most = asking.rules.file.routing.attempts;
        match outcome {
            // A limit costs neither the provider nor the callers anything: it is no reason not to
            // ask one that is idle.
            Ok(Answer {
                flaw: Some(Flaw::Limited(_, wait)),
                ..
            }) => {
                attempts.wait(*wait);
                while let Some(next) = attempts.others.pop_front() {
                    match self.traffic.standing(&next.provider, &next.model) {
                        Standing::Limited(left) => attempts.wait(Some(left)),
                        _ => return Some(Some(next)),
                    }
                }
                None
            }
            Ok(Answer {
                flaw: Some(Flaw::Broken(_)),
                ..
            })
            | Err(Stop::Failed(_)) => {
                let refused = matches!(
                    outcome,
                    Err(Stop::Failed(Failure::Unreachable { sent: false, .. }))
                );
                let again = attempts.others.is_empty() && refused && !attempts.repeated;
                let may = attempts.counted < most
                    && (!attempts.others.is_empty() || again)
                    && self.traffic.retry(group);
                if !may {
                    return None;
                }
                attempts.counted += 1;
                attempts.repeated |= again;
                Some(attempts.others.pop_front())
            }
            Ok(Answer { flaw: None, .. }) | Err(Stop::Refused(_) | Stop::Unpaid(_)) => None,
        }
    }

    /// The end of attempts of which no budget paid for the last: what an earlier one came to, if
    /// there was one.
    fn unpaid(
        &self,
        mut attempts: Attempts,
        asking: Asking<'_>,
        recording: &mut Recording,
    ) -> Result<Answer, Rejection> {
        let rejection = attempts.unpaid.take();
        if let Some((route, outcome)) = attempts.earlier.take() {
            let before = Route {
                reasons: Vec::new(),
                ..route
            };
            let told = (asking.api, asking.call);
            self.routed(recording, asking.rules, &before, told, &asking.head.headers);
            attempts.wait(rejection.and_then(|rejection| rejection.retry_after));
            return attempts.end(outcome);
        }
        Err(rejection.unwrap_or_else(Rejection::panicked))
    }

    /// Asks one provider.
    async fn attempt(
        &self,
        route: &Route,
        asking: Asking<'_>,
        recording: &mut Recording,
        may_go_on: bool,
    ) -> Outcome {
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
        let outbound = self.outbound(route, asking)?;
        let payer = (rules, permit, &*who.caller);
        panics::point("quota");
        let held = self
            .reserve(payer, route, call, recording)
            .await
            .map_err(|rejection| {
                // Balances that can't be read can't be read for another provider either.
                if rejection.status == StatusCode::TOO_MANY_REQUESTS {
                    Stop::Unpaid(rejection)
                } else {
                    Stop::Refused(rejection)
                }
            })?;
        let told = (held.states, held.crossed);
        self.tell((rules, permit, who), route, (call, told), recording);
        let before = recording.elapsed_ms();
        let routing = &rules.file.routing;
        self.traffic.deposit(&call.model);
        let mut open = self.traffic.open(&route.provider, &route.model);
        recording.asked(true);
        panics::point("upstream");
        let sent = self
            .exchange(route, asking, &outbound, recording, may_go_on)
            .await;
        let mut response = match sent {
            Ok(response) => response,
            Err(failure) => {
                if failure.is_the_providers() {
                    open.failed(&failure.to_string(), failure.scope(), routing);
                }
                recording.asked(failure.leaves_work());
                return Err(Stop::Failed(failure));
            }
        };
        panics::point("answered");
        let flaw = flaw(&response);
        // A caller's own credential has limits of its own.
        let is_shared = route.provider.auth_mode != AuthMode::Passthrough;
        match &flaw {
            Some(Flaw::Broken(why)) => open.failed(why, Scope::Model, routing),
            Some(Flaw::Limited(why, wait)) if is_shared => open.limited(why, *wait),
            // How the response goes on is known at its end.
            _ if response.status().is_success() => open.answering(routing),
            _ => open.succeeded(),
        }
        recording.opened(open, *routing);
        if response.status().is_success()
            && rules.routes.providers().len() > 1
            && let Some(remember) = self.held.remember(&route.provider.id, api.name)
            && can_name_state(response.headers())
        {
            response.body_mut().remember(remember);
        }
        // Reports may be filtered by headers that the caller doesn't get.
        let named = rules.filterable.of(response.headers());
        recording.index_response(named.filter(|(name, _)| headers::is_passable(name)));
        recording.counted((api.counts_in_head)(response.headers()));
        let more = &route.provider.pass_headers;
        lists::returned(api, more, response.headers_mut());
        budget::tell(&held.warnings, response.headers_mut());
        Ok(Answer {
            response,
            route: route.clone(),
            before,
            flaw,
        })
    }

    /// What a provider is sent.
    fn outbound(&self, route: &Route, asking: Asking<'_>) -> Result<Outbound, Stop> {
        let provider = &route.provider;
        let adds = match provider.stream_options {
            Some(adds) => adds,
            None => !self.traffic.refuses_stream_options(provider),
        };
        let call = if adds {
            Cow::Borrowed(asking.call)
        } else {
            Cow::Owned(asking.call.without_usage_asked())
        };
        let to = provider.destination(&route.model);
        asking.api.prepare(&call, &to).map_err(Stop::Refused)
    }

    /// Sends a request to a provider, once more where that helps: on a new connection, if the
    /// provider has closed the kept one; without what the gateway has added, if it refuses that.
    async fn exchange(
        &self,
        route: &Route,
        asking: Asking<'_>,
        outbound: &Outbound,
        recording: &mut Recording,
        may_go_on: bool,
    ) -> Result<Response<Begun>, Failure> {
        let began = recording.elapsed_ms();
        let mut response = self
            .send_twice(route, asking, outbound, recording, may_go_on)
            .await?;
        let provider = &route.provider;
        let is_added = asking.call.splice.hide_usage && provider.stream_options.is_none();
        if !is_added || self.traffic.refuses_stream_options(provider) {
            return Ok(response);
        }
        let limit = self.upstream.timeouts().first_byte;
        if !names_stream_options(&mut response, limit).await {
            return Ok(response);
        }
        let plain = asking.call.without_usage_asked();
        let to = provider.destination(&route.model);
        let Ok(outbound) = asking.api.prepare(&plain, &to) else {
            return Ok(response);
        };
        let again = Reason::WithoutStreamOptions {
            provider: provider.id.clone(),
            ms: recording.elapsed_ms() - began,
            status: response.status().to_string(),
        };
        recording.note(|entry| entry.reasons.push(again));
        // The connection is free again once the refusal is read, or closed.
        drop(response);
        let again = self
            .send_twice(route, asking, &outbound, recording, may_go_on)
            .await?;
        // A caller can have the provider quote the words, but not have it succeed without them.
        if again.status().is_success() {
            tracing::info!(
                provider = provider.id,
                "refuses stream_options: it gets none from now on"
            );
            self.traffic.learn_no_stream_options(provider);
        }
        Ok(again)
    }

    /// Sends a request, and once more on a new connection if the provider has closed the kept one.
    async fn send_twice(
        &self,
        route: &Route,
        asking: Asking<'_>,
        outbound: &Outbound,
        recording: &mut Recording,
        may_go_on: bool,
    ) -> Result<Response<Begun>, Failure> {
        let began = recording.elapsed_ms();
        let kept = (outbound, Reuse::Kept);
        let failure = match self.send(route, asking, kept, may_go_on).await {
            Err(failure @ Failure::Closed { .. }) => failure,
            // Where there is another provider, that one is more likely to answer.
            Err(failure @ Failure::Lost { .. }) if !may_go_on => failure,
            sent => return sent,
        };
        let again = Reason::NewConnection {
            provider: route.provider.id.clone(),
            ms: recording.elapsed_ms() - began,
            why: failure.to_string(),
        };
        recording.note(|entry| entry.reasons.push(again));
        let new = (outbound, Reuse::Never);
        self.send(route, asking, new, may_go_on).await
    }

    /// Sends a request, and waits for the first bytes of a body where another provider could
    /// still be asked.
    async fn send(
        &self,
        route: &Route,
        asking: Asking<'_>,
        outbound: (&Outbound, Reuse),
        may_go_on: bool,
    ) -> Result<Response<Begun>, Failure> {
        let (api, provider, head) = (asking.api, &route.provider, asking.head);
        let passed = lists::headers(api, provider, &head.headers);
        let query = lists::query(api, provider, head.uri.query());
        let (response, mask) = self
            .upstream
            .send(route, asking.permit, &passed, query.as_deref(), outbound)
            .await?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            return Ok(self.refusal(head, body, mask).await);
        }
        if !may_go_on {
            return Ok(Response::from_parts(head, Begun::from(body).with(mask)));
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
        Ok(Response::from_parts(head, begun.with(mask)))
    }

    /// A provider's error without the credentials that it quotes. A compressed one is opened for
    /// that, as far as it is of use.
    async fn refusal(
        &self,
        mut head: http::response::Parts,
        body: Received,
        mask: Mask,
    ) -> Response<Begun> {
        let mut whole = Begun::from(body);
        let Some(mut decoding) = Decoding::of(&head.headers) else {
            return Response::from_parts(head, whole.masked(mask));
        };
        head.headers.remove(header::CONTENT_ENCODING);
        head.headers.remove(header::CONTENT_LENGTH);
        let limit = self.upstream.timeouts().first_byte;
        let packed = within(limit, whole.peek(REFUSAL)).await.unwrap_or_default();
        let plain = mask.whole(decoding.feed(packed).into());
        Response::from_parts(head, Begun::from(plain))
    }
}

impl Attempts {
    /// What the caller gets in the end. Of several limits, it is told the shortest.
    fn end(self, outcome: Outcome) -> Result<Answer, Rejection> {
        match outcome {
            Ok(mut answer) => {
                if let (Some(Flaw::Limited(_, own)), Some(soonest)) = (&answer.flaw, self.soonest)
                    && own.is_none_or(|own| soonest < own)
                {
                    let seconds = soonest.as_secs() + u64::from(soonest.subsec_nanos() > 0);
                    let headers = answer.response.headers_mut();
                    headers.remove("retry-after-ms");
                    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                }
                Ok(answer)
            }
            Err(Stop::Refused(rejection) | Stop::Unpaid(rejection)) => Err(rejection),
            Err(Stop::Failed(failure)) => Err(failure.rejection()),
        }
    }
}

/// Why another provider is asked.
fn why(outcome: &Outcome) -> String {
    match outcome {
        Ok(Answer { flaw, .. }) => match flaw {
            Some(Flaw::Broken(why) | Flaw::Limited(why, _)) => why.clone(),
            None => String::new(),
        },
        Err(Stop::Failed(failure)) => failure.to_string(),
        Err(Stop::Refused(rejection) | Stop::Unpaid(rejection)) => rejection.message.to_string(),
    }
}

/// What is wrong with a response by its status: a provider says that it can't, not that it won't.
/// 508 is a gateway's that leads back here, 529 Anthropic's for being overloaded.
fn flaw(response: &Response<Begun>) -> Option<Flaw> {
    let status = response.status();
    let why = format!("it answered {status}");
    let wait = asked_wait(response.headers(), Timestamp::now());
    match status.as_u16() {
        429 => Some(Flaw::Limited(why, wait)),
        503 | 529 if wait.is_some() => Some(Flaw::Limited(why, wait)),
        500 | 502 | 503 | 504 | 508 | 529 => Some(Flaw::Broken(why)),
        _ => None,
    }
}

/// Whether a response may hold JSON that can be read, alone or in events: no sound, no images,
/// nothing that is compressed.
fn can_name_state(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.map_or(&b""[..], HeaderValue::as_bytes);
    let of = |name: &str| {
        let start = kind.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    };
    let kinds = ["application/", "text/"];
    let is_text = kind.is_empty() || kinds.iter().any(|name| of(name));
    let is_plain = headers
        .get(header::CONTENT_ENCODING)
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    is_text && is_plain && !of("application/octet-stream")
}

/// Whether a response refuses a request for its `stream_options`.
async fn names_stream_options(response: &mut Response<Begun>, limit: Duration) -> bool {
    let status = response.status();
    if status != StatusCode::BAD_REQUEST && status != StatusCode::UNPROCESSABLE_ENTITY {
        return false;
    }
    let Ok(text) = within(limit, response.body_mut().peek(REFUSAL)).await else {
        return false;
    };
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    ["stream_options", "streamoptions", "include_usage"]
        .iter()
        .any(|name| text.contains(name))
}
