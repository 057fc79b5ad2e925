//! Models and providers, as far as the caller's grants reach.

use serde_json::{Value, json};

use crate::access::{Permit, Role};
use crate::api;
use crate::config::AuthMode;
use crate::route::{Provider, Traffic};
use crate::rules::Rules;
use crate::usage::{self, Quote};

/// `GET /v1/models`: one row for each provider of a model.
pub(crate) fn models(rules: &Rules, permit: &Permit) -> Value {
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

/// `GET /v1beta/models`, as Gemini's SDKs read it: the models that can be asked in its format.
pub(super) fn gemini_models(rules: &Rules, permit: &Permit) -> Value {
    let flags = [
        "gemini_generate_content",
        "experimental_gemini_cli_vertex_compat",
    ];
    let rows: Vec<Value> = names(rules, permit, &flags)
        .into_iter()
        .map(|model| {
            let name = if model.starts_with("models/") || model.starts_with("tunedModels/") {
                model.to_owned()
            } else {
                format!("models/{model}")
            };
            json!({
                "name": name,
                "displayName": model,
                "supportedGenerationMethods":
                    ["generateContent", "streamGenerateContent", "countTokens", "embedContent"],
            })
        })
        .collect();
    json!({ "models": rows })
}

/// `GET /v1/models` for who names a version of Anthropic's API: the models that can be asked in
/// its format. When a model was made is not known.
pub(super) fn anthropic_models(rules: &Rules, permit: &Permit) -> Value {
    let models = names(rules, permit, &["anthropic_messages"]);
    let rows: Vec<Value> = models
        .iter()
        .map(|model| {
            json!({
                "type": "model",
                "id": model,
                "display_name": model,
                "created_at": "1970-01-01T00:00:00Z",
            })
        })
        .collect();
    json!({
        "data": rows,
        "has_more": false,
        "first_id": models.first(),
        "last_id": models.last(),
    })
}

/// The models, each once, that a permit covers at a provider with one of `flags`.
fn names<'a>(rules: &'a Rules, permit: &'a Permit, flags: &[&str]) -> Vec<&'a str> {
    let mut seen = std::collections::HashSet::new();
    rules
        .routes
        .models(permit)
        .filter(|found| found.provider.flags.iter().any(|flag| flags.contains(flag)))
        .map(|found| found.model)
        .filter(|model| seen.insert(*model))
        .collect()
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
                .filter(|model| permit.covers(&provider.id, model).is_some())
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
    json!({ "providers": rows })
}

fn endpoints(provider: &Provider) -> Vec<&'static str> {
    api::ALL
        .iter()
        .filter(|api| provider.speaks(**api))
        .filter_map(|api| api.endpoint())
        .collect()
}
