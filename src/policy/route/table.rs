//! All providers, and the choice among them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Provider;
use super::choice::{self, Candidate, Choice, Now};
use crate::base::reasons::{Reason, Tie};
use crate::config::{self, Alias, Routing, Strategy};
use crate::formats::Format;
use crate::policy::access::{Permit, Subject};

/// Providers and aliases of a configuration.
pub struct RouteTable {
    providers: Vec<Arc<Provider>>,
    /// From a model to the enabled providers that serve it.
    by_model: HashMap<String, Vec<Arc<Provider>>>,
    aliases: HashMap<String, Alias>,
    routing: Routing,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Route {
    /// The provider.
    pub provider: Arc<Provider>,
    /// The model as the provider names it.
    pub model: String,
    /// Why this provider.
    pub reasons: Vec<Reason>,
}

impl Route {
    /// What a grant must give.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        self.provider.subject(&self.model)
    }
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
        let aliases = file
            .model_aliases
            .models
            .iter()
            .map(|(name, alias)| (name.clone(), alias.clone()))
            .collect();
        (
            Self {
                providers,
                by_model,
                aliases,
                routing: file.routing,
            },
            unusable,
        )
    }

    /// All providers, the disabled ones too.
    #[must_use]
    pub fn providers(&self) -> &[Arc<Provider>] {
        &self.providers
    }

    /// The names of all aliases, sorted.
    #[must_use]
    pub fn aliases(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.aliases.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
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
            .filter(|found| permit.covers(found.provider.subject(found.model)))
    }

    /// The providers for a model named by a caller: an alias, `provider/model`, or a bare name,
    /// tried in this order.
    ///
    /// # Errors
    /// [`NoRoute`], told apart for the record and the explanation.
    pub fn select(
        &self,
        permit: &Permit,
        api: &Format,
        requested: &str,
        now: Now<'_>,
    ) -> Result<Choice, NoRoute> {
        self.select_where(permit, requested, &|provider| provider.speaks(api), now)
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
        now: Now<'_>,
    ) -> Result<Choice, NoRoute> {
        let mut search = Search {
            table: self,
            permit,
            fits,
            now,
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
                    alias: requested.to_owned(),
                    provider: first.provider.id.clone(),
                    model: first.model.clone(),
                    strategy: alias.strategy.word().to_owned(),
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
        let put_off = choice::put_off(&mut candidates, now.traffic);
        let held = choice::held(&mut candidates, now);
        if !self.routing.failover {
            candidates.truncate(1);
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
        reasons.extend(put_off);
        reasons.extend(held);
        let mut routes = candidates.into_iter().map(|one| Route {
            reasons: vec![one.granted],
            provider: one.provider,
            model: one.model,
        });
        let Some(mut first) = routes.next() else {
            return Err(NoRoute::Unknown);
        };
        first.reasons = reasons;
        Ok(Choice {
            first,
            others: routes.collect(),
        })
    }

    /// Enabled providers of a name, and the model as they list it, for each way to read the name: the
    /// one that names a provider comes first. A model's own name may begin with a provider's id, as
    /// those of aggregators do, and what `provider/model` stands for must not depend on what
    /// other providers list.
    ///
    /// Ollama lists `tiny:latest` and is asked for `tiny`: such a name means the other one where
    /// no model has it exactly, so that grants, prices and records know one name, the listed one.
    fn readings(&self, name: &str) -> Vec<Serving<'_>> {
        let is_tagged = name.rsplit('/').next().unwrap_or_default().contains(':');
        let exactly = self.exactly(name);
        if exactly.is_empty() && !is_tagged {
            return self.exactly(&format!("{name}{LATEST}"));
        }
        exactly
    }

    fn exactly(&self, name: &str) -> Vec<Serving<'_>> {
        let qualified = name.split_once('/').and_then(|(id, model)| {
            let (model, providers) = self.by_model.get_key_value(model)?;
            let provider = providers.iter().find(|provider| provider.id == id)?;
            Some(Serving {
                model,
                providers: vec![provider],
            })
        });
        let bare = self.by_model.get_key_value(name);
        let bare = bare.map(|(model, providers)| Serving {
            model,
            providers: providers.iter().collect(),
        });
        qualified.into_iter().chain(bare).collect()
    }

    /// Names that are read as a provider's model though others list a model by the whole name: the
    /// name, the provider that is meant, and the others.
    #[must_use]
    pub fn ambiguous(&self) -> Vec<(&str, &str, Vec<&str>)> {
        let mut found: Vec<_> = self
            .by_model
            .iter()
            .filter_map(|(name, providers)| {
                let (id, model) = name.split_once('/')?;
                let meant = self.by_model.get(model)?.iter().find(|one| one.id == id)?;
                let others: Vec<&str> = providers.iter().map(|one| one.id.as_str()).collect();
                Some((name.as_str(), meant.id.as_str(), others))
            })
            .collect();
        found.sort_unstable();
        found
    }
}

/// What Ollama adds to the name of a model that has no tag of its own.
const LATEST: &str = ":latest";

/// Who serves a model.
struct Serving<'a> {
    /// As it is listed.
    model: &'a str,
    providers: Vec<&'a Arc<Provider>>,
}

/// A search for those who could answer, and what it has come by.
struct Search<'a> {
    table: &'a RouteTable,
    permit: &'a Permit,
    fits: &'a dyn Fn(&Provider) -> bool,
    now: Now<'a>,
    /// All that serve the model, as `provider/model`.
    found: Vec<String>,
    /// Those of them that a grant covers.
    granted: Vec<Arc<Provider>>,
    /// Why the first of equals is the first.
    tie: Option<Tie>,
    /// That a name without a tag was taken for one with it.
    tagged: Option<Reason>,
}

impl Search<'_> {
    fn of_alias(&mut self, name: &str, alias: &Alias) -> Vec<Candidate> {
        let mut destinations = Vec::new();
        for destination in &alias.dst {
            let before = self.found.len();
            let candidates = self.of_name(&destination.model);
            let exists = self.found.len() > before;
            if !candidates.is_empty() {
                destinations.push((destination.weight, candidates));
            }
            // It stands for the first that there is, whether or not that is granted.
            if alias.strategy == Strategy::First && exists {
                break;
            }
        }
        if destinations.is_empty() {
            return Vec::new();
        }
        choice::among_destinations(name, alias.strategy, destinations, self.now)
    }

    fn of_name(&mut self, name: &str) -> Vec<Candidate> {
        let (table, permit) = (self.table, self.permit);
        let mut readings = table.readings(name).into_iter();
        let Some(first) = readings.next() else {
            return Vec::new();
        };
        // Without a grant for the one that is meant, a caller can only mean the other.
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
                name: name.to_owned(),
                model: model.to_owned(),
            });
        }
        let mut candidates = Vec::new();
        for provider in providers {
            let subject = provider.subject(model);
            self.found.push(subject.to_string());
            let Some(granted) = self.permit.why(subject) else {
                continue;
            };
            self.granted.push(Arc::clone(provider));
            if (self.fits)(provider) {
                candidates.push(Candidate {
                    provider: Arc::clone(provider),
                    model: model.to_owned(),
                    granted,
                });
            }
        }
        let share = self.table.routing.equal;
        let (ordered, tie) = choice::among_equals(model, share, candidates, self.now);
        self.tie = self.tie.take().or(tie);
        ordered
    }

    /// Why nobody can answer.
    fn nothing(self) -> NoRoute {
        if self.found.is_empty() {
            return NoRoute::Unknown;
        }
        if self.granted.is_empty() {
            return NoRoute::NotGranted {
                candidates: self.found,
            };
        }
        let flags = self
            .granted
            .iter()
            .flat_map(|provider| provider.flags.iter().copied());
        let mut through: Vec<&'static str> = flags
            .filter(|flag| !flag.starts_with("experimental_") && !flag.ends_with("_websocket"))
            .collect();
        through.sort_unstable();
        through.dedup();
        NoRoute::OtherApi { through }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats;
    use crate::policy::access::Access;
    use crate::policy::identity::Caller;
    use crate::policy::route::Traffic;

    fn now(traffic: &Traffic) -> Now<'_> {
        Now {
            traffic,
            conversation: None,
            holder: None,
        }
    }

    fn select(grants: &str, model: &str) -> Result<(String, String), NoRoute> {
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
        let permit = Access::compile(&file)
            .permit(&Caller::hypothetical("u", None))
            .unwrap();
        RouteTable::compile(&file)
            .0
            .select(&permit, formats::ALL[0], model, now(&Traffic::default()))
            .map(|choice| choice.first)
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

    /// Provider `b` has `m`, and the aggregator `router` lists `b/m`.
    #[test]
    fn a_name_with_a_provider_in_front_is_that_providers() {
        let all = r#"{"models":"**"}"#;
        assert_eq!(select(all, "b/m"), to("b", "m"));
        assert_eq!(select(all, "router/b/m"), to("router", "b/m"));
        assert_eq!(select(all, "mine"), to("b", "m"));
        assert_eq!(select(r#"{"models":"b/**"}"#, "b/m"), to("b", "m"));
        // Who may use the aggregator alone can't mean the other.
        assert_eq!(
            select(r#"{"models":"router/**"}"#, "b/m"),
            to("router", "b/m")
        );
        // Nobody else has the rest of it.
        assert_eq!(select(all, "b/x"), to("router", "b/x"));
    }

    #[test]
    fn a_name_without_a_tag_is_the_latest_where_nothing_else_has_it() {
        let all = r#"{"models":"**"}"#;
        for name in ["tiny", "tiny:latest", "ollama/tiny", "ollama/tiny:latest"] {
            assert_eq!(select(all, name), to("ollama", "tiny:latest"), "{name}");
        }
        // Another has it exactly; by its full name it is still there.
        assert_eq!(select(all, "only-b"), to("b", "only-b"));
        assert_eq!(select(all, "ollama/only-b"), to("ollama", "only-b:latest"));
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
        assert_eq!(
            select(r#"{"models":"ollama/tiny:*"}"#, "tiny"),
            to("ollama", "tiny:latest")
        );
        assert_eq!(
            select(r#"{"models":"ollama/q:8b"}"#, "tiny"),
            Err(NoRoute::NotGranted {
                candidates: vec!["ollama/tiny:latest".to_owned()]
            })
        );
        // One that is not granted is not replaced by another model.
        assert_eq!(
            select(r#"{"models":"ollama/**"}"#, "only-b"),
            Err(NoRoute::NotGranted {
                candidates: vec!["b/only-b".to_owned()]
            })
        );
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
