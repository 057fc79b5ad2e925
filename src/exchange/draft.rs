//! What is known of an exchange while it runs. However it ends, exactly one record is made of it.
//!
//! The stages of the pipeline complete it; what it comes to is decided by [`settle`] alone.
//!
//! [`settle`]: super::settle::settle

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;

use super::attempts::Attempt;
use super::conclude::{Room, conclude};
use super::context::Asked;
use super::ending::{Ended, Ending, Stage};
use crate::base::reasons::Reason;
use crate::base::{clock, memory};
use crate::config::Routing;
use crate::exchange::responses::Responses;
use crate::policy::route::Route;
use crate::records::metrics::Metrics;
use crate::records::{Capture, Entry};
use crate::wire::{Rejection, headers};

/// An exchange that runs.
pub struct Draft(Option<Box<Running>>);

/// What is known of an exchange, and where that goes when it has ended.
pub(super) struct Running {
    pub(super) facts: Facts,
    pub(super) outlets: Outlets,
}

/// Where the record of an exchange goes, and what else hears of its end.
pub(super) struct Outlets {
    pub(super) room: Room,
    /// Where it is counted.
    pub(super) metrics: Arc<Metrics>,
    /// Where its response is remembered, for requests that go on with it.
    pub(super) responses: Arc<Responses>,
}

/// What is known of an exchange.
pub(super) struct Facts {
    pub(super) started: Instant,
    /// How providers are judged.
    pub(super) routing: Routing,
    pub(super) entry: Entry,
    pub(super) kept: Kept,
    /// The providers that were chosen, one after the other. The last one is whose response the
    /// caller got.
    pub(super) attempts: Vec<Attempt>,
    /// Of each budget that began to run low, with whichever attempt: what is left.
    pub(super) crossed: Vec<String>,
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
}

impl Kept {
    /// What is kept of a request that was cleared.
    pub(super) fn of(asked: &Asked, captures: bool) -> Self {
        let (rules, head) = (&asked.rules, &asked.head.headers);
        let opaque = if rules.file.database.keep_encrypted_blobs {
            &[]
        } else {
            asked.formats.served.opaque
        };
        let room = rules.file.limits.capture;
        Self {
            headers: rules.filterable.of(head).collect(),
            capture: captures.then(|| capture(head, &asked.call.body, room)),
            opaque,
            room,
        }
    }
}

fn capture(head: &HeaderMap, body: &Bytes, room: usize) -> Capture {
    // A slice would hold all of the body for as long as the response takes.
    let kept = memory::all().copy(&body[..body.len().min(room)]);
    let kept = kept.unwrap_or_default();
    Capture {
        request_headers: headers::redacted(head),
        truncated: kept.len() < body.len(),
        request_body: kept,
        ..Capture::default()
    }
}

impl Draft {
    /// Begins the record of a request that is admitted.
    pub(super) fn new(entry: Entry, routing: Routing, outlets: Outlets) -> Self {
        let facts = Facts {
            started: Instant::now(),
            routing,
            entry,
            kept: Kept::default(),
            attempts: Vec::new(),
            crossed: Vec::new(),
        };
        Self(Some(Box::new(Running { facts, outlets })))
    }

    /// What is known so far; `None` once it has ended.
    pub(super) fn facts(&self) -> Option<&Facts> {
        self.0.as_ref().map(|running| &running.facts)
    }

    /// The same, to complete it.
    pub(super) fn facts_mut(&mut self) -> Option<&mut Facts> {
        self.0.as_mut().map(|running| &mut running.facts)
    }

    /// Changes the entry, as more becomes known.
    pub(super) fn note(&mut self, change: impl FnOnce(&mut Entry)) {
        if let Some(facts) = self.facts_mut() {
            change(&mut facts.entry);
        }
    }

    /// Notes why something was decided.
    pub(super) fn reason(&mut self, reason: Reason) {
        self.note(|entry| entry.reasons.push(reason));
    }

    /// The attempt that was made last.
    pub(super) fn attempt(&mut self) -> Option<&mut Attempt> {
        self.facts_mut()?.attempts.last_mut()
    }

    /// Whether the provider that was chosen charges for it.
    pub(super) fn is_billed(&self) -> bool {
        let last = self.facts().and_then(|facts| facts.attempts.last());
        last.is_some_and(|attempt| attempt.price.is_some())
    }

    /// Milliseconds since the request came, to the microsecond.
    pub(super) fn elapsed_ms(&self) -> f64 {
        self.facts().map_or(0.0, Facts::elapsed_ms)
    }

    /// Makes the record; once.
    pub(super) fn end(&mut self, ended: Ended) {
        if let Some(running) = self.0.take() {
            conclude(*running, ended);
        }
    }

    /// Makes the record of a request that was refused, or that no provider answered.
    pub(super) fn refuse(&mut self, stage: Stage, rejection: &Rejection) {
        self.note(|entry| entry.status = rejection.status.as_u16());
        self.end(Ended::new(Ending::of(stage, rejection)));
    }
}

impl Facts {
    pub(super) fn elapsed_ms(&self) -> f64 {
        clock::to_microsecond(self.started.elapsed().as_secs_f64() * 1000.0)
    }

    /// Notes the provider that is to be asked.
    pub(super) fn choose(&mut self, asked: &Asked, route: Route) {
        if self.attempts.is_empty() {
            self.attempts.reserve_exact(1);
        }
        let attempt = Attempt::new(asked, route, self.elapsed_ms());
        self.name(&attempt.route);
        let reasons = attempt.route.reasons.iter().cloned();
        self.entry.reasons.extend(reasons);
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

impl Drop for Draft {
    /// What nobody has ended was dropped by the server, which does so when a connection closes.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.refuse(Stage::Send, &Rejection::panicked());
        } else {
            self.end(Ended::new(Ending::ClientLeft));
        }
    }
}
