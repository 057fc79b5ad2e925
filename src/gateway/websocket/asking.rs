//! One request over a WebSocket: its provider, the connection to it, and the frame that asks.

use bytes::Bytes;
use futures_util::SinkExt;
use http::StatusCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::running::Running;
use super::session::{Connected, Session, broke_off, silent};
use crate::access::Permit;
use crate::api::Call;
use crate::clock::{self, within};
use crate::gateway::guard::Passing;
use crate::gateway::{asked, entry, lists, refusal, revoke};
use crate::ledger::EntryId;
use crate::relay::Recording;
use crate::route::{Choice, Route};
use crate::rules::Rules;
use crate::upstream::{Failure, Handshake};
use crate::wire::Rejection;

/// The frame that asked on a connection that had served others before: if the provider closes that
/// without a word, it is sent once more on a new one.
pub(super) struct Again {
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
            let asked = self.ask(&call, choice, (&rules, &permit), &mut recording);
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
        let meter = self.api.meter(&call, room);
        let who = self.who.clone();
        let held = gateway.traffic.held();
        let remember = held.remember(&route.provider.id, self.api.kind().0);
        let revoked = revoke::watch(gateway.rules.clone(), who, route, rules.generation);
        let parts = (revoked, again, remember);
        self.running = Some(Running::new(call, meter, recording, parts));
        Ok(())
    }

    /// Asks the providers of a choice, another one only while nothing was sent.
    async fn ask(
        &mut self,
        call: &Call,
        choice: Choice,
        of: (&Rules, &Permit),
        recording: &mut Recording,
    ) -> Result<(Route, Option<Again>), Rejection> {
        let mut route = choice.first;
        let mut others = choice.others.into_iter();
        let routing = of.0.file.routing;
        let mut unpaid: Option<Rejection> = None;
        let mut failed: Option<Rejection> = None;
        let mut attempts = 1;
        loop {
            let (id, began) = (route.provider.id.clone(), recording.elapsed_ms());
            let why = match self.ask_one(&route, call, of, recording).await {
                Ok(again) => return Ok((route, again)),
                Err(Stop::Refused(rejection)) => return Err(rejection),
                Err(Stop::Unpaid(rejection)) => {
                    let wait = |one: &Rejection| one.retry_after;
                    if unpaid
                        .as_ref()
                        .is_none_or(|before| wait(&rejection) < wait(before))
                    {
                        unpaid = Some(rejection);
                    }
                    format!("no budget pays for provider {id}; asking another")
                }
                Err(Stop::Failed(failure)) => {
                    let took = recording.elapsed_ms() - began;
                    let why = format!(
                        "attempt {attempts} at provider {id} failed after {took:.0} ms: {failure}; \
                         asking another"
                    );
                    let rejection = failure.rejection();
                    let may = attempts < routing.attempts
                        && others.len() > 0
                        && self.gateway.traffic.retry(&call.model);
                    if !may {
                        return Err(rejection);
                    }
                    attempts += 1;
                    failed = Some(rejection);
                    why
                }
            };
            let Some(next) = others.next() else {
                return Err(failed.or(unpaid).unwrap_or_else(Rejection::panicked));
            };
            recording.note(|entry| entry.reasons.push(why));
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
    ) -> Result<Option<Again>, Stop> {
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
                if failure.is_the_providers() {
                    open.failed(&failure.to_string(), failure.scope(), &routing);
                }
                return Err(Stop::Failed(failure));
            }
        };
        open.answering(&routing);
        recording.asked(true);
        recording.opened(open, routing);
        let frame = Utf8Bytes::from(String::from_utf8(outbound.body.to_vec()).unwrap_or_default());
        let again = reused.then(|| Again {
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
            Ok(()) => Ok(again),
            Err(rejection) => {
                let Some(again) = again else {
                    return Err(Stop::Refused(rejection));
                };
                self.renew(again, recording).await.map_err(Stop::Refused)?;
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
    async fn renew(&mut self, again: Again, recording: &mut Recording) -> Result<(), Rejection> {
        recording.note(|entry| {
            entry.reasons.push(format!(
                "provider {} closed a kept connection before it answered; asking it again on a new one",
                again.provider
            ));
        });
        self.upstream = None;
        let connected = self.connect(&again.handshake, again.generation).await;
        connected.map_err(|failure| failure.rejection())?;
        self.send(again.frame).await
    }

    /// Asks again for a response of which nothing has come, if its provider closed a connection that
    /// had served others before. Tells whether it was asked.
    pub(super) async fn asked_again(&mut self) -> bool {
        let Some(mut running) = self.running.take() else {
            return false;
        };
        let Some(again) = running.again.take() else {
            self.running = Some(running);
            return false;
        };
        let renewed = self.renew(again, running.recording()).await;
        self.running = Some(running);
        renewed.is_ok()
    }
}
