//! What hooks are told, as Aperture tells it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Wired;
use crate::formats::user_message;
use crate::policy::access::{HookEvent, HookPart};
use crate::policy::budget::State;
use crate::records::{Entry, Tokens, ToolCall};

/// Nanodollars in a dollar.
const DOLLAR: f64 = 1e9;

/// What is known of a request before its provider is asked.
#[derive(Clone, Debug)]
pub struct Story {
    /// The login, or the tags.
    pub login: String,
    /// The client.
    pub user_agent: String,
    /// The whole URL of the request, without its query.
    pub url: String,
    /// The model as its provider names it.
    pub model: String,
    /// The provider.
    pub provider: String,
    /// The domain of the tailnet; empty without one.
    pub tailnet: String,
    /// The node that it came from, by its stable id.
    pub node_id: String,
    /// The id of its record.
    pub request: String,
    /// The conversation.
    pub session: String,
    /// The buckets that pay.
    pub quotas: Vec<State>,
    /// Of each budget that began to run low with the request: what is left of it.
    pub warnings: Vec<String>,
    /// Capabilities that are not the gateway's.
    pub grants: Vec<(String, Arc<RawValue>)>,
}

/// What came of a request.
pub(super) struct Outcome<'a> {
    pub(super) entry: &'a Entry,
    pub(super) tools: &'a [ToolCall],
    /// The answer, put together.
    pub(super) answer: &'a [u8],
    /// The answer as it came, event by event.
    pub(super) raws: &'a [Box<RawValue>],
}

#[derive(Serialize)]
struct Payload<'a> {
    metadata: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<Tool<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_responses: Option<&'a [Box<RawValue>]>,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    params: Params<'a>,
}

/// As the model wrote them: JSON, or text if they are not JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Params<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

/// The payload for a hook; `outcome` is there once the request has ended.
pub(super) fn build(
    wired: &Wired<'_>,
    story: &Story,
    body: &[u8],
    outcome: Option<&Outcome<'_>>,
) -> Vec<u8> {
    let wants = |part| wired.wants(part);
    let payload = Payload {
        metadata: metadata(wired, story, outcome),
        user_message: wants(HookPart::UserMessage)
            .then(|| user_message::last(body))
            .flatten(),
        request_body: wants(HookPart::RequestBody)
            .then(|| document(body))
            .flatten(),
        tool_calls: outcome
            .filter(|_| wants(HookPart::Tools))
            .map(|outcome| outcome.tools.iter().map(tool).collect()),
        response_body: outcome
            .filter(|_| wants(HookPart::ResponseBody))
            .and_then(|outcome| document(outcome.answer)),
        raw_responses: outcome
            .filter(|_| wants(HookPart::RawResponses))
            .map(|outcome| outcome.raws),
    };
    // Maps of strings and documents that were parsed: nothing that can't be written.
    serde_json::to_vec(&payload).unwrap_or_default()
}

/// What is JSON, as it came.
pub(super) fn document(bytes: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(bytes).ok()
}

fn tool(call: &ToolCall) -> Tool<'_> {
    Tool {
        name: &call.name,
        params: document(call.params.as_bytes()).map_or(Params::Text(&call.params), Params::Json),
    }
}

fn metadata(wired: &Wired<'_>, story: &Story, outcome: Option<&Outcome<'_>>) -> Value {
    let mut metadata = json!({
        "login_name": story.login,
        "user_agent": story.user_agent,
        "url": story.url,
        "model": story.model,
        "provider": story.provider,
        "tailnet_name": story.tailnet,
        "stable_node_id": story.node_id,
        "request_id": story.request,
        "session_id": story.session,
    });
    if wired.events.contains(&HookEvent::QuotaWarning) && !story.warnings.is_empty() {
        metadata["quota_warnings"] = json!(story.warnings);
    }
    if wired.wants(HookPart::Quotas) {
        let quotas = story.quotas.iter().map(|state| {
            let quota = json!({
                "current": state.current,
                "capacity": state.capacity,
                "rate": state.rate.clone().unwrap_or_default(),
            });
            (state, quota)
        });
        let mut named = serde_json::Map::new();
        for (state, quota) in quotas {
            // A user and a device may have one name.
            let name = if named.contains_key(&state.bucket) {
                &state.key
            } else {
                &state.bucket
            };
            named.insert(name.clone(), quota);
        }
        metadata["quotas"] = Value::Object(named);
    }
    if wired.wants(HookPart::Grants) {
        let mut grants: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (name, raw) in &story.grants {
            let object = serde_json::from_str(raw.get()).unwrap_or_default();
            grants.entry(name).or_default().push(object);
        }
        metadata["grants"] = json!(grants);
    }
    if let Some(outcome) = outcome.filter(|_| wired.wants(HookPart::EstimatedCost)) {
        metadata["estimated_cost"] = cost(outcome.entry);
    }
    metadata
}

/// Dollars, whose prices they are, and the counts that are not zero.
fn cost(entry: &Entry) -> Value {
    let mut usage = serde_json::Map::new();
    for (name, count) in counts(&entry.tokens) {
        if let Some(count) = count.filter(|count| *count > 0) {
            usage.insert(name.to_owned(), count.into());
        }
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a float is what the payload has"
    )]
    let dollars = entry.cost.map(|cost| cost as f64 / DOLLAR);
    json!({ "dollars": dollars, "cost_basis": entry.cost_basis, "usage": usage })
}

fn counts(tokens: &Tokens) -> [(&'static str, Option<u64>); 10] {
    [
        ("input_tokens", tokens.input),
        ("output_tokens", tokens.output),
        ("cached_tokens", tokens.cached),
        ("cache_creation_input_tokens", tokens.cache_write),
        ("cache_creation_5m_input_tokens", tokens.cache_write_5m),
        ("cache_creation_1h_input_tokens", tokens.cache_write_1h),
        ("reasoning_tokens", tokens.reasoning),
        ("image_input_tokens", tokens.image_input),
        ("image_output_tokens", tokens.image_output),
        ("web_search_count", tokens.web_searches),
    ]
}
