//! An exchange that runs. However it ends, exactly one record is made of it: what it comes to is
//! decided by `settle` alone.

use std::ops::{Deref, DerefMut};

use super::conclude::{Outlets, conclude};
use super::ending::{Ended, Ending, Stage};
use super::facts::Facts;
use crate::base::reasons::Reason;
use crate::config::Routing;
use crate::records::Entry;
use crate::wire::Rejection;

/// An exchange that runs, with all that is known of it.
pub(super) struct Draft(Box<Running>);

struct Running {
    facts: Facts,
    /// `None` once the record is made.
    outlets: Option<Outlets>,
}

impl Draft {
    /// Begins the record of a request that is admitted.
    pub(super) fn new(entry: Entry, routing: Routing, outlets: Outlets) -> Self {
        Self(Box::new(Running {
            facts: Facts::new(entry, routing),
            outlets: Some(outlets),
        }))
    }

    /// Whether its record is made.
    pub(super) fn has_ended(&self) -> bool {
        self.0.outlets.is_none()
    }

    /// Makes the record; once. The entry is empty afterwards. A request whose response is followed leaves none
    /// here.
    pub(super) fn end(&mut self, ended: Ended) {
        if let Some(outlets) = self.0.outlets.take() {
            if self.0.facts.is_followed {
                self.0.facts.attempts.clear();
                return;
            }
            conclude(&mut self.0.facts, outlets, ended);
            // They count as open requests of their providers for as long as they are there.
            self.0.facts.attempts.clear();
        }
    }

    /// Leaves no record: what was judged belongs to an exchange that follows. Returns why it was let pass.
    pub(super) fn withdraw(mut self) -> Vec<Reason> {
        self.0.outlets = None;
        std::mem::take(&mut self.entry.reasons)
    }

    /// Makes the record of a request that was refused, or that no provider answered.
    pub(super) fn refuse(&mut self, stage: Stage, rejection: &Rejection) {
        self.entry.status = rejection.status.as_u16();
        self.end(Ended::new(Ending::of(stage, rejection)));
    }
}

impl Deref for Draft {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0.facts
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.0.facts
    }
}

impl Drop for Draft {
    /// An exchange that hasn't ended was dropped by the server, which does so when a connection closes.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.refuse(Stage::Send, &Rejection::panicked());
        } else {
            self.end(Ended::new(Ending::ClientLeft));
        }
    }
}
