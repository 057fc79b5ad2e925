//! `GET /api/quotas`: what the buckets hold.

use schemars::JsonSchema;
use serde::Serialize;

use crate::policy::budget::State;
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/quotas",
    name: "Quotas",
    about: "The budgets and limits that pay for you, with what they hold; admins see all that were used.",
    answer: json_of::<QuotaList>(),
    handler: Handler::Role(|call| Box::pin(answer(call))),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
struct QuotaList {
    quotas: Vec<Quota>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct Quota {
    #[serde(flatten)]
    pub state: State,
    /// Whether it pays for the caller.
    pub yours: bool,
}

/// The buckets that the reader may see.
pub(in crate::web) async fn seen(reader: &Reader<'_>) -> Result<Vec<Quota>, Rejection> {
    let definitions = &reader.rules.quotas;
    let own: Vec<_> = definitions.of(&reader.permit, reader.caller).collect();
    let keys: Vec<String> = own.iter().map(|link| link.key.to_string()).collect();
    let states = reader
        .engines
        .gateway
        .quotas
        .states(definitions, own)
        .await?;
    let quotas = states.into_iter().map(|state| Quota {
        yours: keys.contains(&state.key),
        state,
    });
    let is_admin = reader.is_admin();
    Ok(quotas.filter(|quota| is_admin || quota.yours).collect())
}

async fn answer(call: Call<'_>) -> Reply {
    let quotas = seen(call.reader).await?;
    Ok(crate::web::api::json(&QuotaList { quotas }))
}
