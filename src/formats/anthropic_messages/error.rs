//! Errors as Anthropic's SDKs read them: they choose the exception by status, and show `type`
//! and `message`.

use http::StatusCode;
use serde_json::{Value, json};

use crate::formats::Refusals;
use crate::formats::refusal::{PLAIN, event};
use crate::wire::Rejection;

/// How errors look to clients.
pub(in crate::formats) const REFUSALS: Refusals = Refusals {
    body,
    event: |rejection| event("error", &body(rejection)),
    ..PLAIN
};

fn body(rejection: &Rejection) -> Value {
    json!({
        "type": "error",
        "error": { "type": kind(rejection), "message": rejection.message },
    })
}

fn kind(rejection: &Rejection) -> &'static str {
    // A guardrail's block is a bad request to Anthropic's clients, whatever its status.
    if rejection.code.0 == "guardrail_blocked" {
        return "invalid_request_error";
    }
    match rejection.status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
        StatusCode::GATEWAY_TIMEOUT => "timeout_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "api_error",
    }
}
