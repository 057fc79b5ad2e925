//! One answer in the making over a WebSocket, metered frame by frame.

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::asking::{Again, Parts};
use crate::exchange::clear::Cleared;
use crate::exchange::ending::{Ended, Ending};
use crate::exchange::held::Remember;
use crate::exchange::relay::Watch;
use crate::formats::Meter;
use crate::net::client::Timeouts;
use crate::wire::sse;

/// One answer in the making.
pub(super) struct Running {
    pub(super) cleared: Cleared,
    meter: Box<dyn Meter>,
    pub(super) revoked: Watch,
    /// How to ask once more, while nothing has come.
    pub(super) again: Option<Again>,
    remember: Option<Remember>,
    began: Instant,
    /// When the provider last said something.
    heard: Instant,
}

impl Running {
    pub(super) fn new(mut cleared: Cleared, parts: Parts) -> Self {
        let mut room = cleared.asked().rules.file.limits.capture;
        let told = cleared.draft().attempt();
        if let Some(after) = told.and_then(|attempt| attempt.told.as_ref()) {
            room = after.room(room);
        }
        let asked = cleared.asked();
        let meter = asked.formats.served.meter(&asked.call.metered(room));
        // What was asked may be large, and is needed only to ask once more.
        if cleared.choices().is_empty() && !parts.again.may_renew() {
            cleared.forget_body();
        }
        let now = Instant::now();
        Self {
            cleared,
            meter,
            revoked: parts.revoked,
            again: Some(parts.again),
            remember: parts.remember,
            began: now,
            heard: now,
        }
    }

    /// When the provider has been silent for too long, or the answer has taken too long: what a
    /// caller sends in the meantime moves neither.
    pub(super) fn deadline(&self, bounds: &Timeouts) -> Option<Instant> {
        let idle = (!bounds.idle.is_zero()).then(|| self.heard + bounds.idle);
        let total = (!bounds.total.is_zero()).then(|| self.began + bounds.total);
        idle.into_iter().chain(total).min()
    }

    /// Another provider was asked, while nothing had come of the one before.
    pub(super) fn moved(&mut self, parts: Parts) {
        self.revoked = parts.revoked;
        self.again = Some(parts.again);
        self.remember = parts.remember;
        self.heard = Instant::now();
    }

    /// Whether the format's own end was seen.
    pub(super) fn is_complete(&self) -> bool {
        self.meter.is_complete()
    }

    /// Whether an item of the output has ended, so that the end of the response may follow.
    pub(super) fn is_closing(&self) -> bool {
        self.meter.is_closing()
    }

    /// What the provider said has reached the caller: its silence begins.
    pub(super) fn given(&mut self) {
        self.heard = Instant::now();
    }

    /// Reads one event of the answer.
    pub(super) fn take(&mut self, text: &Utf8Bytes) {
        self.heard = Instant::now();
        self.again = None;
        self.cleared.forget_body();
        if let Some(remember) = &mut self.remember {
            remember.read(text.as_bytes());
        }
        let had_output = self.meter.has_output();
        self.meter.event(&sse::Event {
            name: b"",
            data: text.as_bytes(),
        });
        let says = !had_output && self.meter.has_output();
        let draft = self.cleared.draft();
        let elapsed = draft.elapsed_ms();
        draft.note(|entry| {
            entry.response_bytes += text.len() as u64;
            entry.first_byte_ms.get_or_insert(elapsed);
            if says {
                entry.first_token_ms = Some(elapsed);
            }
        });
    }

    /// Ends the exchange, once.
    pub(super) fn end(&mut self, ending: Ending) {
        let Some(facts) = self.cleared.draft().facts() else {
            return;
        };
        let length = facts.entry.response_bytes;
        let mut reading = self.meter.finish();
        let body = reading.response.take().unwrap_or_default();
        let truncated = reading.truncated;
        let ending = match (ending, reading.failure.clone()) {
            (ending @ (Ending::Revoked(_) | Ending::Panicked(_)), _) | (ending, None) => ending,
            (_, Some(words)) => Ending::ProviderFailed(words),
        };
        self.cleared.draft().end(Ended {
            reading,
            body,
            truncated,
            length,
            ..Ended::new(ending)
        });
    }
}

/// An answer that is dropped before its end has lost its caller; what came of it counts.
impl Drop for Running {
    fn drop(&mut self) {
        self.end(Ending::ClientLeft);
    }
}
