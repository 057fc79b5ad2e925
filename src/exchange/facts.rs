//! What is known of an exchange while it runs. The stages complete it, `settle` decides by it.

use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;

use super::attempt::Attempt;
use super::context::{Asked, Candidate};
use super::kept::{self, Keeping};
use super::translation::Translation;
use crate::base::reasons::Reason;
use crate::base::{clock, memory};
use crate::config::Routing;
use crate::exchange::rules::Rules;
use crate::formats::{Format, Tokens};
use crate::policy::route::Route;
use crate::records::{Capture, Entry};
use crate::wire::headers;

/// Bytes of a body that a capture shares with its request.
const SHORT: usize = 4 << 10;

/// What is known of an exchange.
pub(super) struct Facts {
    pub(super) started: Instant,
    /// How providers are judged.
    pub(super) routing: Routing,
    pub(super) entry: Entry,
    pub(super) kept: Kept,
    /// The providers that were chosen, one after the other. The caller got the response of the last
    /// one.
    pub(super) attempts: Vec<Attempt>,
    /// What was charged for, once the record is made.
    pub(super) charged: Tokens,
    /// Its response is made in the background: those who follow that make the record.
    pub(super) is_followed: bool,
    /// Of each budget that began to run low, with any of the attempts: what is left.
    pub(super) crossed: Vec<String>,
    /// A warning to the caller for each provider that was left out because a budget runs low.
    pub(super) spared: Vec<String>,
}

/// What is kept of a request besides its entry.
#[derive(Default)]
pub(super) struct Kept {
    /// Headers by which the record can be found.
    pub(super) headers: Vec<(String, String)>,
    /// `None` where captures are not kept.
    pub(super) capture: Option<Capture>,
    /// Keys whose values a capture leaves out of both bodies.
    pub(super) opaque: &'static [&'static str],
    /// Bytes of each body that a capture keeps.
    pub(super) room: usize,
    /// Where the response is kept for the same request.
    pub(super) cache: Option<Keeping>,
}

impl Kept {
    /// What is kept of a request that was cleared.
    pub(super) fn of(asked: &Asked, captures: bool) -> Self {
        let head = &asked.head.headers;
        Self::new(&asked.rules, asked.format, head, &asked.call.body, captures)
    }

    /// What is kept of a request with these headers and this body.
    pub(super) fn new(
        rules: &Rules,
        format: &Format,
        head: &HeaderMap,
        body: &Bytes,
        captures: bool,
    ) -> Self {
        let opaque = if rules.file.database.keep_encrypted_blobs {
            &[]
        } else {
            format.opaque
        };
        let room = rules.file.limits.capture;
        Self {
            headers: rules.filterable.of(head).collect(),
            capture: captures.then(|| capture(head, body, room)),
            opaque,
            room,
            cache: None,
        }
    }
}

fn capture(head: &HeaderMap, body: &Bytes, room: usize) -> Capture {
    // A slice would hold all of the body for as long as the response takes. A short one is shared: that takes
    // less than to copy it and to count the copy.
    let kept = if body.len() <= room.min(SHORT) {
        body.clone()
    } else {
        let kept = memory::all().copy(&body[..body.len().min(room)]);
        kept.unwrap_or_default()
    };
    Capture {
        request_headers: headers::redacted(head),
        truncated: kept.len() < body.len(),
        request_body: kept,
        ..Capture::default()
    }
}

impl Facts {
    pub(super) fn new(entry: Entry, routing: Routing) -> Self {
        Self {
            started: Instant::now(),
            routing,
            entry,
            kept: Kept::default(),
            attempts: Vec::new(),
            charged: Tokens::default(),
            is_followed: false,
            crossed: Vec::new(),
            spared: Vec::new(),
        }
    }

    /// Milliseconds since the request came.
    pub(super) fn elapsed_ms(&self) -> f64 {
        elapsed_ms(self.started)
    }

    /// Notes why something was decided.
    pub(super) fn reason(&mut self, reason: Reason) {
        self.entry.reasons.push(reason);
    }

    /// The attempt that was made last.
    pub(super) fn attempt(&mut self) -> Option<&mut Attempt> {
        self.attempts.last_mut()
    }

    /// Whether the provider that was chosen charges for it.
    pub(super) fn is_billed(&self) -> bool {
        let last = self.attempts.last();
        last.is_some_and(|attempt| attempt.price.is_some())
    }

    /// Bytes of the response to keep until the end, for a capture and for hooks.
    pub(super) fn room(&self) -> usize {
        let last = self.attempts.last();
        let after = last.and_then(|attempt| attempt.after.as_ref());
        let room = after.map_or(self.kept.room, |after| after.room(self.kept.room));
        match self.kept.cache {
            Some(_) => room.max(kept::LONGEST),
            None => room,
        }
    }

    /// Notes a piece of the response; with `speaks` it is the first in which the model says something.
    pub(super) fn received(&mut self, bytes: usize, speaks: bool) {
        let elapsed = self.elapsed_ms();
        self.entry.response_bytes += bytes as u64;
        self.entry.first_byte_ms.get_or_insert(elapsed);
        if speaks {
            self.entry.first_token_ms = Some(elapsed);
        }
    }

    /// Notes the provider that is to be asked.
    pub(super) fn choose(
        &mut self,
        asked: &Asked,
        candidate: Candidate,
        translation: Option<Box<Translation>>,
    ) {
        if self.attempts.is_empty() {
            self.attempts.reserve_exact(1);
        }
        let attempt = Attempt::new(asked, candidate, translation, self.elapsed_ms());
        self.name(&attempt.route);
        let reasons = attempt.route.reasons.iter().cloned();
        self.entry.reasons.extend(reasons);
        if attempt.own_credential {
            let provider = attempt.route.provider.id.clone();
            self.reason(Reason::OwnCredential { provider });
        }
        self.attempts.push(attempt);
    }

    /// Makes an earlier attempt the one whose response the caller gets.
    pub(super) fn go_back(&mut self, to: usize) {
        if to < self.attempts.len() {
            let attempt = self.attempts.remove(to);
            self.name(&attempt.route);
            self.attempts.push(attempt);
        }
    }

    /// Notes whose record it is.
    pub(super) fn name(&mut self, route: &Route) {
        self.entry.provider.clone_from(&route.provider.id);
        self.entry.model.clone_from(&route.model);
    }
}

/// Milliseconds since a moment, to the microsecond.
pub(super) fn elapsed_ms(since: Instant) -> f64 {
    clock::to_microsecond(since.elapsed().as_secs_f64() * 1000.0)
}
