//! Recorded exchanges, and requests that are refused.

use super::*;
use crate::formats::corpus;

fn call(path: &str, body: &str) -> Result<Call, Rejection> {
    corpus::ask(&FORMAT, path, body)
}

#[test]
fn recorded_exchanges() {
    let all = corpus::exchanges!(
        "text",
        "tools",
        "thinking",
        "cached",
        "searched",
        "broken_off",
        "odd",
    );
    for exchange in &all {
        let call = call(ENDPOINT, exchange.request).unwrap();
        corpus::check(exchange, |room| FORMAT.meter(&call.metered(room)));
    }
}

#[test]
fn only_the_models_name_changes() {
    let body = r#"{"max_tokens":1, "model" : "p/claude","messages":[]}"#;
    let sent = call(ENDPOINT, body).unwrap().outbound("claude");
    assert_eq!(sent.path, ENDPOINT);
    assert_eq!(sent.body, body.replace("p/claude", "claude"));
}

#[test]
fn counting_is_free_and_no_usage() {
    let call = call("/messages/count_tokens", r#"{"model":"c","messages":[]}"#).unwrap();
    assert!(!call.billed && !call.stream);
    assert_eq!(call.outbound("c").path, COUNT);
    let mut meter = FORMAT.meter(&call.metered(100));
    meter.body(br#"{"input_tokens":14}"#);
    assert_eq!(meter.finish(), crate::formats::Reading::default());
}

#[test]
fn the_body_names_the_session_or_the_opening_does() {
    let named = r#"{"model":"c","messages":[{"role":"user","content":"hi"}],"metadata":{"user_id":"{\"session_id\":\"s-1\"}"}}"#;
    assert_eq!(
        call(ENDPOINT, named).unwrap().session.as_deref(),
        Some("s-1")
    );
    let plain = r#"{"model":"c","system":"be brief","messages":[{"role":"user","content":"hi"}]}"#;
    let plain = call(ENDPOINT, plain).unwrap();
    assert!(plain.session.is_none() && plain.opening.is_some());
}

#[test]
fn errors_are_those_of_the_api() {
    use http::StatusCode;
    for (status, kind) in [
        (StatusCode::BAD_REQUEST, "invalid_request_error"),
        (StatusCode::FORBIDDEN, "permission_error"),
        (StatusCode::NOT_FOUND, "not_found_error"),
        (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"),
        (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error"),
        (StatusCode::BAD_GATEWAY, "api_error"),
        (StatusCode::SERVICE_UNAVAILABLE, "overloaded_error"),
        (StatusCode::GATEWAY_TIMEOUT, "timeout_error"),
    ] {
        let event = FORMAT.stream_error(&Rejection::new(status, "code", "why"));
        let text = String::from_utf8(event.to_vec()).unwrap();
        assert!(text.starts_with("event: error\ndata: {"), "{text}");
        assert!(text.contains(kind), "{status}: {text}");
    }
}
