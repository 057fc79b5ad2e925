//! What the stages of an exchange share: whose it is, by which rules, and what is asked.

use std::ops::Deref;
use std::sync::Arc;

use http::request::Parts;

use super::Verified;
use super::person::Named;
use crate::base::labels::Labels;
use crate::exchange::rules::{Asker, Question, Rules, Terms};
use crate::formats::{Call, Format, Head, Path};
use crate::policy::access::{DirectChecks, Permit, Subject};
use crate::policy::route::{Fit, Provider, Route};

/// How a request came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// As a request of HTTP.
    Http,
    /// As a frame of a WebSocket, for providers that have this compatibility flag.
    WebSocket {
        /// The flag.
        flag: &'static str,
    },
    /// As a request of HTTP for what stands at one provider, where no model answers it.
    Place(Place),
}

/// What decides about a request for what stands at one provider.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which of the provider's keys it goes with, by its number from 0: with another key it may be another
    /// account, which has other things.
    pub key: usize,
    /// Set for direct access: what takes part besides the grant.
    pub direct: Option<DirectChecks>,
}

/// Whose exchange it is, and by which rules: one configuration from its start to its end.
pub struct Context {
    /// Who asks.
    pub who: Verified,
    /// The rules that were in force when the request came.
    pub rules: Arc<Rules>,
    /// Who asks as rules see it, and what they may do by them.
    pub asker: Asker,
    /// The person whom the caller has named, if the caller speaks for one.
    pub(super) named: Option<Named>,
    /// How the request came.
    pub surface: Surface,
    /// The caller's format. The provider's is that of the attempt.
    pub format: &'static Format,
    /// What the caller says that the request is for.
    pub labels: Labels,
}

impl Context {
    /// What the caller may do by the rules.
    pub(super) fn permit(&self) -> &Permit {
        &self.asker.permit
    }

    /// The question that a route answers.
    pub(super) fn question<'m>(&self, model: &'m str) -> Question<&'m str> {
        let socket = match self.surface {
            Surface::Http | Surface::Place(_) => None,
            Surface::WebSocket { flag } => Some(flag),
        };
        Question::new(self.format, socket, model)
    }

    /// On which terms a request goes to a provider.
    pub(super) fn terms(&self, route: &Route) -> Arc<Terms> {
        match self.surface {
            Surface::Place(place) => {
                let checks = place.direct.unwrap_or_default();
                let terms = self
                    .rules
                    .terms_of_place(&self.asker, route, &self.labels, checks);
                Arc::new(terms)
            }
            _ => self.rules.terms(&self.asker, route),
        }
    }

    /// What it is for that stands at one provider, if that is so.
    pub(super) fn place(&self) -> Option<Place> {
        match self.surface {
            Surface::Place(place) => Some(place),
            _ => None,
        }
    }

    /// How a provider can be asked a request for this path, if it can.
    pub(super) fn fit(&self, path: &str, provider: &Provider) -> Option<Fit> {
        match self.surface {
            Surface::Http => provider.fit_at(self.format, path),
            Surface::Place(_) => provider.speaks(self.format).then_some(Fit::Native),
            Surface::WebSocket { flag } if provider.flags.contains(&flag) => Some(Fit::Native),
            // It is asked over HTTP.
            Surface::WebSocket { .. } => provider.translation(self.format).map(|_| Fit::Translated),
        }
    }

    /// Whether it is a frame of a WebSocket.
    pub(super) fn is_socket(&self) -> bool {
        matches!(self.surface, Surface::WebSocket { .. })
    }
}

/// What is asked.
pub struct Asked {
    /// Whose request it is.
    pub(super) context: Context,
    /// Its head, or that of its WebSocket.
    pub head: Arc<Parts>,
    /// What its body says.
    pub call: Call,
}

impl Asked {
    /// The path of a provider that is asked directly.
    pub(super) fn direct_path(&self) -> Option<&str> {
        self.place()?.direct?;
        match &self.call.path {
            Path::Fixed(path) => Some(path),
            Path::Around { .. } => None,
        }
    }
}

/// Whether a permit gives a model of a provider, or direct access to a path of it.
pub(super) fn covers(
    permit: &Permit,
    provider: &Provider,
    model: &str,
    path: Option<&str>,
) -> bool {
    match path {
        None => permit.covers(provider.subject(model)),
        Some(path) => {
            let provider = &provider.id;
            permit.direct(Subject::Path { provider, path }).is_some()
        }
    }
}

impl Deref for Asked {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

/// A provider that can be asked, and on which terms.
pub(super) struct Candidate {
    pub(super) route: Route,
    pub(super) terms: Arc<Terms>,
}

/// What a format reads of a head.
pub(super) fn head_of(head: &Parts) -> Head<'_> {
    Head {
        path: head.uri.path(),
        query: head.uri.query(),
        headers: &head.headers,
    }
}
