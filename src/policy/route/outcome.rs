//! The result of the search for a route.

use std::sync::Arc;

use super::Provider;
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::policy::access::Subject;

/// Where a request goes: first to one provider, and to others if it fails.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The best.
    pub first: Route,
    /// The others, the better ones first.
    pub others: Vec<Route>,
    /// The rules alone have decided: no other provider could answer, and nothing is known against this one.
    pub is_only: bool,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Route {
    /// The provider.
    pub provider: Arc<Provider>,
    /// The model as the provider names it.
    pub model: Text,
    /// Why this provider.
    pub reasons: Arc<[Reason]>,
    /// It comes last while a budget that pays for it runs low.
    pub spares: bool,
}

impl Route {
    /// What a grant must give.
    pub fn subject(&self) -> Subject<'_> {
        self.provider.subject(&self.model)
    }
}

/// Why there is no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No provider serves the model.
    Unknown,
    /// A provider does, and no grant covers it. Callers get the same message as for `Unknown`.
    NotGranted {
        /// The models that a grant would have to cover.
        candidates: Vec<Text>,
    },
    /// A granted provider serves it in other formats.
    OtherApi {
        /// Those formats.
        through: Vec<&'static str>,
    },
}
