//! Hooks: who is asked before a request goes on, and who is told when it has ended.
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

pub(crate) use after::After;
pub(crate) use ask::{Verdict, ask, unavailable};
pub use deliver::Deliverer;
pub(crate) use payload::{HookContext, Request};
pub use tally::{Tally, What};

use crate::config::Hook;
use crate::policy::access::{HookEvent, HookPart, Permit, Subject};

/// A hook that a grant has wired for a request.
pub(crate) struct Wired<'a> {
    pub(crate) name: &'a str,
    pub(crate) hook: &'a Hook,
    pub(crate) wants: Wants,
}

/// When a hook is told, and what.
#[derive(Clone, Default)]
pub(crate) struct Wants {
    pub(crate) events: BTreeSet<HookEvent>,
    pub(crate) parts: BTreeSet<HookPart>,
}

/// The hooks for requests for the subject, in the order in which they run: each once, with
/// the events and parts of all grants that name it.
pub(crate) fn wired<'a>(
    hooks: &'a IndexMap<String, Hook>,
    permit: &Permit,
    subject: Subject<'_>,
) -> Vec<Wired<'a>> {
    let mut all: IndexMap<&str, Wired<'a>> = IndexMap::new();
    for named in permit.hooks(subject) {
        // An unknown name is a finding of the configuration.
        let Some((name, hook)) = hooks.get_key_value(&named.name) else {
            continue;
        };
        // One without a URL stays: asking it fails, and its definition says what that means.
        if hook.disabled {
            continue;
        }
        let wired = all.entry(name).or_insert_with(|| Wired {
            name,
            hook,
            wants: Wants::default(),
        });
        wired.wants.events.extend(&named.events);
        wired.wants.parts.extend(&named.send);
    }
    all.sort_by(|_, a, _, b| {
        let preference = b.hook.preference.cmp(&a.hook.preference);
        preference.then(a.name.cmp(b.name))
    });
    all.into_values().collect()
}
