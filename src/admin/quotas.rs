//! The buckets of budgets and limits: callers see those that pay for them, admins all.

use http::Response;
use serde_json::json;

use super::{Asked, View};
use crate::access::Role;
use crate::wire::{Body, Rejection};

/// `GET /api/quotas`.
pub(super) async fn quotas(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Response<Body>, Rejection> {
    let definitions = &view.rules.quotas;
    let own: Vec<_> = definitions.of(asked.permit, asked.caller).collect();
    let names: Vec<String> = own.iter().map(|link| link.bucket.clone()).collect();
    let states = view.quotas.states(definitions, own).await;
    let mut states = states.map_err(|error| super::records::unavailable(&error))?;
    if asked.permit.role() != Role::Admin {
        states.retain(|state| names.contains(&state.bucket));
    }
    let rows: Vec<_> = states
        .iter()
        .map(|state| {
            let mut row = serde_json::to_value(state).unwrap_or_default();
            row["yours"] = names.contains(&state.bucket).into();
            row
        })
        .collect();
    Ok(super::json(&json!({ "quotas": rows })))
}
