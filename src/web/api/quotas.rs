//! The buckets of budgets and limits: callers see those that pay for them, admins all.

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{Asked, View};
use crate::base::bucket::Link;
use crate::config;
use crate::policy::access::Role;
use crate::policy::budget::State;
use crate::records;
use crate::records::balances::Quotas;
use crate::wire::{Body, Rejection};

/// What is added to which bucket, by its key or by the name that no other has, such as `$5.00`.
#[derive(Deserialize)]
pub(super) struct Refill {
    bucket: String,
    amount: String,
}

/// `POST /api/quotas/refill`.
pub(super) async fn refill(
    view: &View<'_>,
    asked: &Asked<'_>,
    refill: Refill,
) -> Result<Response<Body>, Rejection> {
    super::records::writable(view.ledger)?;
    let refused = |status, code, why: String| Err(Rejection::new(status, code, why));
    let (link, is_used) = link(view, &refill.bucket).await?;
    let amount = config::amount(&refill.amount).filter(|(unit, _)| *unit == link.terms.unit);
    let Some((_, amount)) = amount else {
        let why = format!(
            "invalid amount {:?} for this bucket, which holds up to {}",
            refill.amount,
            link.terms.show(link.terms.capacity)
        );
        return refused(StatusCode::BAD_REQUEST, "invalid_request", why);
    };
    let detail = json!({ "amount": refill.amount });
    super::audit::note(view, asked, "quota_refilled", &refill.bucket, detail).await?;
    let state = if is_used || !link.template.contains('<') {
        let state = view.quotas.refill(link, amount).await;
        state.map_err(|error| not_refilled(&error))?
    } else {
        // It is full, and whose it is will be known when it is first used.
        Quotas::unused(&link)
    };
    let mut row = serde_json::to_value(&state).unwrap_or_default();
    let definitions = &view.rules.quotas;
    let mut own = definitions.of(asked.permit, asked.caller);
    row["yours"] = own.any(|link| link.key == state.key).into();
    Ok(super::json(&row))
}

/// A refill that may have been made must not be repeated by itself.
fn not_refilled(error: &records::Error) -> Rejection {
    if !error.is_undecided() {
        return super::records::unavailable(error);
    }
    let what = "the database did not answer, so it is not known whether the bucket was refilled; \
        look at its balance before you repeat the refill";
    tracing::error!(%error, "{what}");
    Rejection::new(StatusCode::GATEWAY_TIMEOUT, "refill_unknown", what)
}

/// The one bucket that an admin names, and whether it was ever used.
async fn link(view: &View<'_>, name: &str) -> Result<(Link, bool), Rejection> {
    let definitions = &view.rules.quotas;
    let states = view.quotas.states(definitions, Vec::new()).await;
    let states = states.map_err(|error| super::records::unavailable(&error))?;
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
            return Err(Rejection::new(
                StatusCode::CONFLICT,
                "ambiguous_bucket",
                why,
            ));
        }
    };
    let found = found.and_then(|state| {
        Some(Link {
            key: state.key.clone(),
            bucket: state.bucket.clone(),
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

/// The buckets that the caller may see, and whether each pays for the caller.
pub(crate) async fn seen(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Vec<(State, bool)>, Rejection> {
    let definitions = &view.rules.quotas;
    let own: Vec<_> = definitions.of(asked.permit, asked.caller).collect();
    let keys: Vec<String> = own.iter().map(|link| link.key.clone()).collect();
    let states = view.quotas.states(definitions, own).await;
    let states = states.map_err(|error| super::records::unavailable(&error))?;
    let is_admin = asked.permit.role() == Role::Admin;
    let seen = states.into_iter().map(|state| {
        let yours = keys.contains(&state.key);
        (state, yours)
    });
    Ok(seen.filter(|(_, yours)| is_admin || *yours).collect())
}

/// `GET /api/quotas`.
pub(super) async fn quotas(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Response<Body>, Rejection> {
    let rows: Vec<_> = seen(view, asked)
        .await?
        .iter()
        .map(|(state, yours)| {
            let mut row = serde_json::to_value(state).unwrap_or_default();
            row["yours"] = (*yours).into();
            row
        })
        .collect();
    Ok(super::json(&json!({ "quotas": rows })))
}
