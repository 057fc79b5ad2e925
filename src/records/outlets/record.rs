//! A record as Aperture exports it, version 2; what it has besides comes from us.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::base::text::Text;
use crate::formats;
use crate::records::{Capture, Entry, Outcome, Tokens, ToolCall};
use crate::wire::HeaderList;

/// One record.
#[derive(Serialize)]
pub(super) struct Exported<'a> {
    /// A number that stands for the record: of its time and a hash of its name.
    id: i64,
    ver: u8,
    /// RFC 3339.
    timestamp: String,
    identity: Identity<'a>,
    model: &'a str,
    api_type: &'a str,
    usage: &'a Tokens,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_cost: Option<Cost<'a>>,
    own_credential: bool,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture_id: Option<&'a str>,
    session_id: &'a str,
    path: &'a str,
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<CapturedText<'a>>,
    request_id: &'a str,
    provider: &'a str,
    model_requested: &'a str,
    outcome: Outcome,
    stream: bool,
    agent: &'a str,
    first_token_ms: Option<f64>,
}

#[derive(Serialize)]
struct Identity<'a> {
    login: &'a str,
    /// What the caller is told apart by: a login may pass to another user.
    caller: &'a str,
    stable_node_id: &'a str,
    tags: &'a [String],
}

#[derive(Serialize)]
struct Cost<'a> {
    /// Nanodollars.
    nanodollars: i64,
    dollars: f64,
    #[serde(rename = "cost_basis")]
    basis: &'a Option<Text>,
}

#[derive(Serialize)]
struct CapturedText<'a> {
    request_headers: &'a HeaderList,
    request_body: Value,
    response_headers: &'a HeaderList,
    response_body: Value,
    tool_use: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Raw<'a>>,
    truncated: bool,
}

/// Bytes as bytes, where the format has them.
struct Raw<'a>(&'a Bytes);

impl Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&String::from_utf8_lossy(self.0))
        } else {
            serializer.serialize_bytes(self.0)
        }
    }
}

impl<'a> Exported<'a> {
    pub(super) fn new(entry: &'a Entry, tools: &[ToolCall], capture: Option<&'a Capture>) -> Self {
        let id = entry.id.as_str();
        #[expect(clippy::cast_precision_loss, reason = "dollars for people")]
        let cost = entry.cost.map(|nanodollars| Cost {
            nanodollars,
            dollars: nanodollars as f64 / 1e9,
            basis: &entry.cost_basis,
        });
        Self {
            id: number(entry),
            ver: 2,
            timestamp: jiff::Timestamp::from_millisecond(entry.started_at)
                .map(|time| time.to_string())
                .unwrap_or_default(),
            identity: Identity {
                login: &entry.login,
                caller: &entry.caller,
                stable_node_id: &entry.node_id,
                tags: &entry.tags,
            },
            model: &entry.model,
            api_type: formats::named(&entry.api).map_or(&entry.api, |format| format.export_name),
            usage: &entry.tokens,
            estimated_cost: cost,
            own_credential: entry.own_credential,
            duration_ms: entry.duration_ms,
            capture_id: capture.map(|_| id),
            session_id: &entry.session,
            path: &entry.path,
            status_code: entry.status,
            capture: capture.map(|capture| CapturedText {
                request_headers: &capture.request_headers,
                request_body: body(&capture.request_body),
                response_headers: &capture.response_headers,
                response_body: body(&capture.response_body),
                tool_use: tools.iter().map(tool).collect(),
                raw: capture.raw.as_ref().map(Raw),
                truncated: capture.truncated,
            }),
            request_id: id,
            provider: &entry.provider,
            model_requested: &entry.model_requested,
            outcome: entry.outcome,
            stream: entry.stream,
            agent: &entry.agent,
            first_token_ms: entry.first_token_ms,
        }
    }
}

/// 48 bits of milliseconds and 15 of a hash of the id: the same each time, and in the order of
/// time.
fn number(entry: &Entry) -> i64 {
    let digest = Sha256::digest(entry.id.as_str().as_bytes());
    let hash = i64::from(u16::from_be_bytes([digest[0], digest[1]]) >> 1);
    (entry.started_at.clamp(0, (1 << 48) - 1) << 15) | hash
}

/// JSON as it is, and all else as text.
fn body(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

fn tool(call: &ToolCall) -> Value {
    let params: Value =
        serde_json::from_str(&call.params).unwrap_or_else(|_| Value::String(call.params.clone()));
    serde_json::json!({ "name": call.name, "params": params })
}
