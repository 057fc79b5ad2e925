//! A model as the list shows it: in OpenAI's form, as Aperture extends it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::config::AuthMode;
use crate::exchange::rules::Rules;
use crate::formats;
use crate::policy::access::Permit;
use crate::policy::pricing;
use crate::policy::route::ListedModel;

#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct Model {
    pub id: String,
    object: &'static str,
    created: u64,
    pub owned_by: String,
    display_name: String,
    pub supported_endpoints: Vec<&'static str>,
    pub metadata: Metadata,
    /// What is not known is left out: no number says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub pricing: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub context_window_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    max_output_tokens: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(in crate::web) struct Metadata {
    pub provider: Provider,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(in crate::web) struct Provider {
    id: String,
    pub name: String,
    pub description: String,
    pub requires_client_auth: bool,
    upstream: String,
}

/// One row for each provider of a model that the permit covers.
pub(in crate::web) fn models(rules: &Rules, permit: &Permit) -> Vec<Model> {
    let models = rules.routes.models(permit);
    models
        .map(|row| model(rules, permit, row.model, row))
        .collect()
}

/// One model, under the name that its caller uses.
pub(super) fn model(rules: &Rules, permit: &Permit, name: &str, found: ListedModel<'_>) -> Model {
    let provider = found.provider;
    let quote = rules.prices.quote(&provider.id, found.model);
    let price = quote.price.as_ref();
    Model {
        id: name.to_owned(),
        object: "model",
        created: 0,
        owned_by: provider.id.to_string(),
        display_name: name.to_owned(),
        supported_endpoints: endpoints(permit, found),
        metadata: Metadata {
            provider: Provider {
                id: provider.id.to_string(),
                name: provider.name.clone(),
                description: provider.description.clone(),
                requires_client_auth: provider.auth_mode == AuthMode::Passthrough,
                upstream: provider.upstream_kind().to_owned(),
            },
        },
        pricing: pricing::pricing_of(&quote),
        context_window_tokens: price.and_then(|price| price.context_window),
        max_output_tokens: price.and_then(|price| price.max_output),
    }
}

fn endpoints(permit: &Permit, found: ListedModel<'_>) -> Vec<&'static str> {
    formats::ALL
        .iter()
        .filter(|api| found.fit(permit, api).is_some())
        .filter_map(|api| api.endpoint)
        .collect()
}
