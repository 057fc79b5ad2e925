//! `/api/config`: the configuration in the form that Aperture had before.

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CHANGE, How, save, shown, stored_text, tagged};
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of, taken};
use crate::web::api::json;
use crate::wire::Rejection;

pub(in crate::web::api) const GET: Endpoint = Endpoint {
    path: "/api/config",
    name: "OlderConfig",
    about: "The configuration in the form that Aperture had before.",
    answer: json_of::<OlderConfig>(),
    handler: Handler::Admin(|call| Box::pin(async move { get(&call) })),
    ..Endpoint::GET
};

pub(in crate::web::api) const PUT: Endpoint = Endpoint {
    method: &Method::PUT,
    path: "/api/config",
    name: "PutOlderConfig",
    about: "Replaces the configuration that has `hash`.",
    body: Some(taken::<OlderChange>()),
    answer: json_of::<Saved>(),
    handler: Handler::Admin(|call| Box::pin(put(call))),
    ..CHANGE
};

#[derive(Serialize, JsonSchema)]
struct OlderConfig {
    config: String,
    exists: bool,
    hash: String,
}

// What else it has is left alone: tools that were written for other versions send it.
#[derive(Deserialize, JsonSchema)]
struct OlderChange {
    config: String,
    #[schemars(with = "String")]
    hash: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Saved {
    pub success: bool,
    pub hash: String,
    /// The same, as Aperture names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub new_hash: Option<String>,
}

fn get(call: &Call<'_>) -> Reply {
    let (config, tag) = shown(call.reader)?;
    let exists = stored_text(call.reader)?.is_some();
    let answer = json(&OlderConfig {
        config,
        exists,
        hash: tag.clone(),
    });
    Ok(tagged(answer, &tag))
}

async fn put(call: Call<'_>) -> Reply {
    let change: OlderChange = call.body()?;
    let expected = change.hash.ok_or_else(|| {
        let why = "`hash` is missing: that of the configuration that was changed";
        Rejection::new(StatusCode::BAD_REQUEST, "invalid_request", why)
    })?;
    let reader = call.reader;
    let hash = save(reader, &expected, &change.config, How::Saved).await?;
    Ok(json(&Saved {
        success: true,
        new_hash: Some(hash.clone()),
        hash,
    }))
}
