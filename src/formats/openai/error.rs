//! The error object that OpenAI's APIs share; their SDKs choose the exception by status and
//! show `message`.

use http::StatusCode;
use serde_json::{Value, json};

use crate::formats::refusal::{PLAIN, event};
use crate::formats::{NO_CONVERSATION, NO_ITEM, NO_MODEL, NO_PREVIOUS_RESPONSE, Refusals};
use crate::wire::Rejection;

/// How errors look to clients.
pub(in crate::formats) const REFUSALS: Refusals = Refusals {
    body,
    event: |rejection| event("", &body(rejection)),
    ..PLAIN
};

fn body(rejection: &Rejection) -> Value {
    json!({ "error": object(rejection) })
}

/// The error object alone.
pub(in crate::formats) fn object(rejection: &Rejection) -> Value {
    let kind = match rejection.status {
        // A guardrail's block is told by its name, whatever its status.
        _ if rejection.code.0 == "guardrail_blocked" => "guardrail_blocked",
        StatusCode::BAD_REQUEST
        | StatusCode::NOT_FOUND
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE => "invalid_request_error",
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "insufficient_quota",
        status if status.is_client_error() => "invalid_request_error",
        _ => "server_error",
    };
    let param = match rejection.code.0 {
        NO_MODEL => Some("model"),
        NO_PREVIOUS_RESPONSE => Some("previous_response_id"),
        NO_ITEM => Some("input"),
        NO_CONVERSATION => Some("conversation"),
        _ => None,
    };
    json!({
        "message": rejection.message,
        "type": kind,
        "param": param,
        "code": rejection.code.0,
    })
}
