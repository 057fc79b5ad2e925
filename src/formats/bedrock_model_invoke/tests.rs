//! Recorded exchanges of each vendor, and what goes to the provider.

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::formats::Meter;
use crate::formats::corpus::{self, Exchange, Framing};
use crate::wire::sse;

const PATH: &str = "/bedrock/model/m/invoke-with-response-stream";

fn ask(path: &str, body: &str) -> Result<Call, Rejection> {
    corpus::ask(&FORMAT, path, body)
}

fn meter(request: &str, room: usize) -> Box<dyn Meter> {
    Box::new(chunk::Chunks::new(&corpus::metered(
        request.len() as u64,
        room,
    )))
}

#[test]
fn recorded_exchanges_of_each_vendor() {
    let all = corpus::exchanges!(
        AmazonChunks ".stream.bin.json":
        "claude", "nova", "titan", "embedding", "llama", "mistral_text", "mistral_chat", "chat",
        "cohere", "throttled", "odd",
    );
    for exchange in &all {
        let call = ask(PATH, exchange.request).unwrap();
        assert!(call.stream && call.billed, "{}", exchange.name);
        corpus::check(exchange, |room| meter(exchange.request, room));
    }
}

/// Anthropic's own exchanges say the same in Bedrock's framing.
#[test]
fn recorded_exchanges_of_anthropic() {
    macro_rules! theirs {
        ($($name:literal),*) => {
            [$((
                $name,
                include_str!(concat!("../anthropic_messages/fixtures/", $name, ".request.json")),
                include_str!(concat!("../anthropic_messages/fixtures/", $name, ".response.json")),
                include_str!(concat!("../anthropic_messages/fixtures/", $name, ".stream.txt")),
                include_str!(concat!("../anthropic_messages/fixtures/", $name, ".expected.json")),
            )),*]
        };
    }
    let all = theirs!(
        "tools",
        "thinking",
        "cached",
        "searched",
        "broken_off",
        "odd"
    );
    for (name, request, response, stream, expected) in all {
        let mut chunks = Vec::new();
        sse::Decoder::default().feed(stream.as_bytes(), |event| {
            let event: Value = serde_json::from_slice(event.data).unwrap();
            chunks.push(json!(["chunk", event]));
        });
        let exchange = Exchange {
            name,
            request,
            response,
            stream: Value::from(chunks).to_string().leak(),
            framing: Framing::AmazonChunks,
            expected,
        };
        corpus::check(&exchange, |room| meter(request, room));
    }
}

#[test]
fn pieces_of_text_come_to_one() {
    let mut meter = meter("{}", 1 << 20);
    for data in [
        r#"{"outputs":[{"text":" Bon","stop_reason":null}]}"#,
        r#"{"outputs":[{"text":"jour","stop_reason":"stop"}]}"#,
    ] {
        let packed = json!({ "bytes": aws_smithy_types::base64::encode(data) });
        let packed = packed.to_string();
        corpus::feed(&mut *meter, "chunk", &packed);
    }
    assert!(meter.is_complete());
    let response = meter.finish().response.unwrap();
    let response: Value = serde_json::from_slice(&response).unwrap();
    let expected = json!({"outputs":[{"text":" Bonjour","stop_reason":"stop"}]});
    assert_eq!(response, expected);
}

#[test]
fn the_path_names_model_and_operation() {
    let body = r#"{"anthropic_version":"bedrock-2023-05-31","messages":[{"role":"user","content":"hi"}],"metadata":{"user_id":"user_a_session_77"}}"#;
    let call = ask("/model/p%2Fanthropic.claude-v2%3A1/invoke", body).unwrap();
    assert_eq!(call.model, "p/anthropic.claude-v2:1");
    assert!(!call.stream && call.opening.is_some());
    assert_eq!(call.session.as_deref(), Some("77"));
    let sent = call.outbound("anthropic.claude-v2:1");
    assert_eq!(sent.path, "/model/anthropic.claude-v2%3A1/invoke");
    assert_eq!(sent.body.as_ptr(), call.body.as_ptr());
    for (path, known) in [
        ("/bedrock/model/m/invoke", true),
        (PATH, true),
        ("/bedrock/model/m/invoke-with-bidirectional-stream", false),
        ("/bedrock/model/m/invoke/", false),
        ("/bedrock/model/m/invoke:converse", false),
        ("/bedrock/async-invoke", false),
    ] {
        assert_eq!(FORMAT.recognises(&Method::POST, path), known, "{path}");
    }
}
