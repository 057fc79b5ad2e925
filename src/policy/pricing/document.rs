//! Prices in JSON: the pricing document, and the part of it in a model's row.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::prices::Name;
use super::{Book, Prices, Quote, Row};
use crate::base::money::{CostBasis, Factor, Field, Price, Table};

/// The key of overrides in the document, beside the names of price lists.
const CONFIGURED: &str = "configuration";

/// The pricing document: prices as written, without the adjustments of providers, which are
/// listed apart. With a model, only the prices of exactly that name.
pub fn document(prices: &Prices, model: Option<&str>) -> Value {
    let book = Book::built_in();
    let mut models: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let wanted = |name: &str| model.is_none_or(|model| model == name);
    let mut add = |name, list: &str, entry| {
        let lists = models.entry(name).or_default();
        lists.insert(list.to_owned(), entry);
    };
    let of_row = |row: &Row| entry(&row.source, Some(&row.date), &row.model, &row.price);
    for row in &book.rows {
        let names = std::iter::once(&row.model).chain(&row.aliases);
        for name in names.filter(|name| wanted(name)) {
            add(name, row.basis.as_str(), of_row(row));
        }
    }
    for rules in prices.providers.values() {
        for name in rules.models.iter().filter(|name| wanted(name)) {
            if let Some(basis) = rules.basis
                && let Some(found) = book.find(basis, name)
            {
                add(name, basis.as_str(), of_row(found.row));
            }
        }
    }
    for (name, price) in prices.overrides.iter().filter(|(name, _)| wanted(name)) {
        add(name, CONFIGURED, entry(CONFIGURED, None, name, price));
    }
    let bases: BTreeSet<&str> = CostBasis::ALL.iter().map(|basis| basis.as_str()).collect();
    let models: Map<String, Value> = models
        .into_iter()
        .map(|(name, bases)| (name.to_owned(), json!({ "cost_bases": bases })))
        .collect();
    json!({
        "currency": "USD",
        "table_date": book.date,
        "units": units(),
        "cost_bases": bases,
        "models": models,
        "configured_adjustments": { "providers": adjustments(prices) },
    })
}

/// A tag that changes when the document does, for `ETag`.
pub fn etag(text: &str) -> String {
    // FNV-1a: the same in every build, which the library's hasher does not promise.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("\"{hash:016x}\"")
}

/// What listings show of a model's price: dollars for one unit, as a short request pays them,
/// the provider's adjustment included. `None` if the price is unknown.
pub fn pricing_of(quote: &Quote) -> Option<Value> {
    quote.price.as_ref()?;
    let shown = [
        Field::Input,
        Field::CacheRead,
        Field::CacheWrite,
        Field::CacheWrite1h,
        Field::Output,
        Field::WebSearch,
    ];
    let rates = shown.iter().filter_map(|field| {
        let text = quote.rate(*field)?.dollars_each();
        Some((field.name().to_owned(), Value::String(text)))
    });
    Some(Value::Object(rates.collect()))
}

fn units() -> Value {
    let units = Field::ALL.iter().map(|field| {
        let unit = json!({ "basis": field.unit(), "quantity": field.quantity() });
        (field.name().to_owned(), unit)
    });
    Value::Object(units.collect())
}

fn entry(source: &str, date: Option<&str>, resolved: &str, price: &Price) -> Value {
    let mut effective = rates(&price.standard);
    effective.insert("variable".to_owned(), price.variable.into());
    let mut entry = json!({
        "source": source,
        "resolved_model": resolved,
        "resolver_adjustment": number(Factor::ONE),
        "effective_pricing": effective,
    });
    if let Some(date) = date {
        entry["date"] = date.into();
    }
    for (name, table) in [
        ("batch", &price.batch),
        ("priority", &price.priority),
        ("flex", &price.flex),
    ] {
        if let Some(table) = table {
            entry["modes"][name] = Value::Object(rates(table));
        }
    }
    entry
}

fn rates(table: &Table) -> Map<String, Value> {
    let named = table.named();
    let rates = named.map(|(name, field, rate)| (name, Value::String(rate.dollars(field))));
    rates.collect()
}

fn adjustments(prices: &Prices) -> Value {
    let providers = prices.providers.iter().map(|(id, rules)| {
        let map = rules.names.iter().map(|Name { written, .. }| {
            json!({
                "match": written.pattern,
                "as": written.priced_as,
                "adjustment": number(written.adjustment),
            })
        });
        let map: Vec<Value> = map.collect();
        let rules = json!({
            "cost_basis": rules.basis.map(CostBasis::as_str).unwrap_or_default(),
            "cost_basis_source": rules.class.as_str(),
            "model_cost_map": map,
        });
        (id.clone(), rules)
    });
    Value::Object(providers.collect())
}

/// A factor as a JSON number; its text is one.
fn number(factor: Factor) -> Value {
    serde_json::from_str(&factor.to_string()).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn prices() -> Prices {
        let text = r#"{"providers":{
            "acme":{"baseurl":"http://x","models":["gpt-4.1-2099-01-01","acme-1"],
                "cost_basis":"openai",
                "model_cost_map":[{"match":"acme-*","as":"gpt-4.1","adjustment":1.1}]},
            "lab":{"baseurl":"https://lab.example.com","models":["m"]}},
          "prices":{"lab/m":{"input":"0","output":"0.5","modes":{"batch":{"input":"0"}}}}}"#;
        Prices::compile(&config::parse(text, &|_| None).unwrap().file).0
    }

    #[test]
    fn the_document_has_the_documented_shape() {
        let all = document(&prices(), None);
        assert_eq!(all["currency"], "USD");
        assert_eq!(
            all["units"]["input"],
            json!({"basis":"tokens","quantity":1_000_000})
        );
        assert_eq!(
            all["units"]["web_search"],
            json!({"basis":"searches","quantity":1_000})
        );
        assert_eq!(all["cost_bases"].as_array().unwrap().len(), 12);
        let claude = &all["models"]["claude-sonnet-4-5"]["cost_bases"]["anthropic"];
        assert_eq!(claude["effective_pricing"]["input"], "3");
        assert_eq!(claude["effective_pricing"]["variable"], false);
        assert_eq!(claude["modes"]["batch"]["output"], "7.5");
        assert_eq!(claude["resolved_model"], "claude-sonnet-4-5");
        let acme = &all["configured_adjustments"]["providers"]["acme"];
        assert_eq!(
            *acme,
            json!({"cost_basis":"openai","cost_basis_source":"explicit",
                "model_cost_map":[{"match":"acme-*","as":"gpt-4.1","adjustment":1.1}]})
        );
        let lab = &all["configured_adjustments"]["providers"]["lab"];
        assert_eq!(lab["cost_basis_source"], "none");
    }

    #[test]
    fn one_model_by_its_exact_name() {
        let prices = prices();
        let one = |name: &str| document(&prices, Some(name))["models"].clone();
        let dated = one("gpt-4.1-2099-01-01");
        assert_eq!(
            dated["gpt-4.1-2099-01-01"]["cost_bases"]["openai"]["resolved_model"],
            "gpt-4.1"
        );
        let lab = &one("lab/m")["lab/m"]["cost_bases"]["configuration"];
        assert_eq!(lab["effective_pricing"]["output"], "0.5");
        assert_eq!(lab["modes"]["batch"]["input"], "0");
        assert_eq!(one("gpt-4").as_object().unwrap().len(), 1);
        assert_eq!(one("gpt-4.1-"), json!({}));
    }

    #[test]
    fn the_tag_is_stable() {
        assert_eq!(etag(""), "\"cbf29ce484222325\"");
        assert_eq!(etag("a"), "\"af63dc4c8601ec8c\"");
        let text = |prices: &Prices| document(prices, None).to_string();
        assert_eq!(text(&prices()), text(&prices()));
    }

    #[test]
    fn rows_show_dollars_for_one_token() {
        let quote = prices().quote("acme", "acme-1");
        let shown = pricing_of(&quote).unwrap();
        assert_eq!(shown["input"], "0.0000022");
        assert!(shown.get("input_cache_write_1h").is_none());
        assert!(pricing_of(&prices().quote("lab", "unknown")).is_none());
    }
}
