//! One running response over a WebSocket, metered frame by frame.

use http::Response;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::exchange::attempts::Tries;
use crate::exchange::clear::Cleared;
use crate::exchange::ending::{Ended, Ending, Metered};
use crate::exchange::held::Remember;
use crate::exchange::relay::Begun;
use crate::exchange::upstream::Handshake;
use crate::formats::{Meter, Tokens};
use crate::net::client::Timeouts;
use crate::wire::{Revocation, sse};

/// How the connection was opened that has the frame, if it had served others before: it may have
/// been closed for that alone, and the frame is sent once more on a new one.
pub(in crate::exchange) type Renewal = Option<Handshake>;

/// How a provider has the frame.
pub(in crate::exchange) enum Reached {
    /// Over a WebSocket.
    Socket(Renewal),
    /// As a request, because it speaks another format.
    Http(Response<Begun>),
}

/// What helps if a provider closes the connection, or is gone, before anything of a response has
/// come.
pub(in crate::exchange) struct Retry {
    pub(in crate::exchange) renewal: Renewal,
    pub(in crate::exchange) tries: Tries<Reached>,
}

/// What a running response has of its provider.
pub(in crate::exchange) struct Parts {
    pub(in crate::exchange) revoked: Revocation,
    /// How to ask once more, while nothing has come.
    pub(in crate::exchange) retry: Option<Retry>,
    pub(in crate::exchange) remember: Option<Remember>,
}

impl Parts {
    /// Whether the same provider can be asked once more.
    fn may_renew(&self) -> bool {
        let retry = self.retry.as_ref();
        retry.is_some_and(|retry| retry.renewal.is_some())
    }
}

/// A running response.
pub(in crate::exchange) struct Running {
    pub(in crate::exchange) cleared: Cleared,
    pub(in crate::exchange) meter: Box<dyn Meter>,
    pub(in crate::exchange) parts: Parts,
    /// What of its counts was charged with an exchange before it.
    pub(in crate::exchange) before: Tokens,
    began: Instant,
    /// When the provider last said something, or the caller got it.
    pub(in crate::exchange) heard: Instant,
}

impl Running {
    pub(in crate::exchange) fn new(mut cleared: Cleared, parts: Parts) -> Self {
        let room = cleared.draft.room();
        let asked = cleared.asked();
        let meter = asked.format.meter(&asked.call.metered(room));
        // What was asked may be large, and is needed only to ask once more.
        if cleared.choices.is_empty() && !parts.may_renew() {
            cleared.forget_body();
        }
        let now = Instant::now();
        Self {
            cleared,
            meter,
            parts,
            before: Tokens::default(),
            began: now,
            heard: now,
        }
    }

    /// When the provider has been silent for too long, or the answer has taken too long: what a
    /// caller sends in the meantime moves neither.
    pub(in crate::exchange) fn deadline(&self, bounds: &Timeouts) -> Option<Instant> {
        let idle = (!bounds.idle.is_zero()).then(|| self.heard + bounds.idle);
        let total = (!bounds.total.is_zero()).then(|| self.began + bounds.total);
        idle.into_iter().chain(total).min()
    }

    /// Another provider was asked, while nothing had come of the one before.
    pub(in crate::exchange) fn moved(&mut self, parts: Parts) {
        self.parts = parts;
        self.heard = Instant::now();
    }

    /// Reads one event of the answer.
    pub(in crate::exchange) fn take(&mut self, text: &Utf8Bytes) {
        self.heard = Instant::now();
        self.parts.retry = None;
        self.cleared.forget_body();
        if let Some(remember) = &mut self.parts.remember {
            remember.read(text.as_bytes());
        }
        let had_output = self.meter.has_output();
        self.meter.event(&sse::Event {
            name: b"",
            data: text.as_bytes(),
        });
        let speaks = !had_output && self.meter.has_output();
        self.cleared.draft.received(text.len(), speaks);
    }

    /// Ends the exchange, once. Returns what is charged for.
    pub(in crate::exchange) fn end(&mut self, ending: Ending) -> Tokens {
        let draft = &mut self.cleared.draft;
        if draft.has_ended() {
            return Tokens::default();
        }
        let mut reading = self.meter.finish();
        reading.tokens = reading.tokens.beyond(&self.before);
        let words = reading.failure.clone();
        let metered = Metered {
            body: reading.response.take().unwrap_or_default(),
            raw: None,
            truncated: reading.truncated,
            length: draft.entry.response_bytes,
            reading,
        };
        draft.end(Ended {
            ending: ending.unless_reported(words),
            metered,
        });
        draft.charged
    }
}

/// A response that is dropped before its end has lost its caller; what came of it counts.
impl Drop for Running {
    fn drop(&mut self) {
        self.end(Ending::ClientLeft);
    }
}
