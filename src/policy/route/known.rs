//! What is known of each provider and its models.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Provider;
use super::health::{Health, ModelHealth, Track};
use super::keys::Keys;
use crate::base::quick_hash::QuickHash;
use crate::base::text::Text;

/// How long an earlier configuration of a provider is remembered, for requests that still have it.
const KEPT: Duration = Duration::from_mins(10);

/// All providers that had a request. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<Mutex<Providers>>);

#[derive(Default)]
pub(super) struct Providers(HashMap<Key, State, QuickHash>);

/// A provider as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: Text,
    fingerprint: u64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) in_flight: usize,
    /// Whether it can be reached at all.
    pub(super) whole: Track,
    pub(super) models: BTreeMap<Text, Track>,
    /// Of several credentials, what is known of each.
    pub(super) keys: Keys,
    /// It refuses requests with `stream_options`.
    pub(super) refuses_stream_options: bool,
    used: Instant,
}

impl Hash for Key {
    /// By what is a hash already: only providers that are configured alike share it.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.fingerprint);
    }
}

impl Known {
    pub(super) fn lock(&self) -> MutexGuard<'_, Providers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    pub(super) fn of(provider: &Provider) -> Self {
        Self {
            id: provider.id.clone(),
            fingerprint: provider.fingerprint(),
        }
    }
}

impl Providers {
    pub(super) fn get(&self, provider: &Provider) -> Option<&State> {
        self.0.get(&Key::of(provider))
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut State> {
        self.0.get_mut(key)
    }

    /// What is known of a provider; from now on something is.
    pub(super) fn state(&mut self, key: &Key) -> &mut State {
        let now = Instant::now();
        if !self.0.contains_key(key) {
            self.0.retain(|other, state| {
                other.id != key.id || state.in_flight > 0 || now - state.used < KEPT
            });
        }
        let state = self.0.entry(key.clone()).or_insert_with(|| State {
            in_flight: 0,
            whole: Track::default(),
            models: BTreeMap::new(),
            keys: Keys::default(),
            refuses_stream_options: false,
            used: now,
        });
        state.used = now;
        state
    }

    /// What is known of a provider and of one of its models.
    pub(super) fn tracks(&mut self, key: &Key, model: &str) -> Option<(&mut Track, &mut Track)> {
        let state = self.0.get_mut(key)?;
        let model = state.models.get_mut(model)?;
        Some((&mut state.whole, model))
    }
}

impl State {
    pub(super) fn health(&self) -> Health {
        let models = self.models.values();
        let tracks = || models.clone().chain([&self.whole]);
        let all_paused = !self.models.is_empty() && models.clone().all(Track::is_paused);
        let soonest = models.clone().filter_map(Track::retry_in).min();
        let retry_in = self.whole.retry_in().or(soonest.filter(|_| all_paused));
        let last_error = tracks().filter_map(|track| track.last_error.as_ref());
        let named = self.models.iter();
        Health {
            ejected: self.whole.is_paused() || all_paused,
            retry_in: retry_in.map(|left| left.as_secs()),
            open: self.in_flight,
            requests: self.whole.requests,
            failed: tracks().map(|track| track.failed).sum(),
            failures: tracks().map(|track| track.failures).max().unwrap_or(0),
            last_success: tracks().filter_map(|track| track.last_success).max(),
            last_error: last_error.max().map(|(_, why)| why.clone()),
            models: named
                .map(|(name, track)| ModelHealth::of(name, track))
                .collect(),
            keys: self.keys.health(),
        }
    }
}
