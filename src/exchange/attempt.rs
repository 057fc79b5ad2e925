//! One attempt at a provider: what it costs, what is held for it, and how far it has come.

use std::sync::Arc;

use bytes::Bytes;

use super::context::{Asked, Candidate};
use super::ending::Ending;
use super::failure::Failure;
use super::lists;
use super::translation::{self, Translated, Translation};
use crate::base::money::Mode;
use crate::config::Routing;
use crate::exchange::hooks::After;
use crate::exchange::rules::Terms;
use crate::formats::{Call, Density, Format, Tokens};
use crate::policy::pricing::{Prices, Quote};
use crate::policy::route::{InFlight, Route, Scope};
use crate::records::balances::Reservation;

/// An attempt at one provider.
pub(super) struct Attempt {
    pub(super) route: Route,
    /// On which terms the caller gets it.
    pub(super) terms: Arc<Terms>,
    /// Which of the provider's keys it goes with, by its number from 0.
    pub(super) key: usize,
    /// How many keys of the provider were refused.
    pub(super) refused_keys: usize,
    /// The request in the provider's format, if that isn't the caller's.
    pub(super) translation: Option<Box<Translation>>,
    /// The response in the caller's format, if it was translated before the caller gets a head.
    pub(super) translated: Option<Box<Translated>>,
    /// The request without what Iris has sealed for the caller, if it had any of that.
    pub(super) unsealed: Option<Box<Call>>,
    /// What it costs; `None` for what is not billed.
    pub(super) price: Option<Price>,
    /// The provider speaks the caller's format.
    pub(super) is_native: bool,
    /// What it costs can't be known.
    pub(super) is_unpriced: bool,
    /// It goes with the caller's own credential, so their account pays.
    pub(super) own_credential: bool,
    /// What is held of budgets; `None` where none has to pay.
    pub(super) hold: Option<Reservation>,
    /// The hooks that are called after the request.
    pub(super) after: Option<After>,
    pub(super) reached: Reached,
    /// Milliseconds from the request until the provider was chosen.
    pub(super) chosen_ms: f64,
    /// Milliseconds from the request until it could be sent.
    pub(super) before_ms: f64,
    /// Headers of its response by which the record can be found.
    pub(super) headers: Vec<(String, String)>,
    /// What the head of its response counts, for what its body doesn't.
    pub(super) in_head: Tokens,
}

/// What a provider's response costs, and what bytes stand for if the provider doesn't count.
pub(super) struct Price {
    /// The provider's format, whose terms count.
    pub(super) format: &'static str,
    pub(super) quote: Arc<Quote>,
    /// How it is asked, where its response doesn't say how it was served.
    pub(super) mode: Mode,
    /// The prices of other models, one of which the provider may have used.
    pub(super) prices: Arc<Prices>,
    pub(super) density: Density,
    /// Bytes of the request that count as text.
    pub(super) asked_bytes: u64,
}

/// How far an attempt has come.
pub(super) enum Reached {
    /// A provider is chosen.
    Chosen,
    /// It is being reached, with what the request may cost held.
    Funded(InFlight),
    /// It has the request, so it may be at work.
    Asked(InFlight),
    /// Nothing more comes of it. It may have worked all the same.
    Over { worked: bool },
}

impl Attempt {
    /// An attempt at a provider of which nothing is held yet.
    pub(super) fn new(
        asked: &Asked,
        candidate: Candidate,
        translation: Option<Box<Translation>>,
        chosen_ms: f64,
    ) -> Self {
        let rules = &asked.rules;
        let unsealed = match translation {
            None => translation::unsealed(asked, &candidate.route.model).map(Box::new),
            Some(_) => None,
        };
        let (format, call) = served(asked, translation.as_deref(), unsealed.as_deref());
        let Candidate { route, terms } = candidate;
        let price = call.billed.then(|| Price {
            format: format.name,
            quote: Arc::clone(&terms.quote),
            mode: Mode::Standard,
            prices: Arc::clone(&rules.prices),
            density: (format.density)(&call.path),
            asked_bytes: call.text_bytes(),
        });
        Self {
            is_native: translation.is_none(),
            is_unpriced: asked.direct_path().is_some(),
            own_credential: lists::gets_own_credential(asked, &route.provider, &terms),
            route,
            terms,
            key: 0,
            refused_keys: 0,
            translation,
            translated: None,
            unsealed,
            price,
            hold: None,
            after: None,
            reached: Reached::Chosen,
            chosen_ms,
            before_ms: chosen_ms,
            headers: Vec::new(),
            in_head: Tokens::default(),
        }
    }

    /// The provider's format, and the request in it.
    pub(super) fn served<'a>(&'a self, asked: &'a Asked) -> (&'static Format, &'a Call) {
        served(asked, self.translation.as_deref(), self.unsealed.as_deref())
    }

    /// Lets go of the request, which may be large.
    pub(super) fn forget_request(&mut self) {
        self.unsealed = None;
        self.translation = None;
    }

    /// Whether a provider has the request, so that it may have worked.
    pub(super) fn is_asked(&self) -> bool {
        matches!(
            self.reached,
            Reached::Asked(_) | Reached::Over { worked: true }
        )
    }

    /// The request in flight, if it is funded and not over.
    pub(super) fn in_flight(&mut self) -> Option<&mut InFlight> {
        match &mut self.reached {
            Reached::Funded(request) | Reached::Asked(request) => Some(request),
            Reached::Chosen | Reached::Over { .. } => None,
        }
    }

    /// The provider gets the request.
    pub(super) fn ask(&mut self) {
        let before = std::mem::replace(&mut self.reached, Reached::Chosen);
        self.reached = match before {
            Reached::Funded(request) => Reached::Asked(request),
            other => other,
        };
    }

    /// No response has come; to a WebSocket that didn't open, nothing was sent either.
    pub(super) fn fail(&mut self, failure: &Failure, routing: &Routing) {
        let why = failure.of(&self.route.provider.id);
        let (is_shared, is_limit) = (self.is_shared(), failure.is_limit());
        let worked = self.is_asked() && matches!(failure, Failure::TimedOut(_));
        if let Some(request) = self.in_flight() {
            match failure {
                Failure::Declined { wait, .. } if is_limit && is_shared => {
                    request.limited(&why, *wait);
                }
                _ if failure.is_the_providers() && !is_limit => {
                    request.failed(&why, failure.scope(), routing);
                }
                Failure::Declined { .. } => request.succeeded(),
                _ => {}
            }
        }
        self.reached = Reached::Over { worked };
    }

    /// The provider has broken off before anything of its response could be used.
    pub(super) fn break_off(&mut self, why: &str, routing: &Routing) {
        if let Some(request) = self.in_flight() {
            request.failed(why, Scope::Model, routing);
        }
    }

    /// Whether the provider's limits are those of everybody: a caller's own credential has limits of
    /// its own.
    pub(super) fn is_shared(&self) -> bool {
        !self.own_credential && !self.route.provider.needs_own_credential()
    }

    /// Nothing more comes of it: what it holds is given back.
    pub(super) fn leave(&mut self) {
        self.hold = None;
        // Its bodies would stay until the response has ended.
        self.unsealed = None;
        self.translated = None;
        if let Some(translation) = &mut self.translation {
            translation.call.body = Bytes::new();
        }
        self.reached = Reached::Over {
            worked: self.is_asked(),
        };
    }

    /// Notes how the provider has done, now that the exchange has ended.
    pub(super) fn judge(&mut self, ending: &Ending, routing: &Routing) {
        let Reached::Asked(request) = &mut self.reached else {
            return;
        };
        match ending {
            // An error that the provider reports may be the caller's fault, and a status was judged
            // when it arrived.
            Ending::ProviderCut(why) | Ending::TimedOut(why) => {
                request.failed(why, Scope::Model, routing);
            }
            Ending::Complete => request.succeeded(),
            // A caller who leaves says nothing about the provider.
            _ => {}
        }
    }
}

/// What a provider is asked: the caller's request, or its translation.
fn served<'a>(
    asked: &'a Asked,
    translation: Option<&'a Translation>,
    unsealed: Option<&'a Call>,
) -> (&'static Format, &'a Call) {
    match translation {
        Some(translation) => (translation.format, &translation.call),
        None => (asked.format, unsealed.unwrap_or(&asked.call)),
    }
}
