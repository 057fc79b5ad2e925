//! All providers, and the choice among them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Provider;
use crate::access::Permit;
use crate::api::Api;
use crate::config;

/// Providers and aliases of a configuration.
pub struct RouteTable {
    providers: Vec<Arc<Provider>>,
    /// From a model to the enabled providers that serve it, the best first.
    by_model: HashMap<String, Vec<Arc<Provider>>>,
    aliases: HashMap<String, Vec<String>>,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Route {
    /// The provider.
    pub provider: Arc<Provider>,
    /// The model as the provider names it.
    pub model: String,
    /// Why this provider, in sentences.
    pub reasons: Vec<String>,
}

/// A model of a listing.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Who serves it.
    pub provider: &'a Provider,
    /// Its name there.
    pub model: &'a str,
}

/// Why there is no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No provider serves the model.
    Unknown,
    /// A provider does, and no grant covers it. Callers are told the same as for `Unknown`.
    NotGranted {
        /// The models that a grant would have to cover.
        candidates: Vec<String>,
    },
    /// A granted provider serves it in other formats.
    OtherApi {
        /// Those formats.
        through: Vec<&'static str>,
    },
}

impl RouteTable {
    /// Compiles providers and aliases. A provider that cannot be used is left out; its id
    /// comes back with a sentence that says why.
    #[must_use]
    pub fn compile(file: &config::File) -> (Self, Vec<(String, String)>) {
        let mut providers = Vec::new();
        let mut unusable = Vec::new();
        for (id, config) in &file.providers {
            match Provider::new(id, config) {
                Ok(provider) => providers.push(Arc::new(provider)),
                Err(problem) => unusable.push((id.clone(), problem)),
            }
        }
        let mut by_model: HashMap<String, Vec<Arc<Provider>>> = HashMap::new();
        for provider in providers.iter().filter(|provider| !provider.disabled) {
            for model in &provider.models {
                let serving = by_model.entry(model.clone()).or_default();
                if !serving.iter().any(|other| other.id == provider.id) {
                    serving.push(Arc::clone(provider));
                }
            }
        }
        for serving in by_model.values_mut() {
            // Equal preference: by id, so that the choice never depends on the file's order.
            serving.sort_by(|a, b| b.preference.cmp(&a.preference).then(a.id.cmp(&b.id)));
        }
        let aliases = file
            .model_aliases
            .models
            .iter()
            .map(|(name, alias)| (name.clone(), alias.dst.clone()))
            .collect();
        (
            Self {
                providers,
                by_model,
                aliases,
            },
            unusable,
        )
    }

    /// All providers, the disabled ones too.
    #[must_use]
    pub fn providers(&self) -> &[Arc<Provider>] {
        &self.providers
    }

    /// The models that a permit covers, in the order of the configuration.
    pub fn models<'a>(&'a self, permit: &'a Permit) -> impl Iterator<Item = Found<'a>> {
        self.providers
            .iter()
            .filter(|provider| !provider.disabled)
            .flat_map(|provider| {
                provider
                    .models
                    .iter()
                    .map(move |model| Found { provider, model })
            })
            .filter(|found| permit.covers(&found.provider.id, found.model).is_some())
    }

    /// The provider for a model named by a caller: an alias, a bare name, or
    /// `provider/model`, tried in this order.
    ///
    /// # Errors
    /// [`NoRoute`], told apart for the record and the explanation.
    pub fn select(
        &self,
        permit: &Permit,
        api: &dyn Api,
        requested: &str,
    ) -> Result<Route, NoRoute> {
        self.select_where(permit, requested, &|provider| provider.speaks(api))
    }

    /// The same among the providers that `fits`.
    ///
    /// # Errors
    /// As for [`RouteTable::select`].
    pub fn select_where(
        &self,
        permit: &Permit,
        requested: &str,
        fits: &dyn Fn(&Provider) -> bool,
    ) -> Result<Route, NoRoute> {
        let mut reasons = Vec::new();
        let mut wanted = requested;
        // An alias picks its first destination that exists; it is no chain of retries.
        if let Some(destinations) = self.aliases.get(requested)
            && let Some(destination) = destinations
                .iter()
                .find(|name| !self.candidates(name).is_empty())
        {
            reasons.push(format!("alias {requested:?} stands for {destination:?}"));
            wanted = destination;
        }
        let candidates = self.candidates(wanted);
        if candidates.is_empty() {
            return Err(NoRoute::Unknown);
        }
        let granted: Vec<_> = candidates
            .iter()
            .filter_map(|found| {
                permit
                    .covers(&found.provider.id, found.model)
                    .map(|by| (found, by))
            })
            .collect();
        if granted.is_empty() {
            let candidates = candidates
                .iter()
                .map(|found| format!("{}/{}", found.provider.id, found.model))
                .collect();
            return Err(NoRoute::NotGranted { candidates });
        }
        let Some((found, (pattern, source))) =
            granted.iter().find(|(found, _)| fits(found.provider))
        else {
            let mut through: Vec<&'static str> = granted
                .iter()
                .flat_map(|(found, _)| found.provider.flags.iter().copied())
                .filter(|flag| !flag.starts_with("experimental_") && !flag.ends_with("_websocket"))
                .collect();
            through.sort_unstable();
            through.dedup();
            return Err(NoRoute::OtherApi { through });
        };
        let others = candidates.len() - 1;
        reasons.push(format!(
            "models pattern {:?} of {source}",
            pattern.to_string()
        ));
        reasons.push(match others {
            0 => format!(
                "provider {} is the only one with {:?}",
                found.provider.id, found.model
            ),
            _ => format!(
                "provider {} (preference {}) before {others} other(s) with {:?}",
                found.provider.id, found.provider.preference, found.model
            ),
        });
        let provider = self.by_model[found.model]
            .iter()
            .find(|provider| provider.id == found.provider.id)
            .cloned()
            .ok_or(NoRoute::Unknown)?;
        Ok(Route {
            provider,
            model: found.model.to_owned(),
            reasons,
        })
    }

    /// Enabled providers of a name, the best first: the bare name wins over
    /// `provider/model`, because a model's own name may begin with a provider's id.
    fn candidates<'a>(&'a self, name: &'a str) -> Vec<Found<'a>> {
        if let Some((model, serving)) = self.by_model.get_key_value(name) {
            return serving
                .iter()
                .map(|provider| Found { provider, model })
                .collect();
        }
        let Some((id, model)) = name.split_once('/') else {
            return Vec::new();
        };
        self.by_model
            .get(model)
            .into_iter()
            .flatten()
            .filter(|provider| provider.id == id)
            .map(|provider| Found { provider, model })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::api;
    use crate::identity::Caller;

    fn select(grants: &str, model: &str) -> Result<(String, String), NoRoute> {
        let text = format!(
            r#"{{"providers":{{
                "b":{{"baseurl":"http://b","models":["m","deep/m","only-b"]}},
                "a":{{"baseurl":"http://a","models":["m"]}},
                "best":{{"baseurl":"http://c","models":["m"],"preference":5}},
                "off":{{"baseurl":"http://d","models":["m","dark"],"preference":9,"disabled":true}},
                "claude":{{"baseurl":"http://e","models":["c"],
                    "compatibility":{{"anthropic_messages":true}}}}}},
              "model_aliases":{{"models":{{"house":{{"dst":["gone/x","b/deep/m"]}}}}}},
              "grants":[{{"src":["*"],"app":{{"tailscale.com/cap/aperture":[
                {{"role":"user"}},{grants}]}}}}]}}"#
        );
        let file = config::parse(&text, &|_| None).unwrap().file;
        let permit = Access::compile(&file)
            .permit(&Caller::hypothetical("u", None))
            .unwrap();
        RouteTable::compile(&file)
            .0
            .select(&permit, api::ALL[0], model)
            .map(|route| (route.provider.id.clone(), route.model))
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "it stands beside what `select` gives"
    )]
    fn to(provider: &str, model: &str) -> Result<(String, String), NoRoute> {
        Ok((provider.to_owned(), model.to_owned()))
    }

    #[test]
    fn preference_then_id_among_what_is_granted() {
        assert_eq!(select(r#"{"models":"**"}"#, "m"), to("best", "m"));
        assert_eq!(
            select(r#"{"models":"a/*"},{"models":"b/*"}"#, "m"),
            to("a", "m")
        );
        assert_eq!(select(r#"{"models":"b/*"}"#, "m"), to("b", "m"));
    }

    #[test]
    fn full_names_slashes_and_aliases() {
        let all = r#"{"models":"**"}"#;
        assert_eq!(select(all, "b/m"), to("b", "m"));
        assert_eq!(select(all, "deep/m"), to("b", "deep/m"));
        assert_eq!(select(all, "b/deep/m"), to("b", "deep/m"));
        assert_eq!(select(all, "house"), to("b", "deep/m"));
        assert_eq!(select(all, "house/x"), Err(NoRoute::Unknown));
    }

    #[test]
    fn refusals_are_told_apart() {
        assert_eq!(select(r#"{"models":"**"}"#, "dark"), Err(NoRoute::Unknown));
        assert_eq!(
            select(r#"{"models":"a/*"}"#, "only-b"),
            Err(NoRoute::NotGranted {
                candidates: vec!["b/only-b".to_owned()]
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
