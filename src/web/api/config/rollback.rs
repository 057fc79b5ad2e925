//! `POST /api/config/rollback`: back to a version. Secrets are those of the file as it is now: the
//! history holds none. Where the file has none in that place any more, it is said which are missing.

use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::older::Saved;
use super::{CHANGE, How, history, save};
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of, taken};
use crate::web::api::json;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    method: &Method::POST,
    path: "/api/config/rollback",
    name: "Rollback",
    about: "Goes back to a version; secrets are those of the file as it is now.",
    body: Some(taken::<Rollback>()),
    answer: json_of::<Saved>(),
    handler: Handler::Admin(|call| Box::pin(rollback(call))),
    ..CHANGE
};

/// Which version is wanted back, and the hash of the one in force.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rollback {
    id: String,
    hash: String,
}

async fn rollback(call: Call<'_>) -> Reply {
    let back: Rollback = call.body()?;
    let reader = call.reader;
    reader.ledger().writable()?;
    let version = history::version(reader, &back.id).await?;
    let how = How::RolledBack;
    Ok(json(&Saved {
        success: true,
        hash: save(reader, &back.hash, &version.text, how).await?,
        new_hash: None,
    }))
}
