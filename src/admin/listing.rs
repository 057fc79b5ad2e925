//! Models and providers, as far as the caller's grants reach.

use serde_json::{Value, json};

use crate::access::Permit;
use crate::api;
use crate::config::AuthMode;
use crate::route::Provider;
use crate::rules::Rules;

/// `GET /v1/models`: one row for each provider of a model.
pub(super) fn models(rules: &Rules, permit: &Permit) -> Value {
    let rows: Vec<Value> = rules
        .routes
        .models(permit)
        .map(|found| {
            json!({
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
            })
        })
        .collect();
    json!({ "object": "list", "data": rows })
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
                let flags: serde_json::Map<String, Value> = provider
                    .flags
                    .iter()
                    .map(|flag| ((*flag).to_owned(), Value::Bool(true)))
                    .collect();
                json!({
                    "id": provider.id,
                    "name": provider.name,
                    "description": provider.description,
                    "models": models,
                    "compatibility": flags,
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
        .filter(|api| provider.speaks(**api))
        .filter_map(|api| api.endpoint())
        .collect()
}
