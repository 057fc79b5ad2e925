//! What the stages of an exchange share: whose it is, by which rules, and what is asked.

use std::ops::Deref;
use std::sync::Arc;

use http::request::Parts;

use super::Verified;
use crate::exchange::rules::{Asker, Question, Rules, Terms};
use crate::formats::{Call, Format, Head};
use crate::policy::access::Permit;
use crate::policy::route::{Provider, Route};

/// The formats of an exchange. They are the same until Iris translates.
#[derive(Clone, Copy)]
pub struct Formats {
    /// The caller's: it shapes refusals, and the error event of a stream.
    pub caller: &'static Format,
    /// The provider's: it makes requests, and reads responses.
    pub served: &'static Format,
}

impl Formats {
    /// One format both ways.
    pub fn both(format: &'static Format) -> Self {
        Self {
            caller: format,
            served: format,
        }
    }
}

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
}

/// Whose exchange it is, and by which rules: one configuration from its start to its end.
pub struct Context {
    /// Who asks.
    pub who: Verified,
    /// The rules that were in force when the request came.
    pub rules: Arc<Rules>,
    /// Who asks as rules see it, and what they may do by them.
    pub asker: Asker,
    /// How the request came.
    pub surface: Surface,
    /// Which formats are spoken.
    pub formats: Formats,
}

impl Context {
    /// What the caller may do by the rules.
    pub(super) fn permit(&self) -> &Permit {
        &self.asker.permit
    }

    /// The question that a route answers.
    pub(super) fn question<'m>(&self, model: &'m str) -> Question<&'m str> {
        let socket = match self.surface {
            Surface::Http => None,
            Surface::WebSocket { flag } => Some(flag),
        };
        Question::new(self.formats.served, socket, model)
    }

    /// On which terms a request goes to a provider.
    pub(super) fn terms(&self, route: &Route) -> Arc<Terms> {
        self.rules.terms(&self.asker, route)
    }

    /// Whether a provider can be asked in this way.
    pub(super) fn fits(&self, provider: &Provider) -> bool {
        match self.surface {
            Surface::Http => provider.speaks(self.formats.served),
            Surface::WebSocket { flag } => provider.flags.contains(&flag),
        }
    }

    /// Whether it is a frame of a WebSocket.
    pub(super) fn is_socket(&self) -> bool {
        self.surface != Surface::Http
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
