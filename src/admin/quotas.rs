//! The buckets of budgets and limits: callers see those that pay for them, admins all.

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{Asked, View};
use crate::access::Role;
use crate::config;
use crate::quota::State;
use crate::wire::{Body, Rejection};

/// What is added to which bucket, such as `$5.00`.
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
    let refused = |status, code, why: String| Err(Rejection::new(status, code, why));
    let Some(link) = view.rules.quotas.named(&refill.bucket) else {
        let why = format!("no budget has a bucket {:?}", refill.bucket);
        return refused(StatusCode::NOT_FOUND, "no_such_bucket", why);
    };
    let amount = config::amount(&refill.amount).filter(|(unit, _)| *unit == link.terms.unit);
    let Some((_, amount)) = amount else {
        let why = format!(
            "{:?} is no amount of this bucket, which holds up to {}",
            refill.amount,
            link.terms.show(link.terms.capacity)
        );
        return refused(StatusCode::BAD_REQUEST, "invalid_request", why);
    };
    let detail = json!({ "amount": refill.amount });
    super::audit::note(view, asked, "quota_refilled", &refill.bucket, detail).await?;
    let state = view.quotas.refill(link, amount).await;
    let state = state.map_err(|error| super::records::unavailable(&error))?;
    let mut row = serde_json::to_value(&state).unwrap_or_default();
    let definitions = &view.rules.quotas;
    let mut own = definitions.of(asked.permit, asked.caller);
    row["yours"] = own.any(|link| link.bucket == state.bucket).into();
    Ok(super::json(&row))
}

/// The buckets that the caller may see, and whether each pays for the caller.
pub(crate) async fn seen(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Vec<(State, bool)>, Rejection> {
    let definitions = &view.rules.quotas;
    let own: Vec<_> = definitions.of(asked.permit, asked.caller).collect();
    let names: Vec<String> = own.iter().map(|link| link.bucket.clone()).collect();
    let states = view.quotas.states(definitions, own).await;
    let states = states.map_err(|error| super::records::unavailable(&error))?;
    let is_admin = asked.permit.role() == Role::Admin;
    let seen = states.into_iter().map(|state| {
        let yours = names.contains(&state.bucket);
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
