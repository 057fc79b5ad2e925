//! One request over a WebSocket: its provider, the connection to it, and the frame that asks.

use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use http::StatusCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::running::Running;
use super::session::{Connected, Session, broke_off, silent};
use crate::base::clock::{self, within};
use crate::base::reasons::{Next, Reason};
use crate::config::{AuthMode, Routing};
use crate::exchange::guard::Passing;
use crate::exchange::held::Remember;
use crate::exchange::relay::{Recording, Watch};
use crate::exchange::rules::Rules;
use crate::exchange::upstream::{Failure, Handshake};
use crate::exchange::{asked, entry, lists, refusal, revoke};
use crate::formats::Call;
use crate::policy::access::Permit;
use crate::policy::route::{Choice, InFlight, Route, Scope};
use crate::records::EntryId;
use crate::wire::Rejection;

/// What helps if a provider closes the connection, or is gone, before anything of a response has
/// come.
pub(super) struct Again {
    /// Where the connection had served others before: it may have been closed for that alone, and
    /// the frame is sent once more on a new one.
    renewal: Option<Renewal>,
    /// The other providers, and how many attempts were made.
    others: Vec<Route>,
    attempts: u32,
}

impl Again {
    /// Whether there is another provider to ask.
    pub(super) fn has_others(&self) -> bool {
        !self.others.is_empty()
    }
}

/// The frame that asked, and the connection that it was sent on.
struct Renewal {
    handshake: Handshake,
    generation: u64,
    provider: String,
    frame: Utf8Bytes,
}

/// Why a provider was not asked.
enum Stop {
    /// No other could do better.
    Refused(Rejection),
    /// Another one may be paid for.
    Unpaid(Rejection),
    /// Another one may be there.
    Failed(Failure),
    /// It takes no requests for a while; another one may.
    Limited(Failure),
}

/// What came of the providers that were asked.
#[derive(Default)]
struct Missed {
    unpaid: Option<Rejection>,
    failed: Option<Rejection>,
}

impl Missed {
    /// The refusal after which it is soonest worth another try.
    fn unpaid(&mut self, rejection: Rejection) {
        keep_sooner(&mut self.unpaid, rejection);
    }

    /// A failure replaces what came before; of several limits, the shortest is told.
    fn limited(&mut self, rejection: Rejection) {
        self.failed = self
            .failed
            .take()
            .filter(|before| before.status == StatusCode::TOO_MANY_REQUESTS);
        keep_sooner(&mut self.failed, rejection);
    }

    fn rejection(self) -> Rejection {
        let rejection = self.failed.or(self.unpaid);
        rejection.unwrap_or_else(Rejection::panicked)
    }
}

/// Keeps the one of two refusals that names the shorter wait. One that names none is for good.
fn keep_sooner(kept: &mut Option<Rejection>, rejection: Rejection) {
    let wait = |one: &Rejection| one.retry_after.unwrap_or(Duration::MAX);
    if kept
        .as_ref()
        .is_none_or(|before| wait(&rejection) < wait(before))
    {
        *kept = Some(rejection);
    }
}

/// What a failure to connect means for the provider, and for the choice of another. A provider
/// that answers the request for a WebSocket is judged as it is for any other answer.
fn stopped(failure: Failure, open: &mut InFlight, route: &Route, routing: &Routing) -> Stop {
    let why = failure.to_string();
    let Failure::Declined { status, wait, .. } = &failure else {
        if failure.is_the_providers() {
            open.failed(&why, failure.scope(), routing);
        }
        return Stop::Failed(failure);
    };
    match status.as_u16() {
        429 | 503 | 529 if *status == StatusCode::TOO_MANY_REQUESTS || wait.is_some() => {
            // A caller's own credential has limits of its own.
            if route.provider.auth_mode == AuthMode::Passthrough {
                open.succeeded();
            } else {
                open.limited(&why, *wait);
            }
            Stop::Limited(failure)
        }
        500.. => {
            open.failed(&why, Scope::Model, routing);
            Stop::Failed(failure)
        }
        // It has no WebSocket there: another may.
        404 | 405 | 426 => {
            open.succeeded();
            Stop::Failed(failure)
        }
        _ => {
            open.succeeded();
            Stop::Refused(failure.rejection())
        }
    }
}

impl Session<'_> {
    /// One request: the same steps as over HTTP.
    pub(super) async fn create(&mut self, text: &Utf8Bytes) -> Result<(), Rejection> {
        let gateway = self.gateway;
        self.verify().await?;
        let rules = gateway.rules.borrow().clone();
        let permit = rules.access.permit_again(&self.who.caller);
        let permit = permit.map_err(|none| none.rejection(&self.who.caller))?;
        let slot = gateway.room_for_record()?;
        let now = clock::unix_ms();
        let id = (EntryId::new(now), now);
        let record = entry::new(id, self.api, &self.who.caller, &self.head, &permit);
        let mut recording = gateway.recording(slot, record);
        let outcome = async {
            let frame = Bytes::copy_from_slice(text.as_bytes());
            let mut call = self.api.read(&asked(&self.head), frame)?;
            // Here every answer comes as events.
            call.stream = true;
            let earlier = gateway.earlier(&call, &self.who);
            recording.note(|entry| entry::describe(entry, &call, &self.head.headers, earlier));
            let passing = Passing {
                api: self.api,
                rules: &rules,
                permit: &permit,
                who: &self.who,
                head: &self.head,
                is_socket: true,
                fits: &|provider| provider.flags.contains(&self.flag),
            };
            let choice = gateway.chosen(&passing, &call, &mut recording)?;
            let (call, choice) = gateway
                .guarded(&passing, call, choice, &mut recording)
                .await?;
            let asked = self.ask(&call, (choice, 1), (&rules, &permit), &mut recording);
            let (route, again) = asked.await?;
            Ok((call, route, again))
        }
        .await;
        let (call, route, again) = match outcome {
            Ok(asked) => asked,
            Err(rejection) => {
                refusal::record(&mut recording, &rejection);
                return Err(rejection);
            }
        };
        let mut room = rules.file.limits.capture;
        if let Some(after) = recording.told() {
            room = after.room(room);
        }
        let meter = self.api.meter(&call.metered(room));
        let parts = self.parts(route, again, &rules);
        self.running = Some(Running::new(call, meter, recording, parts));
        Ok(())
    }

    /// What a response in the making has of its provider.
    fn parts(
        &self,
        route: Route,
        again: Again,
        rules: &Rules,
    ) -> (Watch, Option<Again>, Option<Remember>) {
        let gateway = self.gateway;
        let remember = (rules.routes.providers().len() > 1)
            .then(|| gateway.held.remember(&route.provider.id, self.api.name))
            .flatten();
        let who = self.who.clone();
        let revoked = revoke::watch(gateway.rules.clone(), who, route, rules.generation);
        (revoked, Some(again), remember)
    }

    /// Asks the providers of a choice, of which this is the `nth` attempt, until one was sent the
    /// frame.
    async fn ask(
        &mut self,
        call: &Call,
        (choice, nth): (Choice, u32),
        of: (&Rules, &Permit),
        recording: &mut Recording,
    ) -> Result<(Route, Again), Rejection> {
        let mut route = choice.first;
        let mut others = choice.others.into_iter();
        let routing = of.0.file.routing;
        let mut missed = Missed::default();
        let mut attempts = nth;
        loop {
            let (id, began) = (route.provider.id.clone(), recording.elapsed_ms());
            let reason = match self.ask_one(&route, call, of, recording).await {
                Ok(renewal) => {
                    let again = Again {
                        renewal,
                        others: others.collect(),
                        attempts,
                    };
                    return Ok((route, again));
                }
                Err(Stop::Refused(rejection)) => return Err(rejection),
                Err(Stop::Unpaid(rejection)) => {
                    missed.unpaid(rejection);
                    Reason::Unpaid { provider: id }
                }
                // As over HTTP, a limit takes neither an attempt nor a retry.
                Err(Stop::Limited(failure)) => {
                    missed.limited(failure.rejection());
                    let why = failure.to_string();
                    Reason::LimitedAttempt { why }
                }
                Err(Stop::Failed(failure)) => {
                    let failed = Reason::AttemptFailed {
                        attempt: attempts,
                        provider: id,
                        ms: recording.elapsed_ms() - began,
                        why: failure.to_string(),
                        next: Next::Another,
                    };
                    let rejection = failure.rejection();
                    let may = attempts < routing.attempts
                        && others.len() > 0
                        && self.gateway.traffic.retry(&call.model);
                    if !may {
                        return Err(rejection);
                    }
                    attempts += 1;
                    missed.failed = Some(rejection);
                    failed
                }
            };
            let Some(next) = others.next() else {
                return Err(missed.rejection());
            };
            recording.note(|entry| entry.reasons.push(reason));
            route = next;
        }
    }

    /// Asks one provider: its budget, its connection, and the frame.
    async fn ask_one(
        &mut self,
        route: &Route,
        call: &Call,
        (rules, permit): (&Rules, &Permit),
        recording: &mut Recording,
    ) -> Result<Option<Renewal>, Stop> {
        let gateway = self.gateway;
        let headers = self.head.headers.clone();
        recording.closed();
        gateway.routed(recording, rules, route, (self.api, call), &headers);
        let to = route.provider.destination(&route.model);
        let outbound = self.api.prepare(call, &to).map_err(Stop::Refused)?;
        // A WebSocket has no headers left to warn in.
        let payer = (rules, permit, &*self.who.caller);
        let held = gateway.reserve(payer, route, call, recording).await;
        let held = held.map_err(|rejection| match rejection.status {
            StatusCode::TOO_MANY_REQUESTS => Stop::Unpaid(rejection),
            _ => Stop::Refused(rejection),
        })?;
        let told = (held.states, held.crossed);
        gateway.tell((rules, permit, &self.who), route, (call, told), recording);
        let before = recording.elapsed_ms();
        gateway.traffic.deposit(&call.model);
        let mut open = gateway.traffic.open(&route.provider, &route.model);
        let routing = rules.file.routing;
        let path = &outbound.path;
        let passed = lists::headers(self.api, &route.provider, &headers);
        let handshake = gateway
            .upstream
            .handshake(route, permit, &passed, path)
            .await;
        let connected = match handshake {
            Ok(handshake) => self
                .connect(&handshake, rules.generation)
                .await
                .map(|reused| (handshake, reused)),
            Err(failure) => Err(failure),
        };
        let (handshake, reused) = match connected {
            Ok(connected) => connected,
            Err(failure) => {
                return Err(stopped(failure, &mut open, route, &routing));
            }
        };
        open.answering(&routing);
        recording.asked(true);
        recording.opened(open, routing);
        let frame = Utf8Bytes::from(String::from_utf8(outbound.body.to_vec()).unwrap_or_default());
        let renewal = reused.then(|| Renewal {
            handshake,
            generation: rules.generation,
            provider: route.provider.id.clone(),
            frame: frame.clone(),
        });
        recording.note(|entry| {
            entry.status = StatusCode::OK.as_u16();
            entry.overhead_ms = Some(before);
        });
        match self.send(frame).await {
            Ok(()) => Ok(renewal),
            Err(rejection) => {
                let Some(renewal) = renewal else {
                    return Err(Stop::Refused(rejection));
                };
                let renewed = self.renew(renewal, recording).await;
                renewed.map_err(Stop::Refused)?;
                Ok(None)
            }
        }
    }

    /// Connects a provider, and tells whether the connection had been there.
    async fn connect(&mut self, handshake: &Handshake, generation: u64) -> Result<bool, Failure> {
        let is_it = |one: &Connected| one.handshake == *handshake && one.generation == generation;
        if self.upstream.as_ref().is_some_and(is_it) {
            return Ok(true);
        }
        self.upstream = None;
        let gateway = self.gateway;
        let (socket, mask) = gateway.upstream.socket(handshake, gateway.bounds()).await?;
        self.upstream = Some(Connected {
            handshake: handshake.clone(),
            generation,
            socket,
            mask,
        });
        Ok(false)
    }

    async fn send(&mut self, frame: Utf8Bytes) -> Result<(), Rejection> {
        let limit = self.gateway.upstream.timeouts().first_byte;
        let Some(Connected { socket, .. }) = &mut self.upstream else {
            return Err(broke_off());
        };
        within(limit, socket.send(Message::Text(frame)))
            .await
            .map_err(|_| silent())?
            .map_err(|_| broke_off())
    }

    /// Sends the frame once more, on a new connection.
    async fn renew(&mut self, again: Renewal, recording: &mut Recording) -> Result<(), Rejection> {
        let provider = again.provider;
        recording.note(|entry| {
            entry
                .reasons
                .push(Reason::KeptConnectionClosed { provider });
        });
        self.upstream = None;
        let connected = self.connect(&again.handshake, again.generation).await;
        connected.map_err(|failure| failure.rejection())?;
        self.send(again.frame).await
    }

    /// Asks again for a response of which nothing has come: its provider, if it closed a connection
    /// that had served others before, and then another one. Tells whether one was asked.
    pub(super) async fn asked_again(&mut self) -> bool {
        let Some(mut running) = self.running.take() else {
            return false;
        };
        let Some(mut again) = running.again.take() else {
            self.running = Some(running);
            return false;
        };
        let renewed = match again.renewal.take() {
            Some(renewal) => self.renew(renewal, running.recording()).await.is_ok(),
            None => false,
        };
        let asked = if renewed {
            running.again = Some(again);
            true
        } else {
            self.asked_another(&mut running, again).await
        };
        self.running = Some(running);
        asked
    }

    /// Asks another provider for a response of which nothing has come.
    async fn asked_another(&mut self, running: &mut Running, again: Again) -> bool {
        let gateway = self.gateway;
        let rules = gateway.rules.borrow().clone();
        let mut others = again.others.into_iter();
        let may = again.attempts < rules.file.routing.attempts
            && others.len() > 0
            && gateway.traffic.retry(&running.call.model);
        let (true, Some(first)) = (may, others.next()) else {
            return false;
        };
        let Ok(permit) = rules.access.permit_again(&self.who.caller) else {
            return false;
        };
        let choice = Choice {
            first,
            others: others.collect(),
        };
        let (call, recording) = running.asking();
        recording.failed(&broke_off().message);
        recording.note(|entry| {
            entry.reasons.push(Reason::BrokeOff {
                attempt: again.attempts,
                provider: entry.provider.clone(),
            });
        });
        self.upstream = None;
        let nth = again.attempts + 1;
        let asked = self.ask(call, (choice, nth), (&rules, &permit), recording);
        match Box::pin(asked).await {
            Ok((route, again)) => {
                running.moved(self.parts(route, again, &rules));
                true
            }
            Err(_) => false,
        }
    }
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
            let mut missed = Missed::default();
            for wait in waits {
                let refused = Rejection::new(StatusCode::TOO_MANY_REQUESTS, "limited", "");
                let wait = wait.map(Duration::from_secs);
                missed.unpaid(match wait {
                    Some(wait) => refused.retry_after(wait),
                    None => refused,
                });
            }
            let wait = missed.rejection().retry_after;
            assert_eq!(wait, expected.map(Duration::from_secs));
        }
    }
}
