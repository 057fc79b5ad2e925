//! `iris prices`.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::{Places, print, print_json, table};
use crate::base::money::{CostBasis, Field, Mode, Table};
use crate::exchange::rules::Rules;
use crate::formats::Tokens;
use crate::policy::pricing::{Class, Cost, CostLine, Quote};

/// Show what the configured models cost, or explain the price of one.
#[derive(Args)]
pub(super) struct Prices {
    /// The model, as its provider names it.
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    /// One provider's price alone.
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// Work an example, as in input=1000,output=200,cached=500. More counts are
    /// `cache_write`, `cache_write_1h`, `reasoning`, `image_input`, `image_output`,
    /// `audio_input`, `audio_cached`, `audio_output` and `web_searches`.
    #[arg(long, value_name = "COUNTS", requires = "model", value_parser = counts)]
    tokens: Option<Tokens>,
    /// Settle the example as part of a batch.
    #[arg(long, requires = "tokens")]
    batch: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: Places,
}

/// A price and what it is for.
struct Priced {
    provider: String,
    model: String,
    quote: Quote,
}

impl Prices {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let rules = self.places.rules()?;
        let priced = self.priced(&rules)?;
        if self.json {
            let list: Vec<Value> = priced.iter().map(|one| self.as_json(one)).collect();
            print_json(&json!({ "prices": list }));
        } else if self.model.is_some() {
            let explained: Vec<String> = priced.iter().map(|one| self.explained(one)).collect();
            print(&explained.join("\n"));
        } else {
            print(&listed(&priced));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The prices to show: of the model at each provider that lists it, or of all.
    fn priced(&self, rules: &Rules) -> anyhow::Result<Vec<Priced>> {
        if let Some(id) = &self.provider
            && !rules.file.providers.contains_key(id)
        {
            anyhow::bail!("no provider {id:?} is configured");
        }
        let mut priced = Vec::new();
        let is_wanted = |id: &String| self.provider.as_ref().is_none_or(|one| one == id);
        for (id, provider) in rules.file.providers.iter().filter(|(id, _)| is_wanted(id)) {
            let models = match &self.model {
                // With a provider's name one may ask for what it does not list yet.
                Some(model) if self.provider.is_some() => std::slice::from_ref(model),
                _ => &provider.models,
            };
            let wanted = |model: &&String| self.model.as_ref().is_none_or(|one| one == *model);
            for model in models.iter().filter(wanted) {
                priced.push(Priced {
                    provider: id.clone(),
                    model: model.clone(),
                    quote: rules.prices.quote(id, model),
                });
            }
        }
        if let Some(model) = &self.model
            && priced.is_empty()
        {
            anyhow::bail!("no provider lists {model:?}; ask for one with --provider");
        }
        Ok(priced)
    }

    fn mode(&self) -> Mode {
        if self.batch {
            Mode::Batch
        } else {
            Mode::Standard
        }
    }

    fn as_json(&self, one: &Priced) -> Value {
        let quote = &one.quote;
        let rates = |table: &Table| -> serde_json::Map<String, Value> {
            let rates = table.named();
            rates
                .map(|(name, field, rate)| (name, rate.dollars(field).into()))
                .collect()
        };
        let price = quote.price.as_ref();
        let mut report = json!({
            "provider": one.provider,
            "model": one.model,
            "cost_basis": quote.basis.map(CostBasis::as_str),
            "cost_basis_source": quote.class.as_str(),
            "matched": quote.matched,
            "looked_up": quote.looked_up,
            "resolved_model": quote.resolved_model,
            "how": quote.how,
            "source": quote.source,
            "date": quote.date,
            "adjustment": quote.adjustment.to_string(),
            "pricing": price.map(|price| rates(&price.standard)),
            "batch": price.and_then(|price| price.batch.as_ref()).map(rates),
            "variable": price.is_some_and(|price| price.variable),
        });
        if let Some(tokens) = &self.tokens {
            report["example"] = quote.cost(tokens, self.mode()).map_or(Value::Null, |cost| {
                let line = |line: &CostLine| {
                    json!({
                        "what": line.what.name(),
                        "count": line.count,
                        "unit_price": line.unit_price.dollars(line.what),
                        "nanodollars": line.amount,
                    })
                };
                json!({
                    "lines": cost.lines.iter().map(line).collect::<Vec<_>>(),
                    "nanodollars": cost.total,
                    "estimated": cost.estimated,
                })
            });
        }
        report
    }

    /// The price of one model at one provider, in sentences and figures.
    fn explained(&self, one: &Priced) -> String {
        let quote = &one.quote;
        let mut out = format!("{} at provider {}\n", one.model, one.provider);
        // Writing to a string does not fail.
        let mut say = |text: String| {
            let _ = writeln!(out, "  - {text}");
        };
        say(match quote.basis {
            Some(basis) => format!("price list {} ({})", basis.as_str(), quote.class.as_str()),
            None if quote.class == Class::Local => {
                "a server on your own network: no public price list applies".to_owned()
            }
            None => "no price list: set cost_basis, or a price in `prices`".to_owned(),
        });
        if let Some(pattern) = &quote.matched {
            say(format!(
                "model_cost_map {pattern:?}: priced as {:?}, times {}",
                quote.looked_up, quote.adjustment
            ));
        }
        let Some(price) = &quote.price else {
            say(format!("the price of {:?} is unknown", quote.looked_up));
            return out;
        };
        if quote.is_free() {
            say("free; to charge for it, set a price in `prices`".to_owned());
        } else {
            let found = quote.resolved_model.as_deref().unwrap_or_default();
            say(format!("found as {found}"));
        }
        if !quote.how.is_empty() {
            say(quote.how.clone());
        }
        match (&quote.source, &quote.date) {
            (Some(source), Some(date)) => say(format!("from {source}, seen {date}")),
            (Some(source), None) if !quote.is_free() => say(format!("from the {source}")),
            _ => {}
        }
        if price.variable {
            say("some of its tokens cost otherwise; what it comes to is an estimate".to_owned());
        }
        let mut rows = Vec::new();
        for (prefix, rates) in [
            ("", Some(&price.standard)),
            ("batch ", price.batch.as_ref()),
        ] {
            for (name, field, rate) in rates.into_iter().flat_map(Table::named) {
                let each = match field {
                    Field::WebSearch => "for 1,000 searches",
                    _ => "for 1M tokens",
                };
                let dollars = format!("${}", rate.times(quote.adjustment).dollars(field));
                rows.push([format!("  {prefix}{name}"), dollars, each.to_owned()]);
            }
        }
        out.push_str(&table(&rows));
        if let Some(tokens) = &self.tokens {
            out.push_str(&worked(quote.cost(tokens, self.mode()).as_ref()));
        }
        out
    }
}

/// An example cost, line by line.
fn worked(cost: Option<&Cost>) -> String {
    let Some(cost) = cost else {
        return "  the example's cost is unknown: something in it has no price\n".to_owned();
    };
    let line = |line: &CostLine| {
        let price = format!("× ${}", line.unit_price.dollars(line.what));
        let (name, amount) = (
            format!("  {}", line.what.name()),
            format!("= {}", line.amount),
        );
        [name, line.count.to_string(), price, amount, String::new()]
    };
    let mut rows: Vec<[String; 5]> = cost.lines.iter().map(line).collect();
    let (factor, total) = (
        format!("× {}", cost.adjustment),
        format!("= {}", cost.total),
    );
    let estimated = if cost.estimated { "(estimated)" } else { "" };
    rows.push([
        "  total".to_owned(),
        String::new(),
        factor,
        total,
        estimated.to_owned(),
    ]);
    table(&rows)
}

fn listed(priced: &[Priced]) -> String {
    let headings = [
        "MODEL",
        "PROVIDER",
        "LIST",
        "INPUT",
        "CACHED",
        "OUTPUT",
        "PRICED AS",
        "SEEN",
    ];
    let mut rows = vec![headings.map(str::to_owned)];
    for one in priced {
        let quote = &one.quote;
        let rate = |field| match (quote.rate(field), &quote.price) {
            (Some(rate), _) => format!("${}", rate.dollars(field)),
            (None, Some(_)) => "-".to_owned(),
            (None, None) => "unknown".to_owned(),
        };
        let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        rows.push([
            one.model.clone(),
            one.provider.clone(),
            or_dash(quote.basis.map(CostBasis::as_str)),
            rate(Field::Input),
            rate(Field::CacheRead),
            rate(Field::Output),
            or_dash(quote.resolved_model.as_deref()),
            or_dash(quote.date.as_deref().or(quote.source.as_deref())),
        ]);
    }
    table(&rows) + "Dollars for 1M tokens, adjustments included.\n"
}

/// Reads `input=1000,output=200`.
fn counts(text: &str) -> anyhow::Result<Tokens> {
    let mut tokens = Tokens::default();
    for part in text.split(',') {
        let (name, count) = part
            .split_once('=')
            .context("write input=1000,output=200")?;
        let place = match name.trim() {
            "input" => &mut tokens.input,
            "output" => &mut tokens.output,
            "cached" => &mut tokens.cached,
            "cache_write" => &mut tokens.cache_write,
            "cache_write_1h" => &mut tokens.cache_write_1h,
            "reasoning" => &mut tokens.reasoning,
            "image_input" => &mut tokens.image_input,
            "image_output" => &mut tokens.image_output,
            "audio_input" => &mut tokens.audio_input,
            "audio_cached" => &mut tokens.audio_cached,
            "audio_output" => &mut tokens.audio_output,
            "web_searches" => &mut tokens.web_searches,
            other => anyhow::bail!("{other:?} is not counted"),
        };
        let read = count.trim().parse();
        *place = Some(read.with_context(|| format!("invalid count {count:?}"))?);
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_as_one_writes_them() {
        let tokens = counts("input=1000, output=200,cached=500").unwrap();
        assert_eq!(tokens.input, Some(1_000));
        assert_eq!(tokens.output, Some(200));
        assert_eq!((tokens.cached, tokens.reasoning), (Some(500), None));
        for text in ["", "input", "input=-1", "inputs=1", "input=1,"] {
            assert!(counts(text).is_err(), "{text}");
        }
    }
}
