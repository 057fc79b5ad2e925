//! Frames of a caller as exchanges: the same stages as over HTTP, and how a provider gets the frame.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::continued;
use super::relayed::Relayed;
use super::running::{Parts, Reached, Retry, Running};
use super::session::{Connected, Session};
use super::shared::{broke_off, silent, verify};
use crate::base::memory::{Hold, weighed};
use crate::base::reasons::Reason;
use crate::exchange::attempts::{Ask, Outcome, Then, Tries};
use crate::exchange::clear::Cleared;
use crate::exchange::ending::Stage;
use crate::exchange::entry::Ticket;
use crate::exchange::failure::Failure;
use crate::exchange::fund::Funded;
use crate::exchange::http::OverHttp;
use crate::exchange::refusal::Refused;
use crate::exchange::upstream::{Handshake, Unsent};
use crate::wire::Rejection;

impl Session<'_> {
    /// One request.
    pub(super) async fn create(
        &mut self,
        text: &Utf8Bytes,
        is_admitted: &mut bool,
    ) -> Result<(), Rejection> {
        verify(&mut self.who).await?;
        let (who, head) = (self.who.clone(), Arc::clone(&self.head));
        let gateway = self.gateway;
        let identified = gateway.identify(&who, &head.headers).await?;
        let ticket = Ticket::new();
        let admitted = gateway
            .admit(ticket, who, identified, &head, self.surface, self.format)
            .await?;
        *is_admitted = true;
        let most = gateway.rules.borrow().request_body;
        let last = self.last.as_ref();
        let frame = match last.and_then(|turn| turn.continued(text.as_bytes())) {
            Some(continued) => counted(continued, most).await?,
            None => Bytes::copy_from_slice(text.as_bytes()),
        };
        let frame = match gateway.attached(admitted.context(), frame).await {
            Ok(frame) => frame,
            Err(rejection) => {
                let (draft, _) = admitted.into_parts();
                return Err(Refused::new(draft, Stage::Route, rejection).record());
            }
        };
        let whole = frame.clone();
        let routed = gateway
            .route(admitted, head, frame)
            .map_err(Refused::record)?;
        let cleared = gateway.clear(routed).await;
        let mut cleared = cleared.map_err(Refused::record)?;
        let mut tries = Tries::new();
        let (asked, _) = gateway.ask(self, &mut tries, &mut cleared).await;
        match asked {
            Ok(Reached::Socket(renewal)) => {
                let parts = self.parts(&cleared, Retry { renewal, tries });
                self.running = Some(Running::new(cleared, parts));
                Ok(())
            }
            Ok(Reached::Http(response)) => {
                let response = gateway.relay_frames(cleared, response).await;
                let input = continued::input(&whole);
                self.relayed = Some(Relayed::new(response, input, most).await?);
                Ok(())
            }
            Err(rejection) => Err(Refused::new(cleared.draft, Stage::Send, rejection).record()),
        }
    }

    fn parts(&self, cleared: &Cleared, retry: Retry) -> Parts {
        let gateway = self.gateway;
        let last = cleared.draft.attempts.last();
        Parts {
            revoked: gateway.watch(cleared),
            retry: Some(retry),
            remember: last.and_then(|last| gateway.remember(cleared.asked(), &last.route.provider)),
        }
    }

    /// Opens the connection for a frame, and tells whether it had been there.
    async fn open(&mut self, funded: &Funded<'_>) -> Result<(Handshake, bool), Failure> {
        let handshake = self.gateway.upstream.handshake(funded).await?;
        let is_reused = self.connect(&handshake, funded.rules.generation).await?;
        Ok((handshake, is_reused))
    }

    /// Connects a provider, and tells whether the connection had been there.
    async fn connect(&mut self, handshake: &Handshake, generation: u64) -> Result<bool, Failure> {
        let is_it =
            |one: &Connected| one.handshake.is_same(handshake) && one.generation == generation;
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

    async fn send(&mut self, funded: &Funded<'_>) -> Result<(), Rejection> {
        let Some(Connected { socket, .. }) = &mut self.upstream else {
            return Err(broke_off());
        };
        let sent = self.gateway.upstream.send_frame(funded, socket).await;
        sent.map_err(|unsent| match unsent {
            Unsent::BrokeOff => broke_off(),
            Unsent::Silent => silent(),
        })
    }

    /// Sends the frame once more, on a new connection.
    async fn renew(
        &mut self,
        handshake: &Handshake,
        funded: &mut Funded<'_>,
    ) -> Result<(), Rejection> {
        let provider = funded.route().provider.id.clone();
        funded.reason(Reason::KeptConnectionClosed { provider });
        self.upstream = None;
        let connected = self.connect(handshake, funded.rules.generation).await;
        connected.map_err(|failure| failure.rejection(&funded.route().provider.id))?;
        self.send(funded).await
    }

    /// Asks again for a response of which nothing has come: its provider, if it closed a connection
    /// that had served others before, and then another one. Returns whether one was asked.
    pub(super) async fn ask_again(&mut self) -> bool {
        let Some(mut running) = self.running.take() else {
            return false;
        };
        let asked = match running.parts.retry.take() {
            Some(retry) => Box::pin(self.retry(&mut running, retry)).await,
            None => false,
        };
        self.running = Some(running);
        asked
    }

    async fn retry(&mut self, running: &mut Running, mut retry: Retry) -> bool {
        let gateway = self.gateway;
        if let Some(handshake) = retry.renewal.take()
            && let Some(mut funded) = gateway.refund(&mut running.cleared)
            && self.renew(&handshake, &mut funded).await.is_ok()
        {
            running.parts.retry = Some(retry);
            return true;
        }
        self.upstream = None;
        let cleared = &mut running.cleared;
        let failed = broke_off();
        let routing = cleared.draft.routing;
        if let Some(attempt) = cleared.draft.attempt() {
            attempt.break_off(&failed.message, &routing);
        }
        let outcome = Outcome::Failed {
            why: "it broke off before it answered".to_owned(),
            is_unsent: false,
            instead: Err(failed),
        };
        let Then::Next(_) = gateway.judge(&mut retry.tries, cleared, outcome) else {
            return false;
        };
        // Where a provider takes the frame as it is, none is asked in another format.
        let asked = gateway.ask(self, &mut retry.tries, cleared).await;
        let (Ok(Reached::Socket(renewal)), _) = asked else {
            return false;
        };
        retry.renewal = renewal;
        let parts = self.parts(cleared, retry);
        running.moved(parts);
        true
    }
}

/// A frame with the conversation that it goes on with, which counts as memory and may have `most` bytes, like any
/// request.
async fn counted(frame: Vec<u8>, most: usize) -> Result<Bytes, Rejection> {
    if frame.len() > most {
        let why = format!("the conversation is longer than a request may be: {most} bytes");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Rejection::new(status, "body_too_large", why));
    }
    let mut hold = Hold::default();
    hold.reserve(weighed(frame.len())).await?;
    Ok(hold.keep(frame.into()))
}

impl Ask for Session<'_> {
    type Response = Reached;

    /// The connection of a provider, and the frame.
    async fn attempt(&mut self, mut funded: Funded<'_>, may_go_on: bool) -> Outcome<Reached> {
        if funded.attempt.translation.is_some() {
            let mut over_http = OverHttp(self.gateway);
            let asked = Box::pin(over_http.attempt(funded, may_go_on));
            return asked.await.map(Reached::Http);
        }
        let routing = funded.rules.file.routing;
        let gateway = self.gateway;
        let (handshake, is_reused) = loop {
            match self.open(&funded).await {
                Ok(opened) => break opened,
                Err(Failure::Declined { status, wait })
                    if gateway.has_other_key(&mut funded, status, || wait) => {}
                Err(failure) => {
                    funded.attempt.fail(&failure, &routing);
                    return Outcome::failed(&failure, &funded.route().provider.id);
                }
            }
        };
        if let Some(request) = funded.attempt.in_flight() {
            request.answering(&routing);
        }
        funded.attempt.ask();
        funded.entry.status = StatusCode::OK.as_u16();
        funded.entry.overhead_ms = Some(funded.attempt.before_ms);
        match self.send(&funded).await {
            Ok(()) => Outcome::Answered(Reached::Socket(is_reused.then_some(handshake))),
            Err(rejection) if !is_reused => Outcome::Refused(rejection),
            Err(_) => match self.renew(&handshake, &mut funded).await {
                Ok(()) => Outcome::Answered(Reached::Socket(None)),
                Err(rejection) => Outcome::Refused(rejection),
            },
        }
    }
}
