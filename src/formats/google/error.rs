//! The error object of Google's APIs: `google.rpc.Status` as JSON, whose `status` their SDKs
//! name the error by (<https://cloud.google.com/apis/design/errors>).

use http::StatusCode;
use serde_json::{Value, json};

use crate::formats::Refusals;
use crate::formats::refusal::{PLAIN, event};
use crate::wire::Rejection;

/// How errors look to clients.
pub(in crate::formats) const REFUSALS: Refusals = Refusals {
    body,
    event: |rejection| event("", &body(rejection)),
    ..PLAIN
};

fn body(rejection: &Rejection) -> Value {
    json!({
        "error": {
            "code": rejection.status.as_u16(),
            "message": rejection.message,
            // A guardrail's block is denied permission, whatever its status.
            "status": if rejection.code.0 == "guardrail_blocked" {
                "PERMISSION_DENIED"
            } else {
                code(rejection.status).0
            },
        }
    })
}

/// Whether an error says that the key isn't valid, which Google does with status 400. Only the place where its
/// own reason stands counts: what a caller has sent may be quoted elsewhere
/// (<https://cloud.google.com/apis/design/errors#error_info>).
pub(in crate::formats) fn refuses_key(body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    // Some of its servers answer with a list of one.
    let error = body.get(0).unwrap_or(&body).get("error");
    let details = error.and_then(|error| error.get("details")?.as_array());
    let mut details = details.into_iter().flatten();
    details.any(|detail| {
        detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
            && detail["domain"] == "googleapis.com"
            && detail["reason"] == "API_KEY_INVALID"
    })
}

/// Name and number of the `google.rpc.Code` for a status
/// (<https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>).
pub(in crate::formats) fn code(status: StatusCode) -> (&'static str, u8) {
    match status {
        StatusCode::UNAUTHORIZED => ("UNAUTHENTICATED", 16),
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => ("PERMISSION_DENIED", 7),
        StatusCode::NOT_FOUND => ("NOT_FOUND", 5),
        StatusCode::TOO_MANY_REQUESTS => ("RESOURCE_EXHAUSTED", 8),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => ("DEADLINE_EXCEEDED", 4),
        StatusCode::NOT_IMPLEMENTED => ("UNIMPLEMENTED", 12),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => ("UNAVAILABLE", 14),
        status if status.is_client_error() => ("INVALID_ARGUMENT", 3),
        _ => ("INTERNAL", 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_name() {
        for (code, name) in [
            (400, "INVALID_ARGUMENT"),
            (403, "PERMISSION_DENIED"),
            (404, "NOT_FOUND"),
            (413, "INVALID_ARGUMENT"),
            (415, "INVALID_ARGUMENT"),
            (429, "RESOURCE_EXHAUSTED"),
            (502, "UNAVAILABLE"),
            (503, "UNAVAILABLE"),
            (504, "DEADLINE_EXCEEDED"),
        ] {
            let status = StatusCode::from_u16(code).unwrap();
            let reported = body(&Rejection::new(status, "code", "why"));
            let expected = json!({"error":{"code":code,"message":"why","status":name}});
            assert_eq!(reported, expected);
        }
    }

    #[test]
    fn a_key_is_refused_by_the_reason_alone() {
        let info = |domain: &str, reason: &str| {
            json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": domain,
                "reason": reason, "metadata": { "service": "generativelanguage.googleapis.com" } })
        };
        let refuses = |details: Value| {
            let error = json!({ "error": { "code": 400, "status": "INVALID_ARGUMENT",
                "message": "API_KEY_INVALID: API key not valid.", "details": details } });
            let listed = json!([error]);
            let is_so = refuses_key(error.to_string().as_bytes());
            assert_eq!(refuses_key(listed.to_string().as_bytes()), is_so);
            is_so
        };
        assert!(refuses(json!([info("googleapis.com", "API_KEY_INVALID")])));
        assert!(!refuses(json!([info(
            "googleapis.com",
            "RATE_LIMIT_EXCEEDED"
        )])));
        assert!(!refuses(
            json!([{ "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": "API_KEY_INVALID" }] }])
        ));
        assert!(!refuses(Value::Null));
        assert!(!refuses_key(b"API_KEY_INVALID"));
    }
}
