//! What a request costs by what the provider says about it: another model than the one requested, a
//! service tier, a place.

use super::names::same_but_region;
use super::settle::{self, settle};
use super::{Cost, Quote};
use crate::base::money::{CostBasis, Factor, Mode, Money};
use crate::formats::{self, Format, Tokens};

/// What a response says about its price, besides its counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms<'a> {
    /// The service tier.
    pub mode: Mode,
    /// The part of the world where the request was answered.
    pub geography: Option<&'a str>,
    /// The format of the response, as records name it. Vendors mean different things by one tier.
    pub api: &'a str,
}

impl Quote {
    /// The price of another model that a provider says it has used, if that is a different one, known
    /// as well as this one, and higher. A price that an operator has written for the model stays.
    pub fn dearer(
        &self,
        requested: &str,
        used: &str,
        mut other: Self,
        total: impl Fn(&Self) -> Option<Money>,
    ) -> Option<Self> {
        let is_same = self.renamed || same_but_region(requested, used);
        let is_less_known = (self.is_configured() && !other.is_configured())
            || (self.of_provider && !other.of_provider)
            || (other.estimated && !self.estimated);
        if self.is_free()
            || other.is_free()
            || (self.price.is_some() && (is_same || is_less_known))
            || other.resolved_model == self.resolved_model
        {
            return None;
        }
        // The factor is the provider's, unless there is another for the model.
        if other.matched.is_none() && !other.is_configured() {
            other.adjustment = self.adjustment;
        }
        let (own, others) = (total(self), total(&other)?);
        own.is_none_or(|own| others > own).then_some(other)
    }

    /// The factor of a vendor for a tier or a place, if no price of its own is known for it. Vendors take a half
    /// for batches.
    fn surcharge(&self, terms: Terms<'_>) -> Factor {
        let mut factor = Factor::ONE;
        let price = self.price.as_ref();
        let has_own = price.is_some_and(|price| price.of_mode(terms.mode).is_some());
        if terms.mode == Mode::Priority && !has_own {
            factor = self.priority(terms.api);
        }
        if terms.mode == Mode::Batch && !has_own {
            factor = Factor::hundredths(50);
        }
        if terms.geography == Some("us") && self.basis == Some(CostBasis::Anthropic) {
            factor = factor.and(Factor::hundredths(110));
        }
        factor
    }

    /// The factor for the tier `priority`: the list's vendor has one, or where the list is that of
    /// many vendors or there isn't one, the vendor of the format.
    fn priority(&self, api: &str) -> Factor {
        let by_format = formats::named(api).and_then(Format::vendor);
        let vendor = match self.basis {
            None | Some(CostBasis::OpenRouter | CostBasis::Vercel) => by_format,
            basis => basis.map(|basis| basis.without_region().unwrap_or(basis)),
        };
        Factor::hundredths(match vendor {
            // Paid for beforehand.
            Some(CostBasis::Anthropic) => 100,
            Some(CostBasis::Bedrock) => 175,
            Some(CostBasis::Google | CostBasis::Vertex) => 200,
            _ => 250,
        })
    }

    /// What a request cost in all; `None` if that is unknown.
    pub fn total(&self, tokens: &Tokens, terms: Terms<'_>) -> Option<Money> {
        let price = self.price.as_ref()?;
        if self.is_free() {
            return Some(Money::ZERO);
        }
        let adjustment = self.adjustment.and(self.surcharge(terms));
        settle::total(tokens, price, adjustment, terms.mode)
    }

    /// What a request cost, line by line; `None` if that is unknown.
    pub fn cost(&self, tokens: &Tokens, mode: Mode) -> Option<Cost> {
        let price = self.price.as_ref()?;
        let terms = Terms {
            mode,
            ..Terms::default()
        };
        if self.is_free() {
            // Whatever was counted, and also where nothing was.
            return Some(Cost {
                total: Money::ZERO,
                lines: Vec::new(),
                adjustment: Factor::ONE,
                estimated: false,
            });
        }
        let adjustment = self.adjustment.and(self.surcharge(terms));
        let mut cost = settle(tokens, price, adjustment, terms.mode)?;
        cost.estimated |= self.estimated;
        Some(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::policy::pricing::Prices;

    const CONFIG: &str = r#"{"providers":{
        "half":{"baseurl":"http://x","models":["m"],"cost_basis":"openai","model_cost_map":[
            {"match":"gpt-5.6","adjustment":0.5},{"match":"gpt-4.1-mini","adjustment":0.5},
            {"match":"o4-mini","as":"gpt-4o-mini"},{"match":"lost","as":"nobody-knows"},
            {"match":"gpt-4.1","adjustment":0.8}]},
        "br":{"baseurl":"http://x","models":["m"],"cost_basis":"bedrock-us"},
        "az":{"baseurl":"http://x","models":["m"],"cost_basis":"azure"},
        "own":{"baseurl":"http://127.0.0.1:1","models":["m"]},
        "plain":{"baseurl":"https://x.example","models":["m"]}},
      "prices":{"br/us.x":{"input":"1"},"az/deployed":{"input":"1"},"az/dear":{"input":"9"},
        "bare":{"input":"1"},"dear":{"input":"5"}}}"#;

    /// What a million prompt tokens cost in cents, if the provider says that it used another model.
    fn cents(provider: &str, requested: &str, used: &str) -> Option<i64> {
        let file = config::parse(CONFIG, &|_| None).unwrap().file;
        let prices = Prices::compile(&file).0;
        let tokens = Tokens {
            input: Some(1_000_000),
            output: Some(0),
            ..Tokens::default()
        };
        // Only the prompt is charged here, so that no price needs one for the output.
        let total = |quote: &Quote| {
            let mut quote = quote.clone();
            let mut price = quote.price.as_deref()?.clone();
            let input = price.standard.base.get(crate::base::money::Field::Input)?;
            price
                .standard
                .base
                .set(crate::base::money::Field::Output, input);
            quote.price = Some(price.into());
            quote.total(&tokens, Terms::default())
        };
        let quote = prices.quote(provider, requested);
        let dearer = quote.dearer(requested, used, prices.quote(provider, used), total)?;
        Some(total(&dearer)?.nanodollars() / 10_000_000)
    }

    #[test]
    fn what_is_written_for_the_requested_model_stands() {
        let global = "global.anthropic.claude-sonnet-4-5-20250929-v1:0";
        let bare = "anthropic.claude-sonnet-4-5-20250929-v1:0";
        for (provider, requested, used, expected) in [
            // The discount goes along with the model, unless there is another for it.
            ("half", "gpt-5.6", "gpt-5.6-sol", None),
            ("half", "gpt-4.1-mini", "gpt-4o", Some(125)),
            ("half", "gpt-4.1-mini", "gpt-4.1", Some(160)),
            ("half", "o4-mini", "o4-mini-2025-04-16", None),
            ("half", "o4-mini", "gpt-4.1", None),
            ("half", "lost", "gpt-4.1", Some(160)),
            // What is written for the provider is more exact than what is written for a name.
            ("br", "us.x", "dear", None),
            ("az", "deployed", "dear", Some(900)),
            ("az", "deployed", "gpt-4.1", None),
            ("az", "unwritten", "gpt-4.1", Some(200)),
            ("own", "bare", "dear", Some(500)),
            ("own", "m", "dear", None),
            ("plain", "bare", "dear", Some(500)),
            ("plain", "dear", "bare", None),
            // The region of a profile says more than the name of its model.
            ("br", global, bare, None),
            (
                "br",
                global,
                "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                None,
            ),
        ] {
            assert_eq!(
                cents(provider, requested, used),
                expected,
                "{provider}: {requested} -> {used}"
            );
        }
    }

    #[test]
    fn a_tier_costs_what_its_vendor_means_by_it() {
        let file = config::parse(
            r#"{"providers":{"none":{"baseurl":"https://x.example","models":["m"]},
                "router":{"baseurl":"http://x","models":["m"],"cost_basis":"openrouter"},
                "openai":{"baseurl":"http://x","models":["m"],"cost_basis":"openai"},
                "azure":{"baseurl":"http://x","models":["m"],"cost_basis":"azure-eu"},
                "bedrock":{"baseurl":"http://x","models":["m"],"cost_basis":"bedrock-eu"}}}"#,
            &|_| None,
        );
        let prices = Prices::compile(&file.unwrap().file).0;
        for (provider, api, expected) in [
            ("none", "openai_chat", 250),
            ("none", "anthropic_messages", 100),
            ("none", "gemini_generate_content", 200),
            ("none", "google_generate_content", 200),
            ("none", "bedrock_converse", 175),
            ("router", "anthropic_messages", 100),
            ("router", "openai_responses", 250),
            ("openai", "anthropic_messages", 250),
            ("azure", "openai_chat", 250),
            ("bedrock", "openai_chat", 175),
        ] {
            let quote = prices.quote(provider, "m");
            let factor = Factor::hundredths(expected);
            assert_eq!(quote.priority(api), factor, "{provider} {api}");
        }
    }
}
