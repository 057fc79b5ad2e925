//! `GET /api/requests/{id}/explain`: who the caller of a request was taken for, and every decision
//! with its reason.

use schemars::JsonSchema;
use serde::Serialize;

use super::entry;
use crate::base::text::Text;
use crate::records::{Entry, Outcome};
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/requests/{id}/explain",
    name: "Explain",
    about: "The story of a request: who its caller was taken for, and every decision with its reason.",
    answer: json_of::<Explanation>(),
    handler: Handler::Role(|call| Box::pin(answer(call))),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
struct Explanation {
    id: String,
    answer: String,
    caller: Asking,
    asked: Asked,
    decisions: Vec<String>,
    provider: Text,
    model: Text,
    status: u16,
    outcome: String,
    error: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Asking {
    login: Text,
    node_id: Text,
    node_name: Text,
    tags: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Asked {
    started_at: i64,
    api: Text,
    path: Text,
    model: Text,
    session: Text,
}

async fn answer(call: Call<'_>) -> Reply {
    let entry = entry(call.reader, call.id).await?;
    Ok(crate::web::api::json(&Explanation {
        id: entry.id.to_string(),
        answer: summary(&entry),
        caller: Asking {
            login: entry.login,
            node_id: entry.node_id,
            node_name: entry.node_name,
            tags: entry.tags,
        },
        asked: Asked {
            started_at: entry.started_at,
            api: entry.api,
            path: entry.path,
            model: entry.model_requested,
            session: entry.session,
        },
        decisions: entry.reasons.iter().map(ToString::to_string).collect(),
        provider: entry.provider,
        model: entry.model,
        status: entry.status,
        outcome: entry.outcome.as_str().to_owned(),
        error: entry.error,
    }))
}

/// How it ended, in one sentence.
pub(in crate::web) fn summary(entry: &Entry) -> String {
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
