//! Recorded exchanges, and paths.

use http::Method;

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
        "reasoning",
        "incomplete",
        "broken_off",
        "local"
    );
    for exchange in &all {
        let call = call(ENDPOINT, exchange.request).unwrap();
        corpus::check(exchange, |room| FORMAT.meter(&call.metered(room)));
    }
}

#[test]
fn without_room_the_usage_is_read_all_the_same() {
    let exchange = &corpus::exchanges!("text")[0];
    let call = call(ENDPOINT, exchange.request).unwrap();
    let mut meter = FORMAT.meter(&call.metered(10));
    let mut decoder = crate::wire::sse::Decoder::default();
    decoder.feed(exchange.stream.as_bytes(), |event| {
        meter.event(&event);
    });
    let reading = meter.finish();
    assert!(reading.truncated);
    assert_eq!(reading.tokens.output, Some(11));
}

#[test]
fn searches_count_and_the_pages_they_find_do_not() {
    let call = call(ENDPOINT, r#"{"model":"m"}"#).unwrap();
    for (item, searches) in [
        (
            r#"{"type":"web_search_call","status":"completed","action":{"type":"search","query":"q"}}"#,
            Some(1),
        ),
        (
            r#"{"type":"web_search_call","status":"completed"}"#,
            Some(1),
        ),
        (
            r#"{"type":"web_search_call","status":"completed","action":{"type":"open_page","url":"u"}}"#,
            None,
        ),
        (
            r#"{"type":"web_search_call","status":"failed","action":{"type":"search","query":"q"}}"#,
            None,
        ),
    ] {
        let mut meter = FORMAT.meter(&call.metered(1000));
        meter.body(format!(r#"{{"output":[{item}]}}"#).as_bytes());
        assert_eq!(meter.finish().tokens.web_searches, searches, "{item}");
    }
}

#[test]
fn frames_that_ask_and_frames_that_could_ask() {
    for (frame, asks) in [
        (
            r#"{"type":"response.create","model":"m"}"#,
            Ok(Frame::Request),
        ),
        (
            r#"{"type":"response.cancel","response_id":"r"}"#,
            Ok(Frame::Cancel),
        ),
        (
            r#"{"type":"response.processed","response_id":"r"}"#,
            Ok(Frame::Beside),
        ),
        (
            r#"{"type":"response.processed","type":"response.create","model":"m"}"#,
            Err(()),
        ),
        (
            r#"{"Type":"response.create","type":"response.processed","model":"m"}"#,
            Err(()),
        ),
        (r#"{"type":"response.steer","input":"more"}"#, Err(())),
        (
            r#"{"type":"response.create","model":"m","response":{"model":"n"}}"#,
            Err(()),
        ),
        (
            r#"{"type":"response.create","model":"m","Response":{"model":"n"}}"#,
            Err(()),
        ),
        (
            r#"{"type":"response.cancel","input":"text","model":"n"}"#,
            Err(()),
        ),
        (
            r#"{"type":"response.processed","response_id":"r","tools":[]}"#,
            Err(()),
        ),
        (r#"{"model":"m"}"#, Err(())),
        ("", Err(())),
    ] {
        let read = FORMAT.frame(frame.as_bytes()).map_err(|_| ());
        assert_eq!(read, asks, "{frame}");
    }
}

#[test]
fn paths_with_and_without_their_prefixes() {
    for (path, sent) in [
        ("/v1/responses", ENDPOINT),
        ("/responses", ENDPOINT),
        ("/codex/responses", ENDPOINT),
        ("/v1/responses/input_tokens", COUNT),
        ("/codex/responses/compact", COMPACT),
    ] {
        let call = call(path, r#"{"model":"m","input":"hi"}"#).unwrap();
        assert_eq!(call.outbound("m").path, sent, "{path}");
        assert_eq!(call.billed, sent != COUNT);
    }
    assert!(!FORMAT.recognises(&Method::POST, "/v1/responses/resp_1/cancel"));
}
