//! Recorded exchanges, and what goes to the provider.

use http::Method;

use super::*;
use crate::formats::Meter;
use crate::formats::corpus;

fn ask(path: &str, body: &str) -> Result<Call, Rejection> {
    corpus::ask(&FORMAT, path, body)
}

fn meter(room: usize) -> Box<dyn Meter> {
    Box::new(Assembling::new(
        Events::default(),
        read,
        &corpus::metered(400, room),
    ))
}

#[test]
fn recorded_exchanges() {
    let all = corpus::exchanges!(
        Amazon ".stream.bin.json":
        "text", "tools", "thinking", "cached", "cited", "blocked", "cut", "error", "odd",
    );
    for exchange in &all {
        let call = ask("/bedrock/model/m/converse-stream", exchange.request).unwrap();
        assert!(call.stream && call.opening.is_some(), "{}", exchange.name);
        corpus::check(exchange, meter);
    }
}

#[test]
fn the_path_names_model_and_operation() {
    let body = r#"{ "messages":[{"role":"user","content":[{"text":"hi"}]}] }"#;
    let call = ask(
        "/bedrock/model/p%2Fus.amazon.nova-pro-v1%3A0/converse",
        body,
    )
    .unwrap();
    assert_eq!(call.model, "p/us.amazon.nova-pro-v1:0");
    assert!(!call.stream);
    let sent = call.outbound("us.amazon.nova-pro-v1:0");
    assert_eq!(sent.path, "/model/us.amazon.nova-pro-v1%3A0/converse");
    assert_eq!(sent.body.as_ptr(), call.body.as_ptr());
    for (path, known) in [
        ("/bedrock/model/m/converse", true),
        ("/model/m/converse-stream", true),
        ("/bedrock/model/m/invoke", false),
        ("/bedrock/model/m/converse/", false),
        ("/bedrock/model/m/converse%2Dstream", false),
        ("/bedrock/guardrail/g/version/1/apply", false),
    ] {
        assert_eq!(FORMAT.recognises(&Method::POST, path), known);
        assert!(!FORMAT.recognises(&Method::GET, path));
    }
}

#[test]
fn a_stream_without_end_has_no_room_without_end() {
    let mut meter = meter(4096);
    for nth in 0..10_000 {
        let data =
            format!(r#"{{"contentBlockIndex":{nth},"delta":{{"text":"{nth}","x":[{{}}]}}}}"#);
        corpus::feed(&mut *meter, "contentBlockDelta", &data);
    }
    let data = r#"{"usage":{"inputTokens":1,"outputTokens":2}}"#;
    corpus::feed(&mut *meter, "metadata", data);
    let reading = meter.finish();
    assert!(reading.truncated && reading.response.unwrap().len() < 16_384);
    assert_eq!(reading.tokens.output, Some(2));
}
