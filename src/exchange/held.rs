//! State that lives at a provider. A response can name what its provider keeps, such as itself, a conversation, a
//! container, a file, or reasoning that only that provider can decrypt. A later request that names it works
//! nowhere else, so it is remembered which provider made what.
//!
//! What is remembered is a hash of each name, not the name. Names are found by a scan of the JSON as it passes,
//! which needs neither the whole body nor room for it.

mod scan;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use scan::{Scan, are_events, may_name};

use super::Gateway;
use super::context::Asked;
use crate::base::lock::lock;
use crate::formats::{self, ProviderState};
use crate::policy::route::{Holder, Provider};

/// Names that are remembered; the oldest are forgotten first.
const MOST: usize = 100_000;
/// Names of one response that are remembered.
const MOST_OF_ONE: usize = 512;
/// Names in one request that are looked up: the last ones.
const MOST_NAMED: usize = 4_096;

/// Which provider made what.
#[derive(Clone, Default)]
pub struct Held {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    makers: HashMap<u64, Arc<str>>,
    order: VecDeque<u64>,
}

/// What providers keep in a format.
fn state(format: &str) -> ProviderState {
    formats::named(format).map_or(ProviderState::None, |format| format.state)
}

impl Gateway {
    /// What remembers the names in a provider's response, if another provider could be asked later.
    pub(super) fn remember(&self, asked: &Asked, provider: &Provider) -> Option<Remember> {
        if asked.rules.routes.providers().len() < 2 {
            return None;
        }
        self.held.remember(&provider.id, asked.format.name)
    }
}

impl Held {
    /// What remembers the names in a response of a provider in a format; `None` for a format in
    /// which no response names what its provider keeps.
    pub fn remember(&self, provider: &str, format: &str) -> Option<Remember> {
        let state = state(format);
        (state != ProviderState::None).then(|| Remember {
            held: self.clone(),
            provider: provider.into(),
            is_responses: state == ProviderState::Items,
            scan: Scan::default(),
            left: MOST_OF_ONE,
            last: None,
        })
    }

    /// The provider that made what a request in a format names. The last name counts, but what
    /// only one provider can know wins over the rest.
    pub fn holder(&self, format: &str, body: &[u8]) -> Option<Holder> {
        let state = state(format);
        if state == ProviderState::None || lock(&self.inner).makers.is_empty() {
            return None;
        }
        // Looked up after the scan: the lock is not held while a long body is read.
        let mut named = VecDeque::new();
        let mut scan = Scan::default();
        scan.read(body, &mut |name| {
            if let Some(is_needed) = name.is_named(state == ProviderState::Items) {
                if named.len() == MOST_NAMED {
                    named.pop_front();
                }
                named.push_back((name.hash, is_needed));
            }
        });
        if named.is_empty() {
            return None;
        }
        let inner = lock(&self.inner);
        let holder = |wanted: bool| {
            let mut last = named.iter().rev();
            last.find_map(|(hash, is_needed)| {
                let provider = inner.makers.get(hash).filter(|_| *is_needed == wanted)?;
                Some(Holder {
                    provider: Arc::clone(provider),
                    is_needed: wanted,
                })
            })
        };
        holder(true).or_else(|| holder(false))
    }

    fn add(&self, name: u64, provider: &Arc<str>) {
        let mut inner = lock(&self.inner);
        if inner.makers.insert(name, Arc::clone(provider)).is_none() {
            inner.order.push_back(name);
            if inner.order.len() > MOST
                && let Some(oldest) = inner.order.pop_front()
            {
                inner.makers.remove(&oldest);
            }
        }
    }
}

/// Remembers the names in a response as it passes.
pub struct Remember {
    held: Held,
    provider: Arc<str>,
    is_responses: bool,
    scan: Scan,
    left: usize,
    /// Events of a stream repeat it.
    last: Option<u64>,
}

impl Remember {
    /// Reads a piece.
    pub fn read(&mut self, piece: &[u8]) {
        let Self {
            held,
            provider,
            is_responses,
            scan,
            left,
            last,
        } = self;
        // Most events of a stream name nothing, and a search for a word is much quicker than a scan.
        if !*is_responses && scan.is_between_events() && are_events(piece) && !may_name(piece) {
            return;
        }
        scan.read(piece, &mut |name| {
            if *left > 0 && name.is_made(*is_responses) && *last != Some(name.hash) {
                *left -= 1;
                *last = Some(name.hash);
                held.add(name.hash, provider);
            }
        });
    }
}

#[cfg(test)]
mod tests;
