//! Gemini's live API over a WebSocket, of the developer API and of Vertex: `BidiGenerateContent`
//! (<https://ai.google.dev/api/live>). The first message, `setup`, names the model. There is no event for an
//! error: a session that fails is closed, with a code and the reason.
//!
//! The keys for clients that open their own connection to Google would go past the gateway, and aren't
//! served.

mod message;
mod meter;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::gemini_generate_content as gemini;
use super::realtime::{Event, Realtime, Told};
use super::transcript::Conversation;
use super::tree::elements;
use super::{
    Call, Destination, Flag, Format, Head, Outbound, ProviderState, Refusals, body, google, known,
    offer, realtime,
};
use crate::base::money::CostBasis;
use crate::wire::Rejection;

static FLAG: Flag = Flag {
    name: "gemini_live",
    text: "Gemini's live API, over a WebSocket.",
    is_default: false,
    vendor: Some(CostBasis::Google),
};

static OF_VERTEX: Flag = Flag {
    name: "google_live",
    text: "The same of Vertex.",
    is_default: false,
    vendor: Some(CostBasis::Vertex),
};

/// What a caller's path and a provider's are, around the version.
const DEVELOPER: (&str, &str) = (
    "/ws/google.ai.generativelanguage.",
    ".GenerativeService.BidiGenerateContent",
);
const VERTEX_PATH: (&str, &str) = (
    "/ws/google.cloud.aiplatform.",
    ".LlmBidiService/BidiGenerateContent",
);
/// Versions that clients name.
const VERSIONS: [&str; 4] = ["v1beta", "v1alpha", "v1", "v1beta1"];
/// What clients with a key of their own ask for, and where they get one.
const CONSTRAINED: &str = "BidiGenerateContentConstrained";
const KEYS: &str = "auth_tokens";

/// The live API of Gemini's developer API.
pub(super) static FORMAT: Format = Format {
    flags: &[&FLAG],
    endpoint: Some("/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"),
    // Only to refuse it with the reason.
    recognises: is_past,
    takes_untyped: |_| true,
    realtime: Some(Realtime {
        flag: FLAG.name,
        recognises: |path| version(path, DEVELOPER).is_some() || is_past(path),
        ..REALTIME
    }),
    prepare: |call, to| {
        let is_whole = ["models/", "tunedModels/"]
            .iter()
            .any(|collection| to.model.starts_with(collection));
        let model = if is_whole {
            to.model.to_owned()
        } else {
            format!("models/{}", to.model)
        };
        Ok(prepared(call, &model))
    },
    ..BOTH
};

/// The live API of Vertex.
pub(super) static VERTEX: Format = Format {
    name: "google_live",
    flags: &[&OF_VERTEX],
    endpoint: Some("/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"),
    realtime: Some(Realtime {
        flag: OF_VERTEX.name,
        recognises: |path| version(path, VERTEX_PATH).is_some(),
        ..REALTIME
    }),
    prepare: prepare_for_vertex,
    export_name: "google_live",
    ..BOTH
};

const REALTIME: Realtime = Realtime {
    flag: "",
    recognises: |_| false,
    opens_with_message: true,
    query: |_| None,
    version: |_| None,
    understand: message::understand,
    event,
    turns: 1,
    begun: r#"{"realtimeInput":{}}"#,
    cancel: None,
    // 25 tokens a second, of 16,000 samples of 16 bits.
    sound: 1_707,
};

const BOTH: Format = Format {
    tools: |body| offer::request(body, &["setup"], |_, at| gemini::tools_at(body, at)),
    refusals: Refusals {
        // Nothing of the kind.
        event: |_| Bytes::new(),
        ..google::error::REFUSALS
    },
    state: ProviderState::None,
    conversation: CONVERSATION,
    operation: "generate_content",
    ..Format::new("gemini_live", &known::LIVE, read, meter::new)
};

/// The version in a path of one of both APIs. The SDK of Python writes the first slash twice.
fn version(path: &str, (before, after): (&str, &str)) -> Option<&'static str> {
    let path = path.strip_prefix("//").map_or(path, |_| &path[1..]);
    let version = path.strip_prefix(before)?.strip_suffix(after)?;
    VERSIONS.into_iter().find(|known| *known == version)
}

/// Whether a path leads a client past the gateway.
fn is_past(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    last == KEYS || last.ends_with(CONSTRAINED)
}

/// Reads the message that opens a session.
fn read(head: &Head<'_>, message: Bytes) -> Result<Call, Rejection> {
    if is_past(head.path) {
        return Err(Rejection::new(
            StatusCode::FORBIDDEN,
            "realtime_past_gateway",
            "ephemeral tokens aren't served: their clients talk to the provider without this gateway, so that \
             no grant, budget or guardrail would apply; connect to BidiGenerateContent instead, which needs no \
             key here",
        ));
    }
    let path = version(head.path, DEVELOPER)
        .map(|version| (DEVELOPER, version))
        .or_else(|| Some((VERTEX_PATH, version(head.path, VERTEX_PATH)?)));
    let ((before, after), version) =
        path.ok_or_else(|| body::bad_request("the path is not one of the live API"))?;
    message::setup(format!("{before}{version}{after}"), message)
}

fn prepared(call: &Call, model: &str) -> Outbound {
    let outbound = call.outbound(model);
    Outbound {
        body: call.splice.apply(&call.body, Some(model)),
        ..outbound
    }
}

fn prepare_for_vertex(call: &Call, to: &Destination<'_>) -> Result<Outbound, Rejection> {
    if call.splice.model.is_none() {
        return Ok(call.outbound(to.model));
    }
    let path = google::vertex::path(to, "")?;
    let model = path.trim_start_matches("/v1/");
    Ok(prepared(call, model))
}

/// What a provider's message is about. One that can't be read is of no turn.
fn event(message: &[u8]) -> Event {
    let told = meter::told(message).unwrap_or(Told::Beside);
    Event { told, turn: None }
}

const CONVERSATION: Conversation = Conversation {
    sent: |request| {
        let messages = elements(&request["messages"]).iter();
        let of_gemini = |request: &Value| (gemini::CONVERSATION.sent)(request);
        let heard = realtime::heard(request);
        messages
            .map(message::as_request)
            .flat_map(|request| of_gemini(&request))
            .chain(heard)
            .collect()
    },
    answered: gemini::CONVERSATION.answered,
};

#[cfg(test)]
mod tests;
