//! Frames of a caller as exchanges: the same stages as over HTTP, and how a provider gets the frame.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::running::Running;
use super::session::{Connected, Session, broke_off, silent};
use crate::base::reasons::Reason;
use crate::exchange::admit::Ticket;
use crate::exchange::attempts::{Outcome, Then, Tries};
use crate::exchange::clear::Cleared;
use crate::exchange::ending::Stage;
use crate::exchange::fund::Funded;
use crate::exchange::held::Remember;
use crate::exchange::refusal::Refused;
use crate::exchange::relay::Watch;
use crate::exchange::revoke;
use crate::exchange::upstream::{Failure, Handshake, Unsent};
use crate::wire::Rejection;

/// How the connection was opened that has the frame, where it had served others before: it may have
/// been closed for that alone, and the frame is sent once more on a new one.
pub(super) type Renewal = Option<Handshake>;

/// What helps if a provider closes the connection, or is gone, before anything of a response has
/// come.
pub(super) struct Again {
    renewal: Renewal,
    tries: Tries<Renewal>,
}

impl Again {
    /// Whether the same provider can be asked once more.
    pub(super) fn may_renew(&self) -> bool {
        self.renewal.is_some()
    }
}

/// What a response in the making has of its provider.
pub(super) struct Parts {
    pub(super) revoked: Watch,
    pub(super) again: Again,
    pub(super) remember: Option<Remember>,
}

impl Session<'_> {
    /// One request.
    pub(super) async fn create(&mut self, text: &Utf8Bytes) -> Result<(), Rejection> {
        self.verify().await?;
        let (who, head) = (self.who.clone(), Arc::clone(&self.head));
        let gateway = self.gateway;
        let admitted = gateway.admit(Ticket::new(), who, &head, self.surface, self.formats)?;
        let frame = Bytes::copy_from_slice(text.as_bytes());
        let routed = gateway.route(admitted, head, frame);
        let routed = routed.map_err(Refused::record)?;
        let cleared = gateway.clear(routed).await;
        let mut cleared = cleared.map_err(Refused::record)?;
        let mut tries = Tries::new();
        match self.ask(&mut cleared, &mut tries).await {
            Ok(renewal) => {
                let again = Again { renewal, tries };
                let parts = self.parts(&mut cleared, again);
                self.running = Some(Running::new(cleared, parts));
                Ok(())
            }
            Err(rejection) => {
                let (draft, _) = cleared.into_parts();
                Err(Refused::new(draft, Stage::Send, rejection).record())
            }
        }
    }

    fn parts(&self, cleared: &mut Cleared, again: Again) -> Parts {
        let gateway = self.gateway;
        let (asked, draft) = cleared.split();
        let mut parts = Parts {
            revoked: Box::pin(std::future::pending()),
            again,
            remember: None,
        };
        if let Some(attempt) = draft.attempt() {
            let route = &attempt.route;
            parts.revoked = revoke::watch(gateway.rules.clone(), asked, route);
            if asked.rules.routes.providers().len() > 1 {
                let held = &gateway.held;
                let format = asked.formats.served.name;
                parts.remember = held.remember(&route.provider.id, format);
            }
        }
        parts
    }

    /// Asks the providers of a request, until one was sent the frame.
    async fn ask(
        &mut self,
        cleared: &mut Cleared,
        tries: &mut Tries<Renewal>,
    ) -> Result<Renewal, Rejection> {
        let gateway = self.gateway;
        loop {
            tries.begin(cleared);
            let outcome = match gateway.fund(cleared).await {
                Ok(funded) => self.attempt(funded).await,
                Err(unfunded) => unfunded.into(),
            };
            match gateway.judge(tries, cleared, outcome) {
                Then::Next(None) => {}
                Then::Next(Some(pause)) => tokio::time::sleep(pause).await,
                Then::End(result, _) => return result,
            }
        }
    }

    /// Asks one provider: its connection, and the frame.
    async fn attempt(&mut self, mut funded: Funded<'_>) -> Outcome<Renewal> {
        let (routing, generation) = (funded.rules.file.routing, funded.rules.generation);
        let connected = match self.gateway.upstream.handshake(&funded).await {
            Ok(handshake) => {
                let connected = self.connect(&handshake, generation).await;
                connected.map(|is_reused| (handshake, is_reused))
            }
            Err(failure) => Err(failure),
        };
        let (handshake, is_reused) = match connected {
            Ok(connected) => connected,
            Err(failure) => {
                funded.attempt().fail(&failure, &routing);
                return failure.into();
            }
        };
        if let Some(open) = funded.attempt().open() {
            open.answering(&routing);
        }
        funded.attempt().ask();
        let before = funded.attempt().before_ms;
        funded.entry().status = StatusCode::OK.as_u16();
        funded.entry().overhead_ms = Some(before);
        match self.send(&funded).await {
            Ok(()) => Outcome::Answered(is_reused.then_some(handshake)),
            Err(rejection) if !is_reused => Outcome::Refused(rejection),
            Err(_) => match self.renew(&handshake, &mut funded).await {
                Ok(()) => Outcome::Answered(None),
                Err(rejection) => Outcome::Refused(rejection),
            },
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
        connected.map_err(|failure| failure.rejection())?;
        self.send(funded).await
    }

    /// Asks again for a response of which nothing has come: its provider, if it closed a connection
    /// that had served others before, and then another one. Tells whether one was asked.
    pub(super) async fn asked_again(&mut self) -> bool {
        let Some(mut running) = self.running.take() else {
            return false;
        };
        let asked = match running.again.take() {
            Some(again) => Box::pin(self.again(&mut running, again)).await,
            None => false,
        };
        self.running = Some(running);
        asked
    }

    async fn again(&mut self, running: &mut Running, mut again: Again) -> bool {
        let gateway = self.gateway;
        if let Some(handshake) = again.renewal.take()
            && let Some(mut funded) = gateway.refund(&mut running.cleared)
            && self.renew(&handshake, &mut funded).await.is_ok()
        {
            running.again = Some(again);
            return true;
        }
        self.upstream = None;
        let cleared = &mut running.cleared;
        let failed = broke_off();
        let routing = cleared.asked().rules.file.routing;
        if let Some(attempt) = cleared.draft().attempt() {
            attempt.break_off(&failed.message, &routing);
        }
        let outcome = Outcome::Failed {
            why: "it broke off before it answered".to_owned(),
            is_unsent: false,
            instead: Err(failed),
        };
        let Then::Next(_) = gateway.judge(&mut again.tries, cleared, outcome) else {
            return false;
        };
        let Ok(renewal) = self.ask(cleared, &mut again.tries).await else {
            return false;
        };
        again.renewal = renewal;
        let parts = self.parts(cleared, again);
        running.moved(parts);
        true
    }
}
