//! `POST /api/quotas/refill`: adds to a bucket.

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::list::Quota;
use crate::base::bucket::Link;
use crate::config;
use crate::policy::budget::State;
use crate::records;
use crate::records::balances::Quotas;
use crate::web::api::audit;
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of, taken};
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    method: &Method::POST,
    path: "/api/quotas/refill",
    name: "Refill",
    about: "Adds to a bucket, at most up to its capacity.",
    body: Some(taken::<Refill>()),
    answer: json_of::<Quota>(),
    handler: Handler::Admin(|call| Box::pin(refill(call))),
    ..Endpoint::GET
};

// What is added to which bucket, by its key or by the name that no other has, such as `$5.00`.
#[derive(Deserialize, JsonSchema)]
struct Refill {
    bucket: String,
    amount: String,
}

async fn refill(call: Call<'_>) -> Reply {
    let (reader, quotas) = (call.reader, &call.reader.engines.gateway.quotas);
    let refill: Refill = call.body()?;
    reader.ledger().writable()?;
    let (link, is_used) = link(reader, &refill.bucket).await?;
    let amount = config::amount(&refill.amount).filter(|(unit, _)| *unit == link.terms.unit);
    let Some((_, amount)) = amount else {
        let why = format!(
            "invalid amount {:?} for this bucket, which holds up to {}",
            refill.amount,
            link.terms.show(link.terms.capacity)
        );
        let status = StatusCode::BAD_REQUEST;
        return Err(Rejection::new(status, "invalid_request", why));
    };
    let detail = json!({ "amount": refill.amount });
    audit::note(reader, "quota_refilled", &refill.bucket, detail).await?;
    let state = if is_used || !link.template.contains('<') {
        let state = quotas.refill(link, amount).await;
        state.map_err(not_refilled)?
    } else {
        // It is full, and whose it is will be known when it is first used.
        Quotas::unused(&link)
    };
    let mut own = reader.rules.quotas.of(&reader.permit, reader.caller);
    let yours = own.any(|link| link.key == state.key);
    Ok(crate::web::api::json(&Quota { state, yours }))
}

/// A refill that may have been made must not be repeated by itself.
fn not_refilled(error: records::Error) -> Rejection {
    if !error.is_undecided() {
        return error.into();
    }
    let what = "the database did not answer, so it is not known whether the bucket was refilled; \
        look at its balance before you repeat the refill";
    tracing::error!(%error, "{what}");
    Rejection::new(StatusCode::GATEWAY_TIMEOUT, "refill_unknown", what)
}

/// The one bucket that an admin names, and whether it was ever used.
async fn link(reader: &Reader<'_>, name: &str) -> Result<(Link, bool), Rejection> {
    let definitions = &reader.rules.quotas;
    let quotas = &reader.engines.gateway.quotas;
    let states = quotas.states(definitions, Vec::new()).await?;
    let exact = states.iter().find(|state| state.key == name);
    let called: Vec<&State> = states.iter().filter(|state| state.bucket == name).collect();
    let found = match (exact, called.as_slice()) {
        (Some(exact), _) => Some(exact),
        (None, [only]) => Some(*only),
        (None, []) => None,
        (None, several) => {
            let keys: Vec<&str> = several.iter().map(|state| state.key.as_str()).collect();
            let why = format!(
                "{} buckets are called {name:?}; name one by its key: {}",
                keys.len(),
                keys.join(", ")
            );
            let status = StatusCode::CONFLICT;
            return Err(Rejection::new(status, "ambiguous_bucket", why));
        }
    };
    let found = found.and_then(|state| {
        Some(Link {
            key: state.key.as_str().into(),
            bucket: state.bucket.as_str().into(),
            template: state.template.clone(),
            terms: definitions.terms(&state.template)?,
            before: None,
        })
    });
    let found = found.map(|link| (link, true));
    let unused = || Some((definitions.named(name)?, false));
    found.or_else(unused).ok_or_else(|| {
        let why = format!("no budget has a bucket {name:?}");
        Rejection::new(StatusCode::NOT_FOUND, "no_such_bucket", why)
    })
}
