//! All providers, and the choice among them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Provider;
use super::catalog::{Ambiguous, Catalog};
use super::choice::{self, Evidence};
use super::search::Search;
use super::{Choice, Fit, NoRoute, Route};
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::config::Choice as _;
use crate::config::{self, Alias, Routing};
use crate::formats::Format;
use crate::policy::access::Permit;

/// Providers and aliases of a configuration.
pub struct RouteTable {
    providers: Vec<Arc<Provider>>,
    catalog: Catalog,
    aliases: HashMap<String, Alias>,
    routing: Routing,
}

/// A model of a listing.
#[derive(Clone, Copy, Debug)]
pub struct ListedModel<'a> {
    /// Who serves it.
    pub provider: &'a Provider,
    /// Its name there.
    pub model: &'a str,
}

impl ListedModel<'_> {
    /// How it is asked in a format, if the permit allows it.
    #[must_use]
    pub fn fit(&self, permit: &Permit, format: &Format) -> Option<Fit> {
        let subject = self.provider.subject(self.model);
        let fit = self.provider.fit(format);
        fit.filter(|fit| *fit == Fit::Native || permit.translates(subject))
    }
}

impl RouteTable {
    /// Compiles providers and aliases. A provider that cannot be used is left out; its id
    /// comes back with a sentence that says why.
    pub fn compile(file: &config::File) -> (Self, Vec<(String, String)>) {
        let mut providers = Vec::new();
        let mut unusable = Vec::new();
        for (id, config) in &file.providers {
            match Provider::new(id, config) {
                Ok(provider) => providers.push(Arc::new(provider)),
                Err(problem) => unusable.push((id.clone(), problem)),
            }
        }
        let aliases = file.model_aliases.models.clone().into_iter();
        let table = Self {
            catalog: Catalog::new(&providers),
            providers,
            aliases: aliases.collect(),
            routing: file.routing,
        };
        (table, unusable)
    }

    /// All providers, the disabled ones too.
    pub fn providers(&self) -> &[Arc<Provider>] {
        &self.providers
    }

    /// The names of all aliases, sorted.
    pub fn aliases(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.aliases.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The models that a permit covers, in the order of the configuration.
    pub fn models<'a>(&'a self, permit: &'a Permit) -> impl Iterator<Item = ListedModel<'a>> {
        let enabled = self.providers.iter().filter(|provider| !provider.disabled);
        let models = enabled.flat_map(|provider| {
            let models = provider.models.iter();
            models.map(move |model| ListedModel { provider, model })
        });
        models.filter(|listed| permit.covers(listed.provider.subject(listed.model)))
    }

    /// The providers for a model named by a caller: an alias, `provider/model`, or a bare name, tried in
    /// this order, among those for which `fits` says how they can be asked. Only where none of them speaks the
    /// caller's format come those for which the request is translated.
    ///
    /// # Errors
    /// [`NoRoute`] says why, for the record and the explanation.
    pub fn select(
        &self,
        permit: &Permit,
        requested: &str,
        fits: &dyn Fn(&Provider) -> Option<Fit>,
        evidence: Evidence<'_>,
    ) -> Result<Choice, NoRoute> {
        let native = self.select_among(permit, requested, fits, Fit::Native, evidence);
        native.or_else(|_| self.select_among(permit, requested, fits, Fit::Translated, evidence))
    }

    fn select_among(
        &self,
        permit: &Permit,
        requested: &str,
        fits: &dyn Fn(&Provider) -> Option<Fit>,
        wanted: Fit,
        evidence: Evidence<'_>,
    ) -> Result<Choice, NoRoute> {
        let mut search = Search {
            catalog: &self.catalog,
            share: self.routing.equal,
            permit,
            fits,
            wanted,
            evidence,
            found: Vec::new(),
            granted: Vec::new(),
            tie: None,
            tagged: None,
        };
        let mut reasons = Vec::new();
        let mut candidates = match self.aliases.get(requested) {
            Some(alias) => {
                let candidates = search.of_alias(requested, alias);
                reasons.extend(candidates.first().map(|first| Reason::Alias {
                    alias: requested.into(),
                    provider: first.provider.id.clone(),
                    model: first.model.clone(),
                    strategy: Text::fixed(alias.strategy.word()),
                }));
                candidates
            }
            None => Vec::new(),
        };
        // A name that is an alias of nothing may still be a model's.
        if search.found.is_empty() {
            candidates = search.of_name(requested);
        }
        if candidates.is_empty() {
            return Err(search.nothing());
        }
        let is_alone = candidates.len() == 1;
        let put_off = choice::put_off(&mut candidates, evidence.traffic);
        let held = choice::held(&mut candidates, evidence);
        if !self.routing.failover {
            // Those for a budget that runs low stay: nothing has failed then.
            let spares = candidates.iter().take_while(|one| one.spares).count();
            candidates.truncate(1 + spares);
        }
        reasons.extend(search.tagged);
        reasons.push(candidates[0].granted.clone());
        let best = &candidates[0];
        let (provider, model) = (best.provider.id.clone(), best.model.clone());
        reasons.push(match search.found.len() - 1 {
            0 => Reason::OnlyProvider { provider, model },
            others => Reason::PreferredProvider {
                provider,
                preference: best.provider.preference,
                others,
                model,
                tie: search.tie,
            },
        });
        let is_only = is_alone && put_off.is_empty() && held.is_none();
        reasons.extend(put_off);
        reasons.extend(held);
        let mut routes = candidates.into_iter().map(|one| Route {
            reasons: Arc::new([one.granted]),
            spares: one.spares,
            provider: one.provider,
            model: one.model,
        });
        let Some(mut first) = routes.next() else {
            return Err(NoRoute::Unknown);
        };
        first.reasons = reasons.into();
        Ok(Choice {
            first,
            others: routes.collect(),
            is_only,
        })
    }

    /// Names that are read as a provider's model though others list a model by the whole name.
    pub fn ambiguous(&self) -> Vec<Ambiguous<'_>> {
        self.catalog.ambiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats;
    use crate::policy::access::Access;
    use crate::policy::identity::Caller;
    use crate::policy::route::Traffic;

    fn select(grants: &str, model: &str) -> Result<(Text, Text), NoRoute> {
        let text = format!(
            r#"{{"providers":{{
                "b":{{"baseurl":"http://b","models":["m","deep/m","only-b"]}},
                "a":{{"baseurl":"http://a","models":["m"]}},
                "best":{{"baseurl":"http://c","models":["m"],"preference":5}},
                "off":{{"baseurl":"http://d","models":["m","dark"],"preference":9,"disabled":true}},
                "ollama":{{"baseurl":"http://f","models":["tiny:latest","only-b:latest","q:8b"]}},
                "router":{{"baseurl":"http://g","models":["b/m","b/x"],"preference":7}},
                "claude":{{"baseurl":"http://e","models":["c"],
                    "compatibility":{{"anthropic_messages":true}}}}}},
              "model_aliases":{{"models":{{"house":{{"dst":["gone/x","b/deep/m"]}},"mine":{{"dst":["b/m"]}}}}}},
              "grants":[{{"src":["*"],"app":{{"tailscale.com/cap/aperture":[
                {{"role":"user"}},{grants}]}}}}]}}"#
        );
        let file = config::parse(&text, &|_| None).unwrap().file;
        let permit = Access::compile(&file).permit(&Caller::hypothetical("u", None));
        let traffic = Traffic::default();
        let evidence = Evidence {
            traffic: &traffic,
            conversation: None,
            holder: None,
        };
        let (table, _) = RouteTable::compile(&file);
        let speaks = |provider: &Provider| provider.speaks(formats::ALL[0]).then_some(Fit::Native);
        let choice = table.select(&permit.unwrap(), model, &speaks, evidence)?;
        Ok((choice.first.provider.id.clone(), choice.first.model))
    }

    /// The grants route the model to this provider and this one of its models.
    #[track_caller]
    fn goes(grants: &str, requested: &str, provider: &str, model: &str) {
        let expected = (provider.into(), model.into());
        assert_eq!(select(grants, requested), Ok(expected), "{requested}");
    }

    #[test]
    fn preference_then_id_among_what_is_granted() {
        goes(r#"{"models":"**"}"#, "m", "best", "m");
        goes(r#"{"models":"a/*"},{"models":"b/*"}"#, "m", "a", "m");
        goes(r#"{"models":"b/*"}"#, "m", "b", "m");
    }

    #[test]
    fn full_names_slashes_and_aliases() {
        let all = r#"{"models":"**"}"#;
        goes(all, "b/m", "b", "m");
        goes(all, "deep/m", "b", "deep/m");
        goes(all, "b/deep/m", "b", "deep/m");
        goes(all, "house", "b", "deep/m");
        assert_eq!(select(all, "house/x"), Err(NoRoute::Unknown));
    }

    /// Provider `b` has `m`, and the aggregator `router` lists `b/m`.
    #[test]
    fn a_name_with_a_provider_in_front_is_that_providers() {
        let all = r#"{"models":"**"}"#;
        goes(all, "b/m", "b", "m");
        goes(all, "router/b/m", "router", "b/m");
        goes(all, "mine", "b", "m");
        goes(r#"{"models":"b/**"}"#, "b/m", "b", "m");
        // Who may use the aggregator alone can't mean the other.
        goes(r#"{"models":"router/**"}"#, "b/m", "router", "b/m");
        // Nobody else has the rest of it.
        goes(all, "b/x", "router", "b/x");
    }

    #[test]
    fn a_name_without_a_tag_is_the_latest_where_nothing_else_has_it() {
        let all = r#"{"models":"**"}"#;
        for name in ["tiny", "tiny:latest", "ollama/tiny", "ollama/tiny:latest"] {
            goes(all, name, "ollama", "tiny:latest");
        }
        // Another has it exactly; by its full name it is still there.
        goes(all, "only-b", "b", "only-b");
        goes(all, "ollama/only-b", "ollama", "only-b:latest");
        for unknown in [
            "q",
            "tiny:7b",
            "",
            "ollama/",
            "b/tiny",
            "tiny:latest:latest",
        ] {
            assert_eq!(select(all, unknown), Err(NoRoute::Unknown), "{unknown}");
        }
        // Grants go by the name that is listed.
        goes(
            r#"{"models":"ollama/tiny:*"}"#,
            "tiny",
            "ollama",
            "tiny:latest",
        );
        assert_eq!(
            select(r#"{"models":"ollama/q:8b"}"#, "tiny"),
            Err(NoRoute::NotGranted {
                candidates: vec!["ollama/tiny:latest".into()]
            })
        );
        // One that is not granted is not replaced by another model.
        assert_eq!(
            select(r#"{"models":"ollama/**"}"#, "only-b"),
            Err(NoRoute::NotGranted {
                candidates: vec!["b/only-b".into()]
            })
        );
    }

    #[test]
    fn refusals_are_told_apart() {
        assert_eq!(select(r#"{"models":"**"}"#, "dark"), Err(NoRoute::Unknown));
        assert_eq!(
            select(r#"{"models":"a/*"}"#, "only-b"),
            Err(NoRoute::NotGranted {
                candidates: vec!["b/only-b".into()]
            })
        );
        assert_eq!(
            select(r#"{"models":"**"}"#, "c"),
            Err(NoRoute::OtherApi {
                through: vec!["anthropic_messages"]
            })
        );
    }
}
