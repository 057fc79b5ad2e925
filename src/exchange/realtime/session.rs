//! One session, and how its two ends are told something.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::request::Parts;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use super::opening::Link;
use super::turn::Turn;
use crate::base::clock::within;
use crate::base::reasons::Reason;
use crate::exchange::ending::Ending;
use crate::exchange::relay;
use crate::exchange::websocket::{Caller, End, FAREWELL, acknowledged, masked, silent};
use crate::exchange::{Gateway, Verified};
use crate::formats::realtime::{Event, Realtime, Told};
use crate::formats::{Format, Sound, Tokens};
use crate::wire::Rejection;

/// Bytes that a close frame's reason may have (RFC 6455, section 5.5).
const REASON: usize = 123;

/// For how long after the end of a turn counts of no turn are taken for later ones of that turn.
const LATE: Duration = Duration::from_secs(30);
/// Why sessions are closed when the gateway stops.
pub(super) const STOPS: &str = "the gateway stops";

/// One session.
pub(super) struct Session<'g> {
    pub(super) gateway: &'g Gateway,
    pub(super) format: &'static Format,
    pub(super) realtime: Realtime,
    pub(super) who: Verified,
    pub(super) head: Arc<Parts>,
    pub(super) caller: Caller,
    pub(super) link: Link,
    pub(super) turns: Vec<Turn>,
    /// What was sent since the last turn.
    pub(super) journal: Journal,
    /// Why it was let pass.
    pub(super) reasons: Vec<Reason>,
    /// The model that makes text of what is heard.
    pub(super) hears_with: Option<String>,
    /// Tokens of the conversation that the provider holds.
    pub(super) held_tokens: u64,
    /// What of it is sound, as far as the last turn has told.
    pub(super) sound: Sound,
    /// What was charged for the turn that ended last.
    pub(super) charged: Tokens,
    /// Until when counts of no turn are taken for later ones of that turn.
    pub(super) late_until: Instant,
    /// When one of both has last said something.
    pub(super) heard: Instant,
    pub(super) stop: CancellationToken,
}

impl Session<'_> {
    /// The first turn that is as `is_it` says.
    pub(super) fn nth(&self, is_it: impl Fn(&Turn) -> bool) -> Option<usize> {
        self.turns.iter().position(is_it)
    }

    /// When something has to have been heard.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let bounds = self.gateway.upstream.timeouts();
        if self.turns.is_empty() {
            return (!bounds.total.is_zero()).then(|| self.heard + bounds.total);
        }
        let deadlines = self.turns.iter().filter_map(|turn| turn.deadline(&bounds));
        deadlines.min()
    }

    /// The turn that an event is of. One that was asked for gets its id with its first event.
    pub(super) fn nth_of(&mut self, event: &Event) -> Option<usize> {
        let mut turns = self.turns.iter();
        let Some(id) = &event.turn else {
            // Another one can begin before the count of the last has come.
            let is_late = matches!(event.told, Told::Rest | Told::Counts);
            return turns.position(|turn| is_late || !turn.is_ending());
        };
        let known = turns.position(|turn| turn.id.as_ref() == Some(id));
        known.or_else(|| {
            let nth = self.turns.iter().position(|turn| turn.id.is_none())?;
            self.turns[nth].id = Some(id.clone());
            Some(nth)
        })
    }

    /// The caller has left, or the session ends: providers are told to stop, and what they have counted
    /// is waited for.
    pub(super) async fn leave(&mut self) {
        if let Some(cancel) = self.realtime.cancel {
            let ids: Vec<_> = self.turns.iter().map(|turn| turn.id.clone()).collect();
            for id in ids {
                let _ = self.forward(cancel(id.as_deref()).into()).await;
            }
        }
        if !self.turns.is_empty()
            && let Some(_permit) = relay::rest()
        {
            let until = Instant::now() + relay::REST_TIME;
            let mut left = relay::REST_BYTES;
            while self.nth(|turn| !turn.is_complete()).is_some() {
                let text = match timeout_at(until, self.link.socket.next()).await {
                    Ok(Some(Ok(Message::Text(text)))) => text,
                    Ok(Some(Ok(Message::Binary(bytes)))) => {
                        Utf8Bytes::try_from(bytes).unwrap_or_default()
                    }
                    Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {
                        continue;
                    }
                    _ => break,
                };
                if text.len() > left {
                    break;
                }
                left -= text.len();
                let text = masked(text, &self.link.mask);
                let event = (self.realtime.event)(text.as_bytes());
                if let Some(apart) = self.apart(&event, &text) {
                    // A refusal has its record.
                    let _ = self.charge(&apart).await;
                } else if !matches!(event.told, Told::Beside | Told::Refused(_))
                    && let Some(nth) = self.nth_of(&event)
                {
                    self.turns[nth].take(&text);
                }
            }
        }
        for mut turn in self.turns.drain(..) {
            turn.end(Ending::ClientLeft);
        }
    }

    /// Ends the turns that only wait for a count, because another one may begin.
    pub(super) async fn conclude_ending(&mut self) -> Option<End> {
        while let Some(nth) = self.nth(Turn::is_ending) {
            let end = self.conclude(nth, Ending::Complete).await;
            if end.is_some() {
                return end;
            }
        }
        None
    }

    /// Ends a turn. Where responses are acknowledged, waits until its record is durable.
    pub(super) async fn conclude(&mut self, nth: usize, ending: Ending) -> Option<End> {
        let mut turn = self.turns.remove(nth);
        let charged = turn.end(ending);
        self.charged = charged;
        self.late_until = Instant::now() + LATE;
        self.holds(&charged);
        acknowledged(self.gateway).await
    }

    /// Notes what the provider holds by these counts: what the model has read and written is read again with the next
    /// turn.
    pub(super) fn holds(&mut self, counted: &Tokens) {
        if let Some(read) = counted.input.filter(|_| !counted.estimated) {
            self.held_tokens = read.saturating_add(counted.output.unwrap_or(0));
            let [heard, _, spoken] = counted.sound().map(Option::unwrap_or_default);
            self.sound = Sound {
                held_tokens: heard.saturating_add(spoken),
                may_answer: spoken > 0,
            };
        }
    }

    /// Ends all turns: the caller is told in the format's own way.
    pub(super) async fn fail(&mut self, ending: fn(String) -> Ending, rejection: &Rejection) {
        for mut turn in self.turns.drain(..) {
            turn.end(ending(rejection.message.to_string()));
        }
        if acknowledged(self.gateway).await.is_none() {
            let _ = self.tell(rejection).await;
        }
    }

    /// Sends the format's event for a refusal. A format that has none closes the session.
    pub(super) async fn tell(&mut self, rejection: &Rejection) -> Option<End> {
        if let Some(event) = error(self.format, rejection) {
            return self.give(Message::text(event)).await;
        }
        let code = Realtime::close_code(rejection);
        Some(End::close(CloseCode::from(code), &rejection.message))
    }

    /// Passes a message on to the provider, which may not be reading.
    pub(super) async fn forward(&mut self, message: Bytes) -> Option<End> {
        let text = Utf8Bytes::try_from(message).unwrap_or_default();
        let limit = self.gateway.upstream.timeouts().idle;
        let sent = within(limit, self.link.socket.send(Message::Text(text))).await;
        match sent {
            // A provider that is gone is noticed when it is listened to.
            Ok(_) => None,
            Err(_) => Some(End::close(CloseCode::Away, silent().message)),
        }
    }

    /// Gives a message to the caller, who may not be reading.
    pub(super) async fn give(&mut self, frame: Message) -> Option<End> {
        let limit = self.gateway.upstream.timeouts().idle;
        let sent = tokio::select! {
            biased;
            sent = within(limit, self.caller.send(frame)) => sent,
            rejection = self.link.revoked.clone() => {
                let why = rejection.message.to_string();
                for mut turn in self.turns.drain(..) {
                    turn.end(Ending::Revoked(why.clone()));
                }
                return Some(End::Close(CloseCode::Policy, why));
            }
        };
        match sent {
            Ok(Ok(())) => None,
            Ok(Err(_)) | Err(_) => Some(End::Gone),
        }
    }
}

/// Refuses a session that was not opened.
pub(super) async fn refuse(caller: &mut Caller, format: &Format, rejection: &Rejection) {
    if let Some(event) = error(format, rejection) {
        let _ = within(FAREWELL, caller.send(Message::text(event))).await;
    }
    let code = CloseCode::from(Realtime::close_code(rejection));
    close(caller, code, &rejection.message).await;
}

/// Closes a session; a reason that is too long is cut.
pub(super) async fn close(caller: &mut Caller, code: CloseCode, reason: &str) {
    let frame = CloseFrame {
        code,
        reason: reason[..reason.floor_char_boundary(REASON)].into(),
    };
    // A caller who has left, or reads no more, gets no close frame.
    let _ = within(FAREWELL, caller.close(Some(frame))).await;
}

/// The format's event for a refusal, if it has one.
fn error(format: &Format, rejection: &Rejection) -> Option<String> {
    let event = format.stream_error(rejection);
    let event = String::from_utf8_lossy(&event);
    let data = event.lines().find_map(|line| line.strip_prefix("data: "));
    data.map(str::to_owned)
}
