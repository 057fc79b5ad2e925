//! Guardrails: who is asked before a request goes on, who is told when it has ended, and what is
//! looked for without asking anybody.
//!
//! A definition does nothing until a grant names it. Guards look first; then hooks are asked, the
//! one of the highest preference first. Hooks that are called afterwards are called from a queue in the
//! ledger, and delay no request.

mod after;
mod ask;
mod codings;
mod deliver;
mod payload;
mod tally;

use std::collections::BTreeSet;

use indexmap::IndexMap;

pub use after::After;
pub use ask::{Answer, ask, unavailable};
pub use deliver::Deliverer;
pub use payload::Story;
pub use tally::{Tally, What};

use crate::config::Hook;
use crate::policy::access::{HookEvent, HookPart, Permit, Subject};

/// A hook that a grant has wired for a request.
#[derive(Clone, Debug)]
pub struct Wired<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its definition.
    pub hook: &'a Hook,
    /// When it is told.
    pub events: BTreeSet<HookEvent>,
    /// What it is told.
    pub parts: BTreeSet<HookPart>,
}

impl Wired<'_> {
    /// Whether it wants to know something.
    #[must_use]
    pub fn wants(&self, part: HookPart) -> bool {
        self.parts.contains(&part)
    }
}

/// The hooks for requests for the subject, in the order in which they run: each once, with
/// the events and parts of all grants that name it.
#[must_use]
pub fn wired<'a>(
    hooks: &'a IndexMap<String, Hook>,
    permit: &Permit,
    subject: Subject<'_>,
) -> Vec<Wired<'a>> {
    let mut found: IndexMap<&str, Wired<'a>> = IndexMap::new();
    for named in permit.hooks(subject) {
        // A name that stands for nothing is a finding of the configuration.
        let Some((name, hook)) = hooks.get_key_value(&named.name) else {
            continue;
        };
        // One without a place stays: asking it fails, and what that means is its own to say.
        if hook.disabled {
            continue;
        }
        let wired = found.entry(name).or_insert_with(|| Wired {
            name,
            hook,
            events: BTreeSet::new(),
            parts: BTreeSet::new(),
        });
        wired.events.extend(&named.events);
        wired.parts.extend(&named.send);
    }
    let mut found: Vec<Wired<'a>> = found.into_values().collect();
    found.sort_by(|a, b| {
        let preference = b.hook.preference.cmp(&a.hook.preference);
        preference.then(a.name.cmp(b.name))
    });
    found
}
