//! `GET /api/connectors`: none yet.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::web::api::endpoint::{Endpoint, Handler, json_of};
use crate::web::api::json;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/connectors",
    name: "Connectors",
    about: "The connectors that you may use. Iris has none, and Aperture's clients ask.",
    answer: json_of::<ConnectorList>(),
    handler: Handler::Role(|_| Box::pin(async { Ok(json(&ConnectorList::default())) })),
    ..Endpoint::GET
};

/// Iris has no connectors, so the list is empty.
#[derive(Default, Serialize, JsonSchema)]
struct ConnectorList {
    connectors: Vec<Map<String, Value>>,
}
