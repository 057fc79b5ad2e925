//! A turn that runs: one answer of the model, metered event by event.

use std::time::Duration;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::exchange::clear::Cleared;
use crate::exchange::ending::Ending;
use crate::exchange::websocket::{Running, TurnParts};
use crate::formats::Tokens;
use crate::net::client::Timeouts;
use crate::wire::{json, revocation};

/// Counts that come behind the end of a turn are waited for as long.
const COUNTS: Duration = Duration::from_secs(1);

/// Why there is a turn.
pub(super) enum Cause {
    /// The caller has asked for it.
    Asked,
    /// The provider has begun it, with this id.
    Begun(Option<String>),
    /// The provider has counted something apart from its answers, such as the text that another model has
    /// made of what was heard.
    Apart,
}

/// A turn that runs.
pub(super) struct Turn {
    /// As the provider names it; `None` until it does, and where turns have no ids.
    pub(super) id: Option<String>,
    /// The id of the message that asked for it, if the caller gave it one.
    message: Option<String>,
    running: Running,
    /// When it ends without a count.
    ends: Option<Instant>,
}

impl Turn {
    /// A turn that was asked for with `message`.
    pub(super) fn new(cleared: Cleared, id: Option<String>, message: &[u8]) -> Self {
        // The session watches for all of its turns, and its provider can't be exchanged.
        let parts = TurnParts {
            revoked: revocation(std::future::pending()),
            retry: None,
            remember: None,
        };
        let fields = json::scan(message, &["event_id"]).ok();
        let named = fields.and_then(|fields| fields.get(0));
        let named = named.and_then(|at| json::string(&message[at]));
        Self {
            id,
            message: named.map(std::borrow::Cow::into_owned),
            running: Running::new(cleared, parts),
            ends: None,
        }
    }

    /// Whether a refusal of the message with this id, or of one without, can be that of this turn.
    pub(super) fn may_be_refused(&self, message: Option<&str>) -> bool {
        let is_it = message.is_none() || self.message.as_deref() == message;
        self.id.is_none() && is_it
    }

    /// Reads an event.
    pub(super) fn take(&mut self, event: &Utf8Bytes) {
        self.running.take(event);
        if self.ends.is_none() && self.running.meter.may_end() && !self.is_complete() {
            self.ends = Some(Instant::now() + COUNTS);
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.running.meter.is_complete()
    }

    /// Whether it has ended, and only its count is waited for.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    /// Whether more of it may come.
    pub(super) fn is_ending(&self) -> bool {
        self.ends.is_some()
    }

    /// Its caller has got what came.
    pub(super) fn given(&mut self) {
        self.running.heard = Instant::now();
    }

    /// When it ends by itself, or has been silent for too long.
    pub(super) fn deadline(&self, bounds: &Timeouts) -> Option<Instant> {
        self.ends.or_else(|| self.running.deadline(bounds))
    }

    /// Notes what of its counts was charged with another turn.
    pub(super) fn already_charged(&mut self, charged: Tokens) {
        self.running.before = charged;
    }

    /// Makes its record, and returns what is charged for.
    pub(super) fn end(&mut self, ending: Ending) -> Tokens {
        self.running.end(ending)
    }
}
