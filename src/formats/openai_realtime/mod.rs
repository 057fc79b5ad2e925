//! OpenAI's realtime API over a WebSocket: `GET /v1/realtime?model=MODEL`, in its released form and as a
//! beta (`OpenAI-Beta: realtime=v1`). The URL names the model.
//!
//! What would go past the gateway isn't served: WebRTC and SIP calls, and the keys for clients that open
//! their own connection to OpenAI.

mod event;
mod message;
mod meter;
mod transcript;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::realtime::Realtime;
use super::{
    Call, Flag, Format, Head, Refusals, body, known, offer, openai, openai_responses, refusal,
};
use crate::wire::Rejection;

/// Its path as providers have it.
const ENDPOINT: &str = "/v1/realtime";
/// Below it, and beside it: what leads a client past the gateway.
const PAST: [&str; 5] = [
    "client_secrets",
    "sessions",
    "transcription_sessions",
    "calls",
    "translations",
];
/// Azure's way to name a model.
const NAMES: [&str; 2] = ["model", "deployment"];
/// The subprotocol by which browsers ask for the beta.
const BETA: &str = "openai-beta.realtime-v1";

static FLAG: Flag = Flag {
    name: "openai_realtime",
    text: "OpenAI's realtime API, over a WebSocket.",
    is_default: false,
    vendor: None,
};

/// OpenAI's realtime API.
pub(super) static FORMAT: Format = Format {
    flags: &[&FLAG],
    endpoint: Some(ENDPOINT),
    // Only to refuse it with the reason.
    recognises: |path| past(path).is_some(),
    accepts: &["application/json", "application/sdp", "multipart/form-data"],
    takes_untyped: |_| true,
    realtime: Some(Realtime {
        flag: FLAG.name,
        recognises: |path| below(path) == Some(""),
        opens_with_message: false,
        query: |model| Some(format!("model={}", body::path_segment(model))),
        version,
        understand: message::understand,
        event: event::read,
        // Those beside the conversation run beside that of it.
        turns: 8,
        begun: r#"{"type":"response.create"}"#,
        cancel: Some(event::cancel),
        // Ten tokens a second, of 24,000 samples of 16 bits.
        sound: 6_400,
    }),
    tools: |body| {
        offer::request(body, &["session", "response"], |_, at| {
            openai_responses::tools_at(body, at)
        })
    },
    refusals: Refusals {
        event: |rejection| {
            let event = json!({
                "type": "error",
                "event_id": null,
                "error": openai::error::object(rejection),
            });
            refusal::event("", &event)
        },
        ..openai::error::REFUSALS
    },
    conversation: transcript::CONVERSATION,
    operation: "realtime",
    export_name: "oai_realtime",
    ..Format::new("openai_realtime", &known::REALTIME, read, meter::new)
};

/// What of a path is below the API's own, with the prefixes that clients of OpenAI and Azure put in front.
fn below(path: &str) -> Option<&str> {
    let path = path.strip_prefix("/openai").unwrap_or(path);
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let rest = path.strip_prefix("/realtime")?;
    (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
}

/// The part of the API that a path leads to which would go past the gateway.
fn past(path: &str) -> Option<&'static str> {
    let first = below(path)?.split('/').next()?;
    PAST.into_iter().find(|part| *part == first)
}

/// Reads the request that opens a session. It has no body of its own; a hook can give it one with another
/// model.
fn read(head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    if let Some(part) = past(head.path) {
        return Err(Rejection::new(
            StatusCode::FORBIDDEN,
            "realtime_past_gateway",
            format!(
                "/v1/realtime/{part} isn't served: its clients talk to the provider without this gateway, so \
                 that no grant, budget or guardrail would apply; connect a WebSocket to /v1/realtime?model=… \
                 instead, which needs no key"
            ),
        ));
    }
    let body = if body.is_empty() {
        let model = model(head.query)?;
        Bytes::from(json!({ "model": model }).to_string())
    } else {
        body
    };
    let (call, _) = Call::of_json(ENDPOINT, body, &["model", "stream"])?;
    Ok(Call {
        billed: false,
        ..call
    })
}

/// The model that a query names.
fn model(query: Option<&str>) -> Result<String, Rejection> {
    let mut model: Option<String> = None;
    for pair in query.unwrap_or_default().split(['&', ';']) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8_lossy();
        match name {
            "call_id" | "intent" => {
                return Err(body::bad_request(format!(
                    "the query parameter \"{name}\" is not accepted: calls over WebRTC and SIP and sessions \
                     that only transcribe aren't served here; connect with ?model=… alone"
                )));
            }
            _ if !NAMES.contains(&name) || value.is_empty() => {}
            _ if model.as_ref().is_some_and(|model| *model != *value) => {
                return Err(body::bad_request("the query names two models"));
            }
            _ => model = Some(value.into_owned()),
        }
    }
    match model {
        Some(model) if body::is_model(&model) => Ok(model),
        Some(_) => Err(body::bad_request("`model` must be the name of a model")),
        None => Err(body::no_model("the URL has no `model`")),
    }
}

/// The beta is asked for by a header, or where a browser can't set one, by a subprotocol.
fn version(headers: &HeaderMap) -> Option<(&'static str, &'static str)> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offered = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    offered
        .any(|name| name.trim() == BETA)
        .then_some(("openai-beta", "realtime=v1"))
}

#[cfg(test)]
mod tests;
