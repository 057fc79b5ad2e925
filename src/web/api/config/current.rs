//! `/aperture/config`: the configuration, read and replaced.

use http::Method;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{CHANGE_BY_TAG, How, Proposed, check, if_match, save, shown, stored_text, tagged};
use crate::config;
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of, taken};
use crate::web::api::json;

pub(in crate::web::api) const GET: Endpoint = Endpoint {
    path: "/aperture/config",
    name: "Config",
    about: "The configuration without its secrets, with an `ETag`.",
    answer: json_of::<ConfigText>(),
    handler: Handler::Admin(|call| Box::pin(async move { get(&call) })),
    ..Endpoint::GET
};

pub(in crate::web::api) const PUT: Endpoint = Endpoint {
    method: &Method::PUT,
    path: "/aperture/config",
    name: "PutConfig",
    about: "Replaces the configuration that has the `ETag` in `If-Match`; placeholders stand for the secrets that are stored.",
    body: Some(taken::<ConfigText>()),
    answer: json_of::<ConfigText>(),
    handler: Handler::Admin(|call| Box::pin(put(call))),
    ..CHANGE_BY_TAG
};

#[derive(Serialize, JsonSchema)]
pub(super) struct ConfigText {
    config: String,
    /// In the answer to a `GET`: name, description, base URL and formats of each provider in the
    /// text, by its id. Ignored in a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BTreeMap<String, Map<String, Value>>")]
    providers: Option<Map<String, Value>>,
    /// After a `PUT`: keys that take effect at the next restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    restart: Option<Vec<String>>,
}

fn get(call: &Call<'_>) -> Reply {
    let (config, tag) = shown(call.reader)?;
    let answer = json(&ConfigText {
        providers: Some(config::catalog(&config)),
        config,
        restart: None,
    });
    Ok(tagged(answer, &tag))
}

async fn put(call: Call<'_>) -> Reply {
    let proposed: Proposed = call.body()?;
    let expected = if_match(call.reader, &call.head.headers)?;
    let reader = call.reader;
    let tag = save(reader, &expected, &proposed.config, How::Saved).await?;
    let (config, _) = shown(reader)?;
    let answer = json(&ConfigText {
        restart: Some(awaiting_restart(&call, &config)),
        config,
        providers: None,
    });
    Ok(tagged(answer, &tag))
}

/// The keys of a text that was saved just now which wait for the next start. The rules of the
/// request that saved it are those before.
fn awaiting_restart(call: &Call<'_>, text: &str) -> Vec<String> {
    let stored = stored_text(call.reader).ok().flatten().unwrap_or_default();
    match check::compile(call.reader, text, &stored) {
        Ok(change) => {
            let warnings = &call.reader.engines.management.warnings;
            warnings.awaiting_restart(&change.rules.file)
        }
        Err(_) => Vec::new(),
    }
}
