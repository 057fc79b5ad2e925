//! Models and providers, as far as the caller's grants reach.

use serde_json::{Value, json};

use crate::config::AuthMode;
use crate::exchange::rules::Rules;
use crate::formats;
use crate::policy::access::{Permit, Role};
use crate::policy::pricing::{self, Quote};
use crate::policy::route::{Found, Provider, Traffic};

/// Models in OpenAI's form, as Aperture extends it: one row for each provider of a model.
pub(crate) fn models(rules: &Rules, permit: &Permit) -> Value {
    let models = rules.routes.models(permit);
    let rows: Vec<Value> = models
        .map(|found| model(rules, found.model, found))
        .collect();
    json!({ "object": "list", "data": rows })
}

/// One model in that form, under the name that its caller uses.
pub(super) fn model(rules: &Rules, name: &str, found: Found<'_>) -> Value {
    let provider = found.provider;
    let mut row = json!({
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": provider.id,
        "display_name": name,
        "supported_endpoints": endpoints(provider),
        "metadata": { "provider": {
            "id": provider.id,
            "name": provider.name,
            "description": provider.description,
            "requires_client_auth": provider.auth_mode == AuthMode::Passthrough,
            "upstream": provider.upstream_kind(),
        } },
    });
    costs(&mut row, &rules.prices.quote(&provider.id, found.model));
    row
}

/// What is known of a model's price and size. A price that is unknown is left out: no number
/// says so.
fn costs(row: &mut Value, quote: &Quote) {
    if let Some(pricing) = pricing::pricing_of(quote) {
        row["pricing"] = pricing;
    }
    let Some(price) = &quote.price else { return };
    for (key, tokens) in [
        ("context_window_tokens", price.context_window),
        ("max_output_tokens", price.max_output),
    ] {
        if let Some(tokens) = tokens {
            row[key] = tokens.into();
        }
    }
}

/// `GET /api/providers`: those with a model that the caller may use, the disabled ones
/// included. A bare array: Aperture's clients parse nothing else.
pub(super) fn providers(rules: &Rules, permit: &Permit, traffic: &Traffic) -> Value {
    let is_admin = permit.role() == Role::Admin;
    let rows: Vec<Value> = rules
        .routes
        .providers()
        .iter()
        .filter_map(|provider| {
            let models: Vec<&String> = provider
                .models
                .iter()
                .filter(|model| permit.covers(provider.subject(model)))
                .collect();
            (!models.is_empty()).then(|| {
                let flags: serde_json::Map<String, Value> = provider
                    .flags
                    .iter()
                    .map(|flag| ((*flag).to_owned(), Value::Bool(true)))
                    .collect();
                let mut row = json!({
                    "id": provider.id,
                    "name": provider.name,
                    "description": provider.description,
                    "models": models,
                    "compatibility": flags,
                    "disabled": provider.disabled,
                    "requires_client_auth": provider.auth_mode == AuthMode::Passthrough,
                });
                if is_admin {
                    row["health"] =
                        serde_json::to_value(traffic.health(provider)).unwrap_or_default();
                }
                row
            })
        })
        .collect();
    Value::Array(rows)
}

fn endpoints(provider: &Provider) -> Vec<&'static str> {
    formats::ALL
        .iter()
        .filter(|api| provider.speaks(**api))
        .filter_map(|api| api.endpoint)
        .collect()
}
