//! One request at a provider, and what its outcome says about the provider and the model.

use std::time::Duration;

use super::health::Track;
use super::known::{Key, Known};
use crate::base::text::Text;
use crate::config::Routing;

/// What a failure is blamed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The provider: there was no connection.
    Provider,
    /// The model that was asked for: the provider has answered.
    Model,
    /// The model, as far as is known: no response came in time.
    Silence,
}

/// A request at a provider, until it is dropped.
#[must_use = "a dropped request is no longer counted"]
pub struct InFlight {
    pub(super) providers: Known,
    pub(super) key: Key,
    pub(super) model: Text,
    /// It is the one that tries a paused provider.
    pub(super) tries_provider: bool,
    /// It is the one that tries a paused model.
    pub(super) tries_model: bool,
    /// Whether its outcome has counted.
    pub(super) is_judged: bool,
}

impl InFlight {
    /// The head of a response has come. The provider can be reached; how the model does is only
    /// known at the end of the response.
    pub fn answering(&mut self, rules: &Routing) {
        let mut providers = self.providers.lock();
        if let Some((whole, model)) = providers.tracks(&self.key, &self.model) {
            self.reached(whole);
            if self.tries_model {
                model.answering(rules);
            }
        }
    }

    /// A response has come to its end.
    pub fn succeeded(&mut self) {
        self.judge(|request, whole, model| {
            whole.succeeded(request.tries_provider);
            if model.succeeded(request.tries_model) {
                let (provider, model) = (request.key.id.as_str(), request.model.as_str());
                tracing::info!(provider, model, "answers again");
            }
        });
    }

    /// The provider or the model has failed.
    pub fn failed(&mut self, why: &str, scope: Scope, rules: &Routing) {
        self.judge(|request, whole, model| {
            if scope == Scope::Model {
                request.reached(whole);
            }
            let is_whole = match scope {
                Scope::Provider => true,
                Scope::Model => false,
                // A provider that is still silent is still out.
                Scope::Silence => request.tries_provider,
            };
            let (track, tries) = if is_whole {
                (whole, request.tries_provider)
            } else {
                (model, request.tries_model)
            };
            let failures = track.failures.saturating_add(1);
            if let Some(wait) = track.failed(why, tries, rules) {
                let provider = request.key.id.as_str();
                if is_whole {
                    tracing::warn!(provider, failures, ?wait, why, "paused: it fails");
                } else {
                    let model = request.model.as_str();
                    tracing::warn!(provider, model, failures, ?wait, why, "paused: it fails");
                }
            }
        });
    }

    /// The provider refuses the model for a while, because it gets too many requests or is overloaded.
    /// `wait` is for how long, if it says so.
    pub fn limited(&mut self, why: &str, wait: Option<Duration>) {
        self.judge(|request, whole, model| {
            request.reached(whole);
            let wait = model.limited(why, wait, request.tries_model);
            let (provider, model) = (request.key.id.as_str(), request.model.as_str());
            tracing::info!(provider, model, ?wait, why, "left out: it is limited");
        });
    }

    /// Counts an outcome, for the provider and for the model. Only the first one counts.
    fn judge(&mut self, count: impl FnOnce(&Self, &mut Track, &mut Track)) {
        if std::mem::replace(&mut self.is_judged, true) {
            return;
        }
        let mut providers = self.providers.lock();
        if let Some((whole, model)) = providers.tracks(&self.key, &self.model) {
            count(self, whole, model);
        }
    }

    fn reached(&self, whole: &mut Track) {
        if whole.reached(self.tries_provider) {
            tracing::info!(provider = self.key.id.as_str(), "can be reached again");
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut providers = self.providers.lock();
        let Some(state) = providers.get_mut(&self.key) else {
            return;
        };
        state.in_flight = state.in_flight.saturating_sub(1);
        // Nothing is known now, for example because the caller left: the next request tries.
        if self.tries_provider {
            state.whole.untried();
        }
        if let Some(model) = state.models.get_mut(&self.model)
            && self.tries_model
        {
            model.untried();
        }
    }
}
