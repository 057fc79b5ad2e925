//! How the models of each provider are priced: whose list, under which names, with which factor, and
//! which prices the configuration has instead of the list's.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::local;
use super::{Book, Glob};
use crate::base::money::{CostBasis, Factor, Field, Price, Rate};
use crate::base::text::Text;
use crate::config;
use crate::formats::{self, BaseUrl};

/// Where a provider's basis comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// From `cost_basis`.
    Explicit,
    /// From the provider's URL or formats.
    Inferred,
    /// It is a machine of yours, which sends no bill: models without a price of their own are free.
    Local,
    /// No list: only `prices` gives its models a price.
    None,
}

impl Class {
    /// The word of the pricing document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Explicit => "explicit",
            Self::Inferred => "inferred",
            Self::Local => "local",
            Self::None => "none",
        }
    }
}

/// The pricing rules of a configuration.
pub struct Prices {
    pub(super) providers: IndexMap<String, Rules>,
    pub(super) overrides: HashMap<String, Arc<Price>>,
}

/// Those of one provider.
pub(super) struct Rules {
    pub(super) class: Class,
    pub(super) basis: Option<CostBasis>,
    /// The list that counts if `model_cost_map` gives a model another name.
    mapped: Option<CostBasis>,
    pub(super) models: Vec<String>,
    pub(super) names: Vec<Name>,
    disabled: bool,
}

/// One entry of `model_cost_map`.
pub(super) struct Name {
    glob: Option<Glob>,
    pub(super) written: config::CostName,
}

/// What a model of a provider costs, and why.
#[derive(Clone, Debug)]
pub struct Quote {
    /// Where the basis comes from.
    pub class: Class,
    /// Whose list counts.
    pub basis: Option<CostBasis>,
    /// The entry of `model_cost_map` that matched.
    pub matched: Option<String>,
    /// The name that was looked up.
    pub looked_up: String,
    /// The row or the override that has the price, as `list/model` or as configured.
    pub resolved_model: Option<Text>,
    /// What was done to the name to get there; may be empty.
    pub how: String,
    /// The price without the adjustment; `None` if it is unknown.
    pub price: Option<Arc<Price>>,
    /// Factor for all of it.
    pub adjustment: Factor,
    /// The page that the figures are from, or `configuration`.
    pub source: Option<String>,
    /// When they were seen there.
    pub date: Option<String>,
    /// The price is that of another list than the provider's.
    pub estimated: bool,
    /// `model_cost_map` gives the model another name.
    pub renamed: bool,
    /// The configuration has the price for this provider, not for the name anywhere.
    pub of_provider: bool,
}

impl Prices {
    /// Compiles the pricing rules. Entries of `model_cost_map` with an invalid pattern match nothing;
    /// they come back as the provider's id and the pattern.
    pub fn compile(file: &config::File) -> (Self, Vec<(String, String)>) {
        let mut malformed = Vec::new();
        let mut providers = IndexMap::with_capacity(file.providers.len());
        for (id, provider) in &file.providers {
            let names = provider.model_cost_map.iter().map(|written| {
                let glob = Glob::new(&written.pattern).ok();
                if glob.is_none() {
                    malformed.push((id.clone(), written.pattern.clone()));
                }
                let written = written.clone();
                Name { glob, written }
            });
            let names = names.collect();
            let inferred = || infer(provider).filter(|_| file.auto_cost_basis);
            let (class, basis) = match provider.cost_basis {
                Some(basis) => (Class::Explicit, Some(basis)),
                // A local model with a public model's name is not that model.
                None if provider.base.as_ref().is_ok_and(local::is_local) => (Class::Local, None),
                None => match inferred() {
                    Some(basis) => (Class::Inferred, Some(basis)),
                    None => (Class::None, None),
                },
            };
            let rules = Rules {
                class,
                basis,
                mapped: basis.or_else(inferred),
                models: provider.models.clone(),
                names,
                disabled: provider.disabled,
            };
            providers.insert(id.clone(), rules);
        }
        let overrides = file.prices.iter();
        let overrides = overrides.map(|(name, price)| (name.clone(), Arc::new(price.clone())));
        let prices = Self {
            providers,
            overrides: overrides.collect(),
        };
        (prices, malformed)
    }

    /// The price of a model as the provider names it: what `prices` says of
    /// `provider/model` or `model`, else that of the name which `model_cost_map` gives it, in
    /// `prices` or in the provider's list.
    pub fn quote(&self, provider: &str, model: &str) -> Quote {
        let rules = self.providers.get(provider);
        let mut quote = Quote {
            class: rules.map_or(Class::None, |rules| rules.class),
            basis: rules.and_then(|rules| rules.basis),
            matched: None,
            looked_up: model.to_owned(),
            resolved_model: None,
            how: String::new(),
            price: None,
            adjustment: Factor::ONE,
            source: None,
            date: None,
            estimated: false,
            renamed: false,
            of_provider: false,
        };
        let is_anothers = self.is_anothers(provider, model);
        if quote.configured(self, provider, is_anothers) {
            return quote;
        }
        let matches = |name: &&Name| name.glob.as_ref().is_some_and(|glob| glob.matches(model));
        let name = rules.and_then(|rules| rules.names.iter().find(matches));
        if let Some(Name { written, .. }) = name {
            quote.matched = Some(written.pattern.clone());
            quote.adjustment = written.adjustment;
            if !written.priced_as.is_empty() {
                quote.looked_up.clone_from(&written.priced_as);
                quote.renamed = true;
                quote.basis = rules.and_then(|rules| rules.mapped);
            }
            let is_own = quote.looked_up == model;
            if quote.configured(self, provider, is_own && is_anothers) {
                return quote;
            }
        }
        if let Some(basis) = quote.basis {
            quote.listed(basis);
        }
        if quote.price.is_none() && quote.class == Class::Local {
            quote.price = Some(local::free());
            quote.resolved_model = Some(Text::fixed(local::SOURCE));
            quote.source = Some(local::SOURCE.to_owned());
        }
        quote
    }

    /// Whether the whole name of a provider's model reads as a model of another provider: a price
    /// under that name is the other's.
    fn is_anothers(&self, provider: &str, model: &str) -> bool {
        model.split_once('/').is_some_and(|(id, rest)| {
            let other = self.providers.get(id).filter(|_| id != provider);
            other.is_some_and(|other| !other.disabled && other.models.iter().any(|one| one == rest))
        })
    }
}

impl Quote {
    /// Takes the price from the configuration, if it has one; that of the name without the provider
    /// only if the name isn't another provider's.
    fn configured(&mut self, prices: &Prices, provider: &str, is_anothers: bool) -> bool {
        let full = format!("{provider}/{}", self.looked_up);
        let names = [full.as_str(), &self.looked_up];
        let Some((name, price)) = names[..if is_anothers { 1 } else { 2 }]
            .iter()
            .find_map(|name| prices.overrides.get_key_value(*name))
        else {
            return false;
        };
        self.of_provider = *name == full;
        self.resolved_model = Some(name.into());
        self.price = Some(Arc::clone(price));
        self.source = Some("configuration".to_owned());
        true
    }

    /// Whether the model is free because its provider is local.
    pub fn is_free(&self) -> bool {
        self.source.as_deref() == Some(local::SOURCE)
    }

    /// Takes it from the table.
    fn listed(&mut self, basis: CostBasis) {
        let Some(found) = Book::built_in().find(basis, &self.looked_up) else {
            return;
        };
        let row = found.row;
        self.resolved_model = Some(format!("{}/{}", row.basis.as_str(), row.model).into());
        self.price = Some(Arc::clone(&row.price));
        self.source = Some(row.source.clone());
        self.date = Some(row.date.clone());
        self.how = found.how;
        self.estimated = found.elsewhere;
    }

    /// Whether the price is written in the configuration.
    pub(super) fn is_configured(&self) -> bool {
        self.source.as_deref() == Some("configuration")
    }

    /// The rate of a short request, with the adjustment.
    pub fn rate(&self, field: Field) -> Option<Rate> {
        let rates = self.price.as_ref()?.standard.base;
        Some(rates.get(field)?.times(self.adjustment))
    }
}

/// The list of a provider that names none: by its host, or else by formats that only one vendor
/// speaks. Many vendors speak `OpenAI`'s, so those don't count.
fn infer(provider: &config::Provider) -> Option<CostBasis> {
    let base = provider.base.as_ref().ok();
    let host = base.map(BaseUrl::host).unwrap_or_default();
    by_host(&host).or_else(|| {
        let on = provider.compatibility.flags();
        let mut flags = formats::flags(&formats::ALL);
        flags.retain(|flag| on.contains(&flag.name));
        let speaks_for = |basis: &CostBasis| flags.iter().any(|flag| flag.vendor == Some(*basis));
        VENDORS.into_iter().find(speaks_for)
    })
}

/// Vendors with formats of their own, before others that also sell their models.
const VENDORS: [CostBasis; 4] = [
    CostBasis::Anthropic,
    CostBasis::Google,
    CostBasis::Vertex,
    CostBasis::Bedrock,
];

fn by_host(host: &str) -> Option<CostBasis> {
    Some(match host {
        "api.openai.com" => CostBasis::OpenAi,
        "api.anthropic.com" => CostBasis::Anthropic,
        "generativelanguage.googleapis.com" => CostBasis::Google,
        "aiplatform.googleapis.com" => CostBasis::Vertex,
        "openrouter.ai" => CostBasis::OpenRouter,
        "ai-gateway.vercel.sh" => CostBasis::Vercel,
        _ if host.ends_with("-aiplatform.googleapis.com") => CostBasis::Vertex,
        _ if host.ends_with(".openai.azure.com") || host.ends_with(".services.ai.azure.com") => {
            CostBasis::Azure
        }
        _ => {
            let region = host
                .strip_prefix("bedrock-runtime.")?
                .strip_suffix(".amazonaws.com")?;
            match region.split('-').next() {
                Some("us") => CostBasis::BedrockUs,
                Some("eu") => CostBasis::BedrockEu,
                Some("ap") => CostBasis::BedrockAp,
                _ => CostBasis::Bedrock,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::money::{Mode, Money};
    use crate::formats::Tokens;

    fn prices(text: &str) -> Prices {
        Prices::compile(&config::parse(text, &|_| None).unwrap().file).0
    }

    fn input(quote: &Quote) -> String {
        quote.rate(Field::Input).unwrap().dollars(Field::Input)
    }

    #[test]
    fn the_basis_is_explicit_or_inferred_or_none() {
        let basis = |fields: &str, auto: bool| {
            let quote = prices(&format!(
                r#"{{"providers":{{"p":{{"models":["m"],{fields}}}}},"auto_cost_basis":{auto}}}"#
            ))
            .quote("p", "m");
            (quote.class, quote.basis.map(CostBasis::as_str))
        };
        let at = |url: &str, flag: &str| {
            format!(r#""baseurl":"{url}","compatibility":{{"{flag}":true}}"#)
        };
        let flag = |flag: &str| at("https://llm.example.com", flag);
        let host = |host: &str| format!(r#""baseurl":"https://{host}/v1""#);
        for (fields, wanted) in [
            (host("API.OpenAI.com"), "openai"),
            (host("openrouter.ai"), "openrouter"),
            (host("me.openai.azure.com"), "azure"),
            (
                host("bedrock-runtime.eu-west-1.amazonaws.com"),
                "bedrock-eu",
            ),
            (host("europe-west1-aiplatform.googleapis.com"), "vertex"),
            (flag("anthropic_messages"), "anthropic"),
            (flag("gemini_generate_content"), "google"),
            (flag("google_raw_predict"), "vertex"),
            (flag("bedrock_converse"), "bedrock"),
        ] {
            assert_eq!(
                basis(&fields, true),
                (Class::Inferred, Some(wanted)),
                "{fields}"
            );
            assert_eq!(basis(&fields, false), (Class::None, None), "{fields}");
        }
        // A format says whose list it is, but not for your own machine.
        for local in ["http://127.0.0.1:8080", "http://gpu1", "http://100.64.0.1"] {
            let fields = at(local, "anthropic_messages");
            assert_eq!(basis(&fields, true), (Class::Local, None), "{local}");
        }
        assert_eq!(basis(&host("gpu1"), true), (Class::Local, None));
        assert_eq!(basis(&host("notopenrouter.ai"), true), (Class::None, None));
        let explicit = host("api.openai.com") + r#","cost_basis":"azure-eu""#;
        assert_eq!(basis(&explicit, false), (Class::Explicit, Some("azure-eu")));
    }

    #[test]
    fn names_are_mapped_once_and_in_order() {
        let prices = prices(
            r#"{"providers":{"p":{"baseurl":"http://x","models":["m"],"cost_basis":"anthropic",
              "model_cost_map":[{"match":"[","as":"claude-opus-4-1"},
                {"match":"house-*","as":"claude-sonnet-4-5","adjustment":0.8},
                {"match":"*","as":"","adjustment":2}]}}}"#,
        );
        let house = prices.quote("p", "house-a");
        assert_eq!(input(&house), "2.4");
        assert_eq!(house.matched.as_deref(), Some("house-*"));
        assert_eq!(
            house.resolved_model.as_deref(),
            Some("anthropic/claude-sonnet-4-5")
        );
        let own = prices.quote("p", "claude-sonnet-4-5");
        assert_eq!(input(&own), "6");
        assert!(own.source.unwrap().starts_with("https://"));
        let deep = prices.quote("p", "house/a");
        assert!(deep.price.is_none() && deep.matched.is_none());
        assert!(prices.quote("nobody", "claude-sonnet-4-5").price.is_none());
    }

    #[test]
    fn a_price_of_one_providers_model_is_not_that_of_anothers_with_the_same_words() {
        let prices = prices(
            r#"{"providers":{
                "own":{"baseurl":"http://x","models":["llama"]},
                "off":{"baseurl":"http://x","models":["llama"],"disabled":true},
                "router":{"baseurl":"https://r.example.com","models":["own/llama","off/llama","b/m"]}},
              "prices":{"own/llama":{"input":"5","output":"5"},"b/m":{"input":"2","output":"2"},
                "off/llama":{"input":"3","output":"3"}}}"#,
        );
        assert_eq!(input(&prices.quote("own", "llama")), "5");
        assert!(prices.quote("router", "own/llama").price.is_none());
        assert_eq!(input(&prices.quote("router", "b/m")), "2");
        assert_eq!(input(&prices.quote("router", "off/llama")), "3");
    }

    #[test]
    fn the_configuration_wins_and_the_full_name_before_the_short() {
        let prices = prices(
            r#"{"providers":{
                "lab":{"baseurl":"http://x","models":["m"],
                    "model_cost_map":[{"match":"m*","as":"house","adjustment":3}]},
                "openai":{"baseurl":"https://api.openai.com","models":["gpt-4o"]}},
              "prices":{"m":{"input":"1","output":"1"},"lab/m":{"input":"0","output":"0"},
                "house":{"input":"5","output":"5"},"gpt-4o":{"input":"7","output":"7"}}}"#,
        );
        // A price for the model itself wins over the map.
        assert_eq!(input(&prices.quote("lab", "m")), "0");
        assert_eq!(input(&prices.quote("other", "m")), "1");
        assert_eq!(input(&prices.quote("lab", "m2")), "15");
        let openai = prices.quote("openai", "gpt-4o");
        assert_eq!(input(&openai), "7");
        assert_eq!(openai.source.as_deref(), Some("configuration"));
        let tokens = Tokens {
            input: Some(10),
            output: Some(10),
            ..Tokens::default()
        };
        let free = prices
            .quote("lab", "m")
            .cost(&tokens, Mode::Standard)
            .unwrap();
        assert_eq!((free.total.nanodollars(), free.estimated), (0, false));
        let unknown = prices.quote("openai", "nobody-knows");
        assert!(unknown.cost(&tokens, Mode::Standard).is_none());
    }

    #[test]
    fn local_models_are_free_unless_they_are_priced() {
        let prices = prices(
            r#"{"providers":{
                "ollama":{"baseurl":"http://127.0.0.1:11434",
                    "models":["claude-sonnet-4-5","priced","mapped"],
                    "compatibility":{"openai_chat":true,"anthropic_messages":true},
                    "model_cost_map":[{"match":"mapped","as":"claude-sonnet-4-5"}]},
                "proxy":{"baseurl":"http://10.0.0.2","models":["gpt-4o"],"cost_basis":"openai"}},
              "prices":{"ollama/priced":{"input":"1","output":"1"}}}"#,
        );
        let tokens = Tokens {
            input: Some(1_000_000),
            output: Some(1_000_000),
            web_searches: Some(3),
            ..Tokens::default()
        };
        let free = prices.quote("ollama", "claude-sonnet-4-5");
        assert!(free.is_free());
        for tokens in [&tokens, &Tokens::default()] {
            for mode in [Mode::Standard, Mode::Batch] {
                let cost = free.cost(tokens, mode).unwrap();
                assert_eq!((cost.total, cost.estimated), (Money::ZERO, false));
            }
        }
        assert_eq!(input(&free), "0");
        assert_eq!(input(&prices.quote("ollama", "priced")), "1");
        // An entry of `model_cost_map` asks for that model's price.
        assert_eq!(input(&prices.quote("ollama", "mapped")), "3");
        assert_eq!(input(&prices.quote("proxy", "gpt-4o")), "2.5");
        // With a list that was named, a model that it lacks has no price.
        assert!(prices.quote("proxy", "unheard-of").price.is_none());
    }

    #[test]
    fn a_price_of_another_region_is_an_estimate() {
        let prices = prices(
            r#"{"providers":{"p":{"baseurl":"http://x","models":["m"],"cost_basis":"azure-eu"}}}"#,
        );
        let tokens = Tokens {
            input: Some(10),
            output: Some(0),
            ..Tokens::default()
        };
        let quote = prices.quote("p", "gpt-image-1");
        assert!(quote.cost(&tokens, Mode::Standard).unwrap().estimated);
    }
}
