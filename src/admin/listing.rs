//! Models and providers, as far as the caller's grants reach.

use serde_json::{Value, json};

use crate::access::Permit;
use crate::api;
use crate::config::AuthMode;
use crate::route::Provider;
use crate::rules::Rules;
use crate::usage::{self, Quote};

/// `GET /v1/models`: one row for each provider of a model.
pub(super) fn models(rules: &Rules, permit: &Permit) -> Value {
    let rows: Vec<Value> = rules
        .routes
        .models(permit)
        .map(|found| {
            let mut row = json!({
                "id": found.model,
                "object": "model",
                "created": 0,
                "owned_by": found.provider.id,
                "supported_endpoints": endpoints(found.provider),
                "metadata": { "provider": {
                    "id": found.provider.id,
                    "name": found.provider.name,
                    "description": found.provider.description,
                    "requires_client_auth": found.provider.auth_mode == AuthMode::Passthrough,
                    "upstream": found.provider.upstream_kind(),
                } },
            });
            costs(
                &mut row,
                &rules.prices.quote(&found.provider.id, found.model),
            );
            row
        })
        .collect();
    json!({ "object": "list", "data": rows })
}

/// What is known of a model's price and size. A price that is unknown is left out: no number
/// says so.
fn costs(row: &mut Value, quote: &Quote) {
    if let Some(pricing) = usage::pricing_of(quote) {
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
/// included.
pub(super) fn providers(rules: &Rules, permit: &Permit) -> Value {
    let rows: Vec<Value> = rules
        .routes
        .providers()
        .iter()
        .filter_map(|provider| {
            let models: Vec<&String> = provider
                .models
                .iter()
                .filter(|model| permit.covers(&provider.id, model).is_some())
                .collect();
            (!models.is_empty()).then(|| {
                let speaks: serde_json::Map<String, Value> = provider
                    .speaks
                    .iter()
                    .map(|kind| (kind.0.to_owned(), Value::Bool(true)))
                    .collect();
                json!({
                    "id": provider.id,
                    "name": provider.name,
                    "description": provider.description,
                    "models": models,
                    "compatibility": speaks,
                    "disabled": provider.disabled,
                    "requires_client_auth": provider.auth_mode == AuthMode::Passthrough,
                })
            })
        })
        .collect();
    json!({ "providers": rows })
}

fn endpoints(provider: &Provider) -> Vec<&'static str> {
    api::ALL
        .iter()
        .filter(|api| provider.speaks.contains(&api.kind()))
        .map(|api| api.endpoint())
        .collect()
}
