//! `GET /api/providers`: those with a model that the caller may use, the disabled ones included.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::AuthMode;
use crate::policy::route::{self, Health};
use crate::web::api::endpoint::{Call, Endpoint, Handler, json_of};
use crate::web::api::json;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/providers",
    name: "Providers",
    about: "The providers of models that you may use, the disabled ones included.",
    answer: json_of::<ProviderList>(),
    handler: Handler::Role(|call| Box::pin(async move { Ok(json(&list(&call))) })),
    ..Endpoint::GET
};

// A bare array: Aperture's clients parse nothing else.
#[derive(Serialize, JsonSchema)]
struct ProviderList(Vec<Provider>);

#[derive(Serialize, JsonSchema)]
struct Provider {
    id: String,
    name: String,
    description: String,
    models: Vec<String>,
    compatibility: BTreeMap<&'static str, bool>,
    disabled: bool,
    requires_client_auth: bool,
    /// For admins: what is known from traffic; null before the first request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Health>")]
    #[expect(
        clippy::option_option,
        reason = "absent for others, null before the first request"
    )]
    health: Option<Option<Health>>,
}

fn list(call: &Call<'_>) -> ProviderList {
    let reader = call.reader;
    let provider = |provider: &route::Provider| {
        let models = provider.models.iter();
        let covered = |model: &&String| reader.permit.covers(provider.subject(model));
        let models: Vec<String> = models.filter(covered).cloned().collect();
        (!models.is_empty()).then(|| Provider {
            id: provider.id.to_string(),
            name: provider.name.clone(),
            description: provider.description.clone(),
            models,
            compatibility: provider.flags.iter().map(|flag| (*flag, true)).collect(),
            disabled: provider.disabled,
            requires_client_auth: provider.auth_mode == AuthMode::Passthrough,
            health: reader
                .is_admin()
                .then(|| call.reader.engines.gateway.traffic.health(provider)),
        })
    };
    let providers = reader.rules.routes.providers().iter();
    ProviderList(providers.filter_map(|one| provider(one)).collect())
}
