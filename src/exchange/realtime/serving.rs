//! The life of a session: messages of its caller, events of its provider, and what ends it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::session::{STOPS, Session, close};
use super::turn::Cause;
use crate::exchange::ending::Ending;
use crate::exchange::websocket::{
    End, Frame, acknowledged, broke_off, counted, masked, received, silent,
};
use crate::formats::realtime::{Event, Realtime, Sent, Told};
use crate::wire::Rejection;

/// What a session waits for.
enum Heard {
    Caller(Option<Frame>),
    Provider(Option<Frame>),
    Withdrawn(Rejection),
    Stop,
}

impl Session<'_> {
    /// Serves it to its end.
    pub(super) async fn serve(mut self) {
        let end = self.run().await;
        self.leave().await;
        if let End::Close(code, reason) = end {
            close(&mut self.caller, code, &reason).await;
        }
        // Dropping the provider's connection cancels what is left of a turn.
    }

    async fn run(&mut self) -> End {
        loop {
            let heard = self.hear().await;
            let ended = match heard {
                Some(Heard::Caller(frame)) => self.hear_caller(frame).await,
                Some(Heard::Provider(frame)) => self.hear_provider(frame).await,
                Some(Heard::Withdrawn(rejection)) => {
                    self.fail(Ending::Revoked, &rejection).await;
                    Some(End::close(CloseCode::Policy, rejection.message))
                }
                Some(Heard::Stop) => Some(End::close(CloseCode::Restart, STOPS)),
                None => self.late().await,
            };
            if let Some(end) = ended {
                return end;
            }
        }
    }

    /// What comes next; `None` if nothing did for too long.
    async fn hear(&mut self) -> Option<Heard> {
        let until = self.deadline();
        let is_idle = self.turns.is_empty();
        let (caller, stop) = (&mut self.caller, &self.stop);
        // What has resolved once can't be asked again.
        let (provider, revoked) = (&mut self.link.socket, self.link.revoked.clone());
        // Either of both may be busy, and doesn't keep the other from being heard.
        let one = async {
            tokio::select! {
                frame = caller.next() => Heard::Caller(frame),
                frame = provider.next() => Heard::Provider(frame),
            }
        };
        let next = async {
            tokio::select! {
                biased;
                rejection = revoked => Heard::Withdrawn(rejection),
                () = stop.cancelled(), if is_idle => Heard::Stop,
                heard = one => heard,
            }
        };
        match until {
            Some(until) => timeout_at(until, next).await.ok(),
            None => Some(next.await),
        }
    }

    /// Nothing was heard until a deadline: a turn has ended without a count, or was silent for too long.
    async fn late(&mut self) -> Option<End> {
        let now = Instant::now();
        if let Some(nth) = self.nth(|turn| turn.is_over(now)) {
            return self.conclude(nth, Ending::Complete).await;
        }
        let rejection = silent();
        self.fail(Ending::TimedOut, &rejection).await;
        Some(End::close(CloseCode::Away, rejection.message))
    }

    async fn hear_caller(&mut self, frame: Option<Frame>) -> Option<End> {
        let text = match received(frame, self.realtime.opens_with_message) {
            Ok(Some(text)) => text,
            Ok(None) => return None,
            Err(end) => return Some(end),
        };
        self.heard = Instant::now();
        let message = match counted(text).await {
            Ok(text) => Bytes::from(text),
            Err(full) => return self.tell(&full.into()).await,
        };
        let (sent, call) = match (self.realtime.understand)(message.clone(), &self.link.names) {
            Ok(understood) => understood,
            Err(rejection) => return self.tell(&rejection).await,
        };
        // One that only waits for its counts goes on waiting until another one begins.
        let runs = self.nth(|turn| !turn.is_ending()).is_some();
        let asks = match sent {
            Sent::Beside => {
                self.journal.beside(message.len());
                return self.forward(message).await;
            }
            Sent::Sound => {
                self.journal.heard(message.len());
                return self.forward(message).await;
            }
            Sent::Content => false,
            // Where only one can run, it goes on, or is followed by one that the provider begins.
            Sent::Turn => self.realtime.turns > 1 || !runs,
            Sent::Result => !runs,
        };
        if asks && let Some(end) = self.conclude_ending().await {
            return Some(end);
        }
        let judged = if !asks {
            Box::pin(self.judge(call)).await
        } else if self.turns.len() >= self.realtime.turns {
            Err(too_many(self.realtime.turns))
        } else {
            let names = Arc::clone(&self.link.names);
            match Box::pin(self.turn(call, &names, Cause::Asked)).await {
                Ok((turn, message)) => {
                    self.turns.push(turn);
                    Ok(message)
                }
                Err(rejection) => Err(rejection),
            }
        };
        match judged {
            Ok(message) => self.forward(message).await,
            Err(rejection) => match acknowledged(self.gateway).await {
                Some(end) => Some(end),
                None => self.tell(&rejection).await,
            },
        }
    }

    async fn hear_provider(&mut self, frame: Option<Frame>) -> Option<End> {
        let (text, is_binary) = match frame {
            Some(Ok(Message::Text(text))) => (text, false),
            Some(Ok(Message::Binary(bytes))) => match Utf8Bytes::try_from(bytes) {
                Ok(text) => (text, true),
                Err(_) => return Some(self.broken(None).await),
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return None,
            Some(Ok(Message::Close(frame))) => return Some(self.broken(frame).await),
            Some(Err(_)) | None => return Some(self.broken(None).await),
        };
        self.heard = Instant::now();
        let text = masked(text, &self.link.mask);
        let event = (self.realtime.event)(text.as_bytes());
        let mut nth = match self.follow(&event, &text).await {
            Ok(nth) => nth,
            Err(end) => return Some(end),
        };
        // Where responses are acknowledged, the record comes before the end.
        if self.gateway.ledger.acknowledges()
            && let Some(complete) = nth.take_if(|nth| self.turns[*nth].is_complete())
            && let Some(end) = self.conclude(complete, Ending::Complete).await
        {
            return Some(end);
        }
        let frame = if is_binary {
            Message::Binary(text.into())
        } else {
            Message::Text(text)
        };
        if let Some(end) = self.give(frame).await {
            return Some(end);
        }
        if let Some(turn) = nth.and_then(|nth| self.turns.get_mut(nth)) {
            turn.given();
        }
        match nth.filter(|nth| self.turns[*nth].is_complete()) {
            Some(nth) => self.conclude(nth, Ending::Complete).await,
            None => None,
        }
    }

    /// Has the turn of an event read it. One that the provider has begun by itself is paid for before
    /// anything of it reaches the caller.
    async fn follow(&mut self, event: &Event, text: &Utf8Bytes) -> Result<Option<usize>, End> {
        if let Some(apart) = self.apart(event, text) {
            return match self.charge(&apart).await {
                Ok(()) => acknowledged(self.gateway).await.map_or(Ok(None), Err),
                Err(rejection) => Err(self.unpaid(None, &rejection).await),
            };
        }
        match &event.told {
            Told::Beside | Told::Heard(_) => Ok(None),
            Told::Rest | Told::Counts => {
                let nth = self.nth_of(event);
                if let Some(nth) = nth {
                    self.turns[nth].take(text);
                }
                Ok(nth)
            }
            Told::Begins | Told::Within => {
                let nth = match self.nth_of(event) {
                    Some(nth) => nth,
                    None => self.begin(event.turn.clone()).await?,
                };
                self.turns[nth].take(text);
                Ok(Some(nth))
            }
            Told::Refused(message) => {
                if let Some(nth) = self.nth(|turn| turn.may_be_refused(message.as_deref())) {
                    self.turns[nth].take(text);
                    let why = "the provider refused to respond".to_owned();
                    if let Some(end) = self.conclude(nth, Ending::ProviderFailed(why)).await {
                        return Err(end);
                    }
                }
                Ok(None)
            }
        }
    }

    /// A provider has begun a turn by itself, because it has heard a caller stop talking, say.
    async fn begin(&mut self, id: Option<String>) -> Result<usize, End> {
        if let Some(end) = self.conclude_ending().await {
            return Err(end);
        }
        if self.turns.len() >= self.realtime.turns {
            let rejection = too_many(self.realtime.turns);
            return Err(self.unpaid(id.as_deref(), &rejection).await);
        }
        let names = Arc::clone(&self.link.names);
        let turn = match self.begun() {
            Ok(call) => Box::pin(self.turn(call, &names, Cause::Begun(id.clone()))).await,
            Err(rejection) => Err(rejection),
        };
        match turn {
            Ok((turn, _)) => {
                self.turns.push(turn);
                Ok(self.turns.len() - 1)
            }
            Err(rejection) => Err(self.unpaid(id.as_deref(), &rejection).await),
        }
    }

    /// Stops a turn that the caller didn't ask for and no budget pays for. The provider would begin the next
    /// one as it likes, so the session ends.
    async fn unpaid(&mut self, id: Option<&str>, rejection: &Rejection) -> End {
        if let Some(cancel) = self.realtime.cancel {
            let _ = self.forward(cancel(id).into()).await;
        }
        if let Some(end) = self.tell(rejection).await {
            return end;
        }
        let code = Realtime::close_code(rejection);
        End::close(CloseCode::from(code), &rejection.message)
    }

    /// The provider has closed the connection.
    async fn broken(&mut self, frame: Option<CloseFrame>) -> End {
        if !self.turns.is_empty() {
            self.fail(Ending::ProviderCut, &broke_off()).await;
        }
        let Some(CloseFrame { code, reason }) = frame.filter(|frame| frame.code.is_allowed())
        else {
            return End::close(CloseCode::Error, broke_off().message);
        };
        End::Close(code, masked(reason, &self.link.mask).to_string())
    }
}

fn too_many(turns: usize) -> Rejection {
    Rejection::new(
        StatusCode::CONFLICT,
        "response_in_progress",
        format!(
            "{turns} responses are in progress, which is as many as a session can have at once"
        ),
    )
}
