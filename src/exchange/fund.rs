//! The fourth stage: what an attempt may cost is held of every bucket that pays for it (429). The only
//! place that holds money, again for each attempt.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, StatusCode};

use super::attempt::{Attempt, Price, Reached};
use super::clear::{Cleared, context, denied, paying, plan};
use super::context::{Asked, Candidate};
use super::facts::{Facts, elapsed_ms};
use super::translation::Translation;
use super::{Gateway, entry};
use crate::base::panics;
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::exchange::hooks::{self, After, HookContext};
use crate::formats::{Call, Format, Outbound, Tokens};
use crate::policy::budget::{Amounts, Denied};
use crate::policy::pricing::Terms;
use crate::policy::route::{KeyFault, Provider, Route};
use crate::records::Entry;
use crate::records::balances::Reservation;
use crate::wire::Rejection;

/// Tokens that a response is expected to have at most, if its caller sets no bound.
const ANSWER: u64 = 4_096;
/// Tells a caller that a budget is running low.
const WARNING: &str = "x-iris-quota-warning";

/// An attempt at one provider that budgets pay for. Nothing that a caller asks is sent without it.
pub struct Funded<'c> {
    asked: &'c Asked,
    pub(super) entry: &'c mut Entry,
    pub(super) attempt: &'c mut Attempt,
    started: Instant,
    outbound: Outbound,
    warnings: Vec<String>,
}

impl Deref for Funded<'_> {
    type Target = Asked;

    fn deref(&self) -> &Asked {
        self.asked
    }
}

impl Funded<'_> {
    /// Where it goes.
    pub fn route(&self) -> &Route {
        &self.attempt.route
    }

    /// What the provider is sent.
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// The format that the provider speaks, and the request in it.
    pub(super) fn served(&self) -> (&'static Format, &Call) {
        self.attempt.served(self.asked)
    }

    /// Notes why something was decided.
    pub(super) fn reason(&mut self, reason: Reason) {
        self.entry.reasons.push(reason);
    }

    pub(super) fn elapsed_ms(&self) -> f64 {
        elapsed_ms(self.started)
    }

    /// Leaves out what Iris has added so that the provider counts. Returns whether that is possible.
    pub(super) fn without_usage_asked(&mut self) -> bool {
        let to = &self.attempt.route;
        let to = to.provider.destination(&to.model);
        let (format, call) = self.attempt.served(self.asked);
        let outbound = format.prepare(&call.without_usage_asked(), &to);
        outbound.map(|outbound| self.outbound = outbound).is_ok()
    }

    /// Puts warnings of budgets on a response.
    pub(super) fn warn(&self, headers: &mut HeaderMap) {
        for warning in &self.warnings {
            // A login that can't stand in a header is left out.
            if let Ok(value) = HeaderValue::from_str(warning) {
                headers.append(WARNING, value);
            }
        }
    }
}

impl Gateway {
    /// Funds an attempt at the next of the providers. With the status 429 no budget pays for this one,
    /// though one may for another. With any other, no other could do better: balances that can't be
    /// read can't be read for another provider either.
    pub(super) async fn fund<'c>(&self, cleared: &'c mut Cleared) -> Result<Funded<'c>, Rejection> {
        let candidate = self.next(cleared).await;
        let candidate = candidate.ok_or_else(Rejection::panicked)?;
        let (asked, draft) = cleared.split();
        let translated = Translation::of(asked, &candidate.route).await;
        let (translation, reason) = match translated {
            Ok(translated) => translated.unzip(),
            Err(why) => {
                draft.reason(Reason::Untranslatable {
                    provider: candidate.route.provider.id.clone(),
                    why: why.message.to_string().into(),
                });
                draft.choose(asked, candidate, None);
                return Err(why);
            }
        };
        draft.choose(asked, candidate, translation.map(Box::new));
        draft.entry.reasons.extend(reason);
        let Facts {
            started,
            entry,
            attempts,
            crossed,
            spared,
            ..
        } = &mut **draft;
        let nth = attempts.len();
        let attempt = attempts.last_mut().ok_or_else(Rejection::panicked)?;
        attempt.key = self.key(asked, entry, &attempt.route.provider);
        let route = &attempt.route;
        let outbound = self.outbound(asked, attempt)?;
        panics::point("quota");
        let (_, call) = attempt.served(asked);
        let estimate = estimate(call, attempt.price.as_ref());
        let terms = Arc::clone(&attempt.terms);
        let plan = plan(asked, &terms, route)?;
        let (mut warnings, mut crossing) = (spared.clone(), &[][..]);
        if !plan.is_empty() {
            let name = || format!("{}/{nth}", entry.id);
            let held = self.quotas.reserve(&plan, estimate, name).await;
            let mut hold = held.map_err(|why| denied(&why, asked, route))?;
            entry.reasons.append(&mut hold.reasons);
            crossed.append(&mut hold.crossed);
            warnings.append(&mut hold.warnings);
            crossing = crossed;
            attempt.hold = Some(hold);
        }
        if terms.has_hooks {
            let wired = hooks::wired(&asked.rules.file.hooks, asked.permit(), route.subject());
            let states = attempt.hold.as_ref().map(Reservation::states);
            let context = HookContext {
                warnings: crossing.to_vec(),
                ..context(asked, states.unwrap_or_default())
            };
            let keeps_tools = self.ledger.policy().tools;
            attempt.after = After::new(&wired, context, &asked.call.body, keeps_tools);
        }
        self.traffic.deposit(&asked.call.model);
        let request = self.traffic.open(&route.provider, route.model.clone());
        attempt.reached = Reached::Funded(request);
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

    /// The next of the providers. Those that are to be spared while a budget runs low come last then.
    pub(super) async fn next(&self, cleared: &mut Cleared) -> Option<Candidate> {
        loop {
            let mut candidate = cleared.choices.pop_front()?;
            if !candidate.route.spares || cleared.choices.is_empty() {
                return Some(candidate);
            }
            // Boxed, because few aliases spare budgets.
            let low = Box::pin(self.low(cleared.asked(), &candidate)).await;
            if low.is_empty() {
                return Some(candidate);
            }
            let route = &mut candidate.route;
            route.spares = false;
            let (_, draft) = cleared.split();
            let spared = format!("{} is spared for {}", route.subject(), low.join(", "));
            draft.spared.push(spared);
            draft.reason(Reason::Spared {
                provider: route.provider.id.clone(),
                model: route.model.clone(),
                buckets: low.into_iter().map(Text::from).collect(),
            });
            cleared.choices.push_back(candidate);
        }
    }

    /// What is said of the buckets that pay for a provider and run low, or can't pay.
    async fn low(&self, asked: &Asked, candidate: &Candidate) -> Vec<String> {
        let Ok(plan) = paying(asked, &candidate.terms, &candidate.route) else {
            return Vec::new();
        };
        match self.quotas.low(&plan).await {
            Ok(low) => low,
            // Whether they can pay is found out when something is held.
            Err(Denied::Unavailable) => Vec::new(),
            Err(exhausted) => vec![exhausted.to_string()],
        }
    }

    /// The attempt that was made last, to be sent once more; `None` if nothing is held for it.
    pub(super) fn refund<'c>(&self, cleared: &'c mut Cleared) -> Option<Funded<'c>> {
        let (asked, draft) = cleared.split();
        let facts = &mut **draft;
        let attempt = facts.attempts.last_mut()?;
        attempt.in_flight()?;
        Some(Funded {
            outbound: self.outbound(asked, attempt).ok()?,
            asked,
            entry: &mut facts.entry,
            attempt,
            started: facts.started,
            warnings: Vec::new(),
        })
    }

    /// Which of a provider's keys a request goes with. The connection of a WebSocket is kept only for requests
    /// with the same key, so those without a conversation share one.
    fn key(&self, asked: &Asked, entry: &Entry, provider: &Provider) -> usize {
        if let Some(place) = asked.place() {
            return place.key;
        }
        let conversation = entry::conversation(entry);
        let is_session = asked.format.realtime.is_some();
        let shared = (asked.is_socket() && !is_session).then_some("");
        self.traffic.key(provider, conversation.or(shared))
    }

    /// Whether a provider has refused the key of a request, and there is another one to ask it with.
    pub(super) fn has_other_key(
        &self,
        funded: &mut Funded<'_>,
        status: StatusCode,
        wait: impl FnOnce() -> Option<Duration>,
    ) -> bool {
        let provider = Arc::clone(&funded.route().provider);
        if provider.apikeys.len() < 2 || funded.attempt.own_credential || funded.place().is_some() {
            return false;
        }
        let key = funded.attempt.key;
        let fault = match status.as_u16() {
            401 | 402 => KeyFault::Refused,
            429 => KeyFault::Limited(wait()),
            200..300 => {
                self.traffic.key_works(&provider, key);
                return false;
            }
            _ => return false,
        };
        let why = format!("it answered {status}");
        let other = self.traffic.other_key(&provider, key, &why, fault);
        // A key may be back at once, and is asked for once all the same.
        funded.attempt.refused_keys += 1;
        let is_left = funded.attempt.refused_keys < provider.apikeys.len();
        let Some(next) = other.filter(|_| is_left) else {
            return false;
        };
        tracing::warn!(
            provider = provider.id.as_str(),
            key = key + 1,
            why,
            "a key is left out"
        );
        funded.attempt.key = next;
        funded.reason(Reason::OtherKey {
            provider: provider.id.clone(),
            status: status.to_string().into(),
            key: key + 1,
            next: next + 1,
        });
        true
    }

    /// What a provider is sent.
    pub(super) fn outbound(&self, asked: &Asked, attempt: &Attempt) -> Result<Outbound, Rejection> {
        let route = &attempt.route;
        let provider = &route.provider;
        let (format, call) = attempt.served(asked);
        let adds = match provider.stream_options {
            Some(adds) => adds,
            None => !self.traffic.refuses_stream_options(provider),
        };
        let call = if adds {
            Cow::Borrowed(call)
        } else {
            Cow::Owned(call.without_usage_asked())
        };
        let to = provider.destination(&route.model);
        format.prepare(&call, &to)
    }
}

/// What a call is expected to take. `price` is there if it is billed.
pub(super) fn estimate(call: &Call, price: Option<&Price>) -> Amounts {
    let Some(price) = price else {
        return Amounts::FREE;
    };
    let read = price.density.input(price.asked_bytes);
    let written = call.answer_limit.unwrap_or(ANSWER);
    let counts = Tokens {
        input: Some(read),
        output: Some(written),
        audio_input: (call.sound.held_tokens > 0).then_some(call.sound.held_tokens.min(read)),
        audio_output: call.sound.may_answer.then_some(written),
        ..Tokens::default()
    };
    let terms = Terms {
        mode: price.mode,
        ..Terms::default()
    };
    Amounts {
        tokens: i64::try_from(read.saturating_add(written)).unwrap_or(i64::MAX),
        cost: price.quote.total(&counts, terms),
    }
}
