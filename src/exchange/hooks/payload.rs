//! What hooks are told, as Aperture tells it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Wants;
use crate::formats::user_message;
use crate::policy::access::{HookEvent, HookPart};
use crate::policy::budget::State;
use crate::records::{Entry, Tokens, ToolCall};

/// Nanodollars in a dollar.
const DOLLAR: f64 = 1e9;

/// What hooks get of a request besides its entry.
pub(crate) struct HookContext {
    /// The whole URL of the request, without its query.
    pub(crate) url: String,
    /// The domain of the tailnet; empty without one.
    pub(crate) tailnet: String,
    /// The buckets that pay.
    pub(crate) quotas: Vec<State>,
    /// Of each budget that began to run low with the request: what is left of it.
    pub(crate) warnings: Vec<String>,
    /// Capabilities that are not the gateway's.
    pub(crate) grants: Vec<(String, Arc<RawValue>)>,
}

/// A request that a hook gets.
pub(crate) struct Request<'a> {
    pub(crate) context: &'a HookContext,
    pub(crate) entry: &'a Entry,
    /// The provider that is to be asked, or has answered, by its id.
    pub(crate) provider: &'a str,
    /// The model as that provider names it.
    pub(crate) model: &'a str,
    pub(crate) body: &'a Bytes,
}

/// What came of a request.
pub(super) struct Outcome<'a> {
    pub(super) tools: &'a [ToolCall],
    /// The response, put together.
    pub(super) response: &'a [u8],
    /// The response as it came, event by event.
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
    wants: &Wants,
    request: &Request<'_>,
    outcome: Option<&Outcome<'_>>,
) -> Vec<u8> {
    let part = |part| wants.parts.contains(&part).then_some(());
    let body = request.body;
    let payload = Payload {
        metadata: metadata(wants, request, outcome.is_some()),
        user_message: part(HookPart::UserMessage).and_then(|()| user_message::last(body)),
        request_body: part(HookPart::RequestBody).and_then(|()| document(body)),
        tool_calls: part(HookPart::Tools)
            .and(outcome)
            .map(|outcome| outcome.tools.iter().map(tool).collect()),
        response_body: part(HookPart::ResponseBody)
            .and(outcome)
            .and_then(|outcome| document(outcome.response)),
        raw_responses: part(HookPart::RawResponses)
            .and(outcome)
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

fn metadata(wants: &Wants, request: &Request<'_>, has_ended: bool) -> Value {
    let (context, entry) = (request.context, request.entry);
    let mut metadata = json!({
        "login_name": entry.login,
        "user_agent": entry.user_agent,
        "url": context.url,
        "model": request.model,
        "provider": request.provider,
        "tailnet_name": context.tailnet,
        "stable_node_id": entry.node_id,
        "request_id": entry.id,
        "session_id": entry.session,
    });
    if request.model.is_empty() {
        metadata["method"] = json!(entry.method);
        metadata["path"] = json!(entry.path);
    }
    if let Some(via) = &entry.via {
        metadata["via"] = json!(via);
    }
    if !entry.labels.is_empty() {
        metadata["labels"] = json!(entry.labels);
    }
    if wants.events.contains(&HookEvent::QuotaWarning) && !context.warnings.is_empty() {
        metadata["quota_warnings"] = json!(context.warnings);
    }
    if wants.parts.contains(&HookPart::Quotas) {
        let mut quotas = serde_json::Map::new();
        for state in &context.quotas {
            // A user and a device may have one name.
            let name = if quotas.contains_key(&state.bucket) {
                &state.key
            } else {
                &state.bucket
            };
            let quota = json!({
                "current": state.current,
                "capacity": state.capacity,
                "rate": state.rate.clone().unwrap_or_default(),
            });
            quotas.insert(name.clone(), quota);
        }
        metadata["quotas"] = Value::Object(quotas);
    }
    if wants.parts.contains(&HookPart::Grants) {
        let mut grants: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (name, raw) in &context.grants {
            let object = serde_json::from_str(raw.get()).unwrap_or_default();
            grants.entry(name).or_default().push(object);
        }
        metadata["grants"] = json!(grants);
    }
    if has_ended && wants.parts.contains(&HookPart::EstimatedCost) {
        metadata["estimated_cost"] = cost(entry);
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
    json!({
        "dollars": dollars,
        "cost_basis": entry.cost_basis,
        "own_credential": entry.own_credential,
        "usage": usage,
    })
}

fn counts(tokens: &Tokens) -> [(&'static str, Option<u64>); 13] {
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
        ("audio_input_tokens", tokens.audio_input),
        ("audio_cached_tokens", tokens.audio_cached),
        ("audio_output_tokens", tokens.audio_output),
        ("web_search_count", tokens.web_searches),
    ]
}
