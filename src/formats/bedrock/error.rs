//! Errors as the AWS SDKs read them: the header `x-amzn-ErrorType` names the exception, and the
//! body its message. In a stream an error is a message of its own, named by `:exception-type`
//! (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ResponseStream.html>).

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::formats::Refusals;
use crate::formats::refusal::PLAIN;
use crate::wire::{Rejection, event_stream};

/// How errors look to clients.
pub(in crate::formats) const REFUSALS: Refusals = Refusals {
    body,
    head: |rejection, head| {
        head.insert(
            "x-amzn-errortype",
            HeaderValue::from_static(exception(rejection)),
        );
    },
    event,
    ..PLAIN
};

/// A refusal in the middle of a stream. Streams know fewer exceptions, and a client takes those
/// that it knows for what they are: some of them it tries again.
fn event(rejection: &Rejection) -> Bytes {
    let name = match rejection.status {
        StatusCode::TOO_MANY_REQUESTS => "throttlingException",
        StatusCode::SERVICE_UNAVAILABLE => "serviceUnavailableException",
        StatusCode::GATEWAY_TIMEOUT => "modelTimeoutException",
        StatusCode::BAD_GATEWAY => "modelStreamErrorException",
        status if status.is_client_error() => "validationException",
        _ => "internalServerException",
    };
    let headers = [(":message-type", "exception"), (":exception-type", name)];
    event_stream::encode(&headers, body(rejection).to_string())
}

fn body(rejection: &Rejection) -> Value {
    json!({ "message": rejection.message })
}

fn exception(rejection: &Rejection) -> &'static str {
    // A guardrail's block is denied access to AWS's clients, whatever its status.
    if rejection.code.0 == "guardrail_blocked" {
        return "AccessDeniedException";
    }
    match rejection.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => {
            "AccessDeniedException"
        }
        StatusCode::NOT_FOUND => "ResourceNotFoundException",
        StatusCode::TOO_MANY_REQUESTS => "ThrottlingException",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailableException",
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "ModelTimeoutException",
        status if status.is_client_error() => "ValidationException",
        _ => "InternalServerException",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_exception() {
        for (code, name, in_stream) in [
            (400, "ValidationException", "validationException"),
            (403, "AccessDeniedException", "validationException"),
            (404, "ResourceNotFoundException", "validationException"),
            (413, "ValidationException", "validationException"),
            (415, "ValidationException", "validationException"),
            (429, "ThrottlingException", "throttlingException"),
            (502, "InternalServerException", "modelStreamErrorException"),
            (
                503,
                "ServiceUnavailableException",
                "serviceUnavailableException",
            ),
            (504, "ModelTimeoutException", "modelTimeoutException"),
        ] {
            let status = StatusCode::from_u16(code).unwrap();
            let rejection = Rejection::new(status, "code", "why");
            let response = REFUSALS.response(&rejection);
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["x-amzn-errortype"], name);
            let mut seen = Vec::new();
            event_stream::Decoder::default().feed(&event(&rejection), |event| {
                seen.push((event.name.to_vec(), event.data.to_vec()));
            });
            let expected = (in_stream.into(), br#"{"message":"why"}"#.to_vec());
            assert_eq!(seen, [expected]);
        }
        let blocked = Rejection::new(StatusCode::BAD_REQUEST, "guardrail_blocked", "why");
        assert_eq!(exception(&blocked), "AccessDeniedException");
    }
}
