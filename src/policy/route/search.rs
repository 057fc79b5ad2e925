//! The providers that a name can mean, and which of them a grant covers.

use std::sync::Arc;

use super::catalog::{Catalog, LATEST, Serving};
use super::choice::{self, Candidate, Evidence};
use super::{Fit, NoRoute, Provider};
use crate::base::reasons::{Reason, Tie};
use crate::base::text::Text;
use crate::config::{Alias, Share, Strategy};
use crate::policy::access::Permit;

/// The search for providers that could serve a request, and what it has found.
pub(super) struct Search<'a> {
    pub(super) catalog: &'a Catalog,
    /// Which of equally preferred providers comes first.
    pub(super) share: Share,
    pub(super) permit: &'a Permit,
    pub(super) fits: &'a dyn Fn(&Provider) -> Option<Fit>,
    /// How those are asked that are looked for.
    pub(super) wanted: Fit,
    pub(super) evidence: Evidence<'a>,
    /// All that serve the model, as `provider/model`.
    pub(super) found: Vec<Text>,
    /// Those of them that a grant covers.
    pub(super) granted: Vec<Arc<Provider>>,
    /// Why the first of equals is the first.
    pub(super) tie: Option<Tie>,
    /// Set if a name without a tag was read as one with it.
    pub(super) tagged: Option<Reason>,
}

impl Search<'_> {
    pub(super) fn of_alias(&mut self, name: &str, alias: &Alias) -> Vec<Candidate> {
        let mut destinations = Vec::new();
        for destination in &alias.dst {
            let before = self.found.len();
            let candidates = self.of_name(&destination.model);
            let exists = self.found.len() > before;
            if !candidates.is_empty() {
                destinations.push((destination.weight, candidates));
            }
            // It means the first that exists, whether or not that is granted.
            if alias.strategy == Strategy::First && exists {
                break;
            }
        }
        if destinations.is_empty() {
            return Vec::new();
        }
        choice::among_destinations(name, alias.strategy, destinations, self.evidence)
    }

    pub(super) fn of_name(&mut self, name: &str) -> Vec<Candidate> {
        let (catalog, permit) = (self.catalog, self.permit);
        let mut readings = catalog.readings(name).into_iter();
        let Some(first) = readings.next() else {
            return Vec::new();
        };
        // Without a grant for the first reading, a caller can only mean the other.
        let is_granted = |serving: &Serving<'_>| {
            let mut providers = serving.providers.iter();
            providers.any(|one| permit.covers(one.subject(serving.model)))
        };
        let other = readings.find(|other| !is_granted(&first) && is_granted(other));
        let chosen = other.unwrap_or(first);
        self.of_serving(name, chosen)
    }

    fn of_serving(
        &mut self,
        name: &str,
        Serving { model, providers }: Serving<'_>,
    ) -> Vec<Candidate> {
        if model.ends_with(LATEST) && !name.ends_with(LATEST) {
            self.tagged = Some(Reason::LatestTag {
                name: name.into(),
                model: model.clone(),
            });
        }
        let mut candidates = Vec::new();
        for provider in providers {
            let subject = provider.subject(model);
            self.found.push(subject.to_string().into());
            let Some(granted) = self.permit.why(subject) else {
                continue;
            };
            self.granted.push(Arc::clone(provider));
            let is_allowed = self.wanted == Fit::Native || self.permit.translates(subject);
            if is_allowed && (self.fits)(provider) == Some(self.wanted) {
                candidates.push(Candidate {
                    provider: Arc::clone(provider),
                    model: model.clone(),
                    granted,
                    spares: false,
                });
            }
        }
        let (ordered, tie) = choice::among_equals(model, self.share, candidates, self.evidence);
        self.tie = self.tie.take().or(tie);
        ordered
    }

    /// Why no provider can serve the request.
    pub(super) fn nothing(self) -> NoRoute {
        if self.found.is_empty() {
            return NoRoute::Unknown;
        }
        if self.granted.is_empty() {
            return NoRoute::NotGranted {
                candidates: self.found,
            };
        }
        let flags = self.granted.iter().flat_map(|provider| &provider.flags);
        let is_shown =
            |flag: &&str| !flag.starts_with("experimental_") && !flag.ends_with("_websocket");
        let mut through: Vec<&'static str> = flags.copied().filter(is_shown).collect();
        through.sort_unstable();
        through.dedup();
        NoRoute::OtherApi { through }
    }
}
