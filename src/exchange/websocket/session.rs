//! The life of one WebSocket: frames of its caller, frames of a provider, and what ends it.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use http::request::Parts;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::continued::Turn;
use super::relayed::Relayed;
use super::running::Running;
use super::shared::{
    Caller, End, FAREWELL, Frame, acknowledged, broke_off, counted, if_any, masked, received,
    silent,
};
use crate::base::clock::within;
use crate::exchange::context::Surface;
use crate::exchange::ending::Ending;
use crate::exchange::relay;
use crate::exchange::upstream::{Handshake, Socket};
use crate::exchange::{Gateway, Verified};
use crate::formats::{self, Format};
use crate::wire::{Mask, Rejection};

/// What a WebSocket waits for.
enum Heard {
    Caller(Option<Frame>),
    Provider(Option<Frame>),
    Relayed(Option<Utf8Bytes>),
    Withdrawn(Rejection),
    Stop,
}

/// A provider that is connected.
pub(super) struct Connected {
    /// How it was opened.
    pub(super) handshake: Handshake,
    /// The rules by which it was opened.
    pub(super) generation: u64,
    pub(super) socket: Socket,
    /// Hides what its frames quote: they have no status by which one is known to be an error.
    pub(super) mask: Mask,
}

/// One WebSocket.
pub(super) struct Session<'g> {
    pub(super) gateway: &'g Gateway,
    pub(super) format: &'static Format,
    pub(super) surface: Surface,
    pub(super) who: Verified,
    pub(super) head: Arc<Parts>,
    pub(super) caller: Caller,
    pub(super) upstream: Option<Connected>,
    pub(super) running: Option<Running>,
    /// A response that runs and that is translated.
    pub(super) relayed: Option<Relayed>,
    /// The last response that was translated.
    pub(super) last: Option<Turn>,
    pub(super) stop: CancellationToken,
}

impl Session<'_> {
    /// Serves it to its end.
    pub(super) async fn serve(mut self) {
        match self.run().await {
            End::Gone => self.leave().await,
            End::Close(code, reason) => {
                // It was the caller who sent what can't be read: the response had begun.
                self.leave().await;
                let frame = CloseFrame {
                    code,
                    reason: reason.into(),
                };
                // Nothing more of a provider is wanted. A caller who has left, or reads no more, gets no
                // close frame.
                self.upstream = None;
                let _ = within(FAREWELL, self.caller.close(Some(frame))).await;
            }
        }
        // Dropping the provider's connection cancels what is left of an answer.
    }

    /// The caller has left. Where the last item of the output may have ended, the rest is read for
    /// the count of the provider, as over HTTP.
    async fn leave(&mut self) {
        if let (Some(running), Some(connected)) = (&mut self.running, &mut self.upstream)
            && running.meter.is_closing()
            && let Some(_permit) = relay::rest()
        {
            let until = Instant::now() + relay::REST_TIME;
            let mut left = relay::REST_BYTES;
            while !running.meter.is_complete() {
                match timeout_at(until, connected.socket.next()).await {
                    Ok(Some(Ok(Message::Text(text)))) if text.len() <= left => {
                        left -= text.len();
                        running.take(&masked(text, &connected.mask));
                    }
                    Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
                    _ => break,
                }
            }
        }
        self.end(Ending::ClientLeft);
    }

    async fn run(&mut self) -> End {
        loop {
            let Some(heard) = self.hear().await else {
                let rejection = silent();
                self.fail(Ending::TimedOut, &rejection).await;
                return End::Close(CloseCode::Away, rejection.message.to_string());
            };
            let ended = match heard {
                Heard::Caller(frame) => self.hear_caller(frame).await,
                Heard::Provider(frame) => self.hear_provider(frame).await,
                Heard::Relayed(event) => self.hear_relayed(event).await,
                Heard::Withdrawn(rejection) => {
                    self.upstream = None;
                    self.fail(Ending::Revoked, &rejection).await;
                    Some(End::close(CloseCode::Policy, rejection.message))
                }
                Heard::Stop => Some(End::close(CloseCode::Restart, "the gateway stops")),
            };
            if let Some(end) = ended {
                return end;
            }
        }
    }

    /// What comes next; `None` if nothing did for too long.
    async fn hear(&mut self) -> Option<Heard> {
        let bounds = self.gateway.upstream.timeouts();
        let until = match &self.running {
            Some(running) => running.deadline(&bounds),
            // What relays it has these bounds, too.
            None if self.relayed.is_some() => None,
            None => (!bounds.total.is_zero()).then(|| Instant::now() + bounds.total),
        };
        let is_idle = self.running.is_none() && self.relayed.is_none();
        let from_relayed = if_any(self.relayed.as_mut().map(Relayed::next));
        let upstream = self.upstream.as_mut();
        let from_provider = if_any(upstream.map(|connected| connected.socket.next()));
        let running = self.running.as_mut();
        let withdrawn = if_any(running.map(|running| &mut running.parts.revoked));
        let (caller, stop) = (&mut self.caller, &self.stop);
        let next = async {
            // Nothing more is given of what was withdrawn.
            tokio::select! {
                biased;
                rejection = withdrawn => Heard::Withdrawn(rejection),
                () = stop.cancelled(), if is_idle => Heard::Stop,
                frame = caller.next() => Heard::Caller(frame),
                frame = from_provider => Heard::Provider(frame),
                event = from_relayed => Heard::Relayed(event),
            }
        };
        match until {
            Some(until) => timeout_at(until, next).await.ok(),
            None => Some(next.await),
        }
    }

    async fn hear_caller(&mut self, frame: Option<Frame>) -> Option<End> {
        let text = match received(frame, false) {
            Ok(Some(text)) => text,
            Ok(None) => return None,
            Err(end) => return Some(end),
        };
        let text = match counted(text).await {
            Ok(text) => text,
            Err(full) => return self.tell(&full.into()).await,
        };
        let refused = match self.format.frame(text.as_bytes()) {
            Ok(formats::Frame::Cancel) if self.relayed.is_some() => {
                return self.cancel_relayed().await;
            }
            Ok(formats::Frame::Cancel | formats::Frame::Beside) => {
                self.send_on(text).await;
                Ok(())
            }
            Ok(formats::Frame::Request) if self.running.is_some() || self.relayed.is_some() => {
                Err(Rejection::new(
                    StatusCode::CONFLICT,
                    "response_in_progress",
                    "one response at a time: the one before has not ended",
                ))
            }
            Ok(formats::Frame::Request) => {
                let mut is_admitted = false;
                let created = self.create(&text, &mut is_admitted).await;
                // A refusal before that has no record to wait for.
                if created.is_err()
                    && is_admitted
                    && let Some(end) = acknowledged(self.gateway).await
                {
                    return Some(end);
                }
                created
            }
            Err(rejection) => Err(rejection),
        };
        match refused {
            Ok(()) => None,
            Err(rejection) => self.tell(&rejection).await,
        }
    }

    /// Passes a frame on that asks for no answer, if there is anyone to pass it to.
    async fn send_on(&mut self, text: Utf8Bytes) {
        let limit = self.gateway.upstream.timeouts().idle;
        let generation = self.gateway.rules.borrow().generation;
        let is_current = |one: &Connected| one.generation == generation;
        // What belongs to a response that runs goes where that runs.
        if self.running.is_none() && !self.upstream.as_ref().is_some_and(is_current) {
            self.upstream = None;
        }
        if let Some(Connected { socket, .. }) = &mut self.upstream {
            // A provider that is gone is noticed when it is listened to.
            let _ = within(limit, socket.send(Message::Text(text))).await;
        }
    }

    /// An event of a response that is translated, which makes its own record.
    async fn hear_relayed(&mut self, event: Option<Utf8Bytes>) -> Option<End> {
        if let Some(event) = event {
            return self.give(Message::Text(event)).await;
        }
        let relayed = self.relayed.take();
        self.last = relayed.and_then(|relayed| relayed.turn);
        None
    }

    /// Ends a response that is translated because its caller wants no more of it. It is recorded as one that
    /// its caller has left.
    async fn cancel_relayed(&mut self) -> Option<End> {
        let relayed = self.relayed.take()?;
        let id = relayed.id.as_deref().unwrap_or_default();
        let event = (self.format.socket?.cancelled)(id).to_string();
        drop(relayed);
        self.give(Message::text(event)).await
    }

    async fn hear_provider(&mut self, frame: Option<Frame>) -> Option<End> {
        let text = match frame {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return None,
            Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => {
                // Between two answers nothing is lost: the next one connects again.
                self.upstream = None;
                if self.ask_again().await {
                    return None;
                }
                if self.running.is_some() {
                    self.fail(Ending::ProviderCut, &broke_off()).await;
                }
                return None;
            }
        };
        let text = match &self.upstream {
            Some(connected) => masked(text, &connected.mask),
            None => text,
        };
        let mut over = None;
        if let Some(running) = &mut self.running {
            running.take(&text);
            let failed = is_error(&text);
            over = (failed || running.meter.is_complete()).then_some(failed);
        }
        if over.is_some() && self.gateway.ledger.acknowledges() {
            let running = self.running.as_ref();
            let revoked = if_any(running.map(|running| running.parts.revoked.clone()));
            let ended = tokio::select! {
                ended = self.conclude(over) => ended,
                rejection = revoked => Some(End::close(CloseCode::Policy, rejection.message)),
            };
            if ended.is_some() {
                return ended;
            }
        }
        if let Some(end) = self.give(Message::Text(text)).await {
            return Some(end);
        }
        // The provider isn't silent while its caller reads slowly.
        if let Some(running) = &mut self.running {
            running.heard = Instant::now();
        }
        self.conclude(over).await
    }

    /// Ends the running response, if it is over, with an error or without. Where responses are acknowledged,
    /// waits until its record is durable.
    async fn conclude(&mut self, over: Option<bool>) -> Option<End> {
        self.running.as_ref()?;
        let ending = if over? {
            let why = "the provider ended the response with an error".to_owned();
            Ending::ProviderFailed(why)
        } else {
            Ending::Complete
        };
        self.end(ending);
        acknowledged(self.gateway).await
    }

    /// Ends the running answer: its caller is told in the format's own way.
    async fn fail(&mut self, ending: fn(String) -> Ending, rejection: &Rejection) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        running.end(ending(rejection.message.to_string()));
        if acknowledged(self.gateway).await.is_none() {
            self.tell(rejection).await;
        }
    }

    /// Sends the format's event for a refusal.
    async fn tell(&mut self, rejection: &Rejection) -> Option<End> {
        let event = self.format.stream_error(rejection);
        let event = String::from_utf8_lossy(&event);
        let data = event.lines().find_map(|line| line.strip_prefix("data: "));
        self.give(Message::text(data.unwrap_or_default())).await
    }

    /// Gives a frame to the caller, who may not be reading.
    async fn give(&mut self, frame: Message) -> Option<End> {
        let limit = self.gateway.upstream.timeouts().idle;
        let running = self.running.as_mut();
        let withdrawn = if_any(running.map(|running| &mut running.parts.revoked));
        let sent = tokio::select! {
            biased;
            sent = within(limit, self.caller.send(frame)) => sent,
            rejection = withdrawn => {
                let why = rejection.message.to_string();
                self.end(Ending::Revoked(why.clone()));
                return Some(End::Close(CloseCode::Policy, why));
            }
        };
        match sent {
            Ok(Ok(())) => None,
            Ok(Err(_)) | Err(_) => Some(End::Gone),
        }
    }

    fn end(&mut self, ending: Ending) {
        if let Some(mut running) = self.running.take() {
            running.end(ending);
        }
    }
}

/// Whether a frame is the API's event for an error, which ends an answer.
fn is_error(text: &Utf8Bytes) -> bool {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        #[serde(default, rename = "type")]
        kind: Option<&'a str>,
    }
    serde_json::from_str::<Kind<'_>>(text).is_ok_and(|event| event.kind == Some("error"))
}
