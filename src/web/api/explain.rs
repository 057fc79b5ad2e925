//! The story of a request: who its caller was taken for, and every decision with its reason.

use http::Response;
use serde_json::{Value, json};

use super::{Asked, View};
use crate::records::{Entry, Outcome};
use crate::wire::{Body, Rejection};

/// `GET /api/requests/{id}/explain`.
pub(super) async fn explain(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Response<Body>, Rejection> {
    let found = view.ledger.request(asked.scope(), asked.id).await;
    let Some(entry) = found.map_err(|error| super::records::unavailable(&error))? else {
        return Err(super::records::no_such(asked.id));
    };
    Ok(super::json(&story(&entry)))
}

fn story(entry: &Entry) -> Value {
    json!({
        "id": entry.id,
        "answer": answer(entry),
        "caller": {
            "login": entry.login,
            "node_id": entry.node_id,
            "node_name": entry.node_name,
            "tags": entry.tags,
        },
        "asked": {
            "started_at": entry.started_at,
            "api": entry.api,
            "path": entry.path,
            "model": entry.model_requested,
            "session": entry.session,
        },
        "decisions": entry.reasons.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "provider": entry.provider,
        "model": entry.model,
        "status": entry.status,
        "outcome": entry.outcome,
        "error": entry.error,
    })
}

/// The end of the story, in one sentence.
pub(crate) fn answer(entry: &Entry) -> String {
    let went = if entry.provider.is_empty() {
        "it went to no provider".to_owned()
    } else {
        format!(
            "it went to provider {} as {:?}",
            entry.provider, entry.model
        )
    };
    let why = entry.error.as_deref().unwrap_or("no reason is on record");
    match entry.outcome {
        Outcome::Complete => format!("{went}, which answered with {}", entry.status),
        Outcome::Refused => format!("it was refused with {}: {why}", entry.status),
        Outcome::ClientClosed => format!("{went}; its caller left before the end"),
        Outcome::UpstreamError => format!("{went}, which failed: {why}"),
        Outcome::TimedOut => format!("{went}, which took too long: {why}"),
        Outcome::Failed => format!("{went}, which gave no answer: {why}"),
    }
}
