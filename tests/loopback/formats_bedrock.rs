//! Bedrock's formats at the wire: what the AWS SDKs send, and how they are answered.

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::Full;
use iris::wire::event_stream::{Decoder, encode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::Gateway;
use support::http::post;
use support::provider::{answer, provider, write};

const ASK: &str = r#"{ "messages":[{"role":"user","content":[{"text":"hi"}]}] }"#;
const ANSWER: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"ahoy"}]}},"stopReason":"end_turn","usage":{"inputTokens":4,"outputTokens":2,"totalTokens":16,"cacheReadInputTokens":10,"cacheWriteInputTokens":0},"metrics":{"latencyMs":5}}"#;
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\nconnection: close\r\n\r\n";

fn bedrock(more: &Value) -> Value {
    let mut provider = json!({
        "apikey": "b-key",
        "models": ["anthropic.claude-v2:1"],
        "compatibility": { "bedrock_converse": true, "bedrock_model_invoke": true },
    });
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        provider[key] = value;
    }
    json!({ "provider": provider })
}

fn message(name: &'static str, payload: &Value) -> Bytes {
    let headers = [(":message-type", "event"), (":event-type", name)];
    encode(&headers, payload.to_string())
}

fn delta(text: &str) -> Bytes {
    message(
        "contentBlockDelta",
        &json!({ "contentBlockIndex": 0, "delta": { "text": text } }),
    )
}

fn names(stream: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    Decoder::default().feed(stream, |event| {
        names.push(String::from_utf8_lossy(event.name).into_owned());
    });
    names
}

async fn whole() -> (
    std::net::SocketAddr,
    tokio::sync::mpsc::Receiver<support::provider::Received>,
) {
    provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "connection: close\r\n", ANSWER).await }.boxed()
    })
    .await
}

/// As the SDKs of AWS send it: signed for the address of the gateway.
fn signed(path: &str, typed: bool) -> Request<Full<Bytes>> {
    let mut request = post(path, ASK);
    let headers = request.headers_mut();
    headers.insert("authorization", "AWS4-HMAC-SHA256 theirs".parse().unwrap());
    headers.insert("x-amz-date", "20260101T000000Z".parse().unwrap());
    headers.insert("x-amz-security-token", "their-token".parse().unwrap());
    if !typed {
        headers.remove("content-type");
    }
    request
}

#[tokio::test]
async fn a_request_goes_on_as_it_came_and_is_counted() {
    let (address, mut received) = whole().await;
    let gateway = Gateway::start(address, bedrock(&json!({}))).await;
    for (path, operation) in [
        (
            "/bedrock/model/anthropic.claude-v2%3A1/converse",
            "converse",
        ),
        ("/model/p%2Fanthropic.claude-v2:1/converse", "converse"),
        ("/bedrock/model/anthropic.claude-v2:1/invoke", "invoke"),
    ] {
        let reply = gateway.send(signed(path, operation != "invoke")).await;
        assert_eq!(
            (reply.status, reply.text()),
            (StatusCode::OK, ANSWER.to_owned())
        );
        let got = received.recv().await.unwrap();
        let line = format!("POST /model/anthropic.claude-v2%3A1/{operation} HTTP/1.1\r\n");
        assert!(got.head.starts_with(&line), "{}", got.head);
        assert!(
            got.head.contains("authorization: Bearer b-key"),
            "{}",
            got.head
        );
        assert!(!got.head.contains("their"), "{}", got.head);
        assert_eq!(got.body, ASK.as_bytes());
        let row = gateway.record_of(path).await;
        assert!(
            row["api"].as_str().unwrap().starts_with("bedrock_"),
            "{row}"
        );
        assert_eq!(row["model"], "anthropic.claude-v2:1");
        assert_eq!(row["usage"]["input_tokens"], 14);
        assert_eq!(row["usage"]["cached_tokens"], 10);
        assert_eq!(row["usage"]["output_tokens"], 2);
    }
    let path = "/bedrock/model/anthropic.claude-v2%3A1/count-tokens";
    assert_eq!(gateway.send(post(path, "{}")).await.status, StatusCode::OK);
    let row = gateway.record_of(path).await;
    assert_eq!(row["usage"]["input_tokens"], Value::Null);
}

#[tokio::test]
async fn what_only_the_head_counts_is_counted() {
    let (address, _received) = provider(|mut stream| {
        async move {
            let counts =
                "x-amzn-bedrock-input-token-count: 5\r\nx-amzn-bedrock-output-token-count: 0\r\n";
            answer(
                &mut stream,
                "200 OK",
                counts,
                r#"{"embeddings":[[0.5,0.25]]}"#,
            )
            .await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, bedrock(&json!({}))).await;
    let path = "/bedrock/model/anthropic.claude-v2%3A1/invoke";
    let reply = gateway.send(post(path, r#"{"texts":["ahoy"]}"#)).await;
    assert_eq!(reply.status, StatusCode::OK);
    let usage = &gateway.record_of(path).await["usage"];
    let counts = (
        &usage["input_tokens"],
        &usage["output_tokens"],
        &usage["estimated"],
    );
    assert_eq!(counts, (&json!(5), &json!(0), &json!(false)));
}

#[tokio::test]
async fn streams_end_or_say_that_they_have_not() {
    let (address, _received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            let usage = json!({ "usage": { "inputTokens": 4, "outputTokens": 2 } });
            for part in [
                message("messageStart", &json!({ "role": "assistant" })),
                delta("ahoy"),
                message("messageStop", &json!({ "stopReason": "end_turn" })),
                message("metadata", &usage),
            ] {
                let _ = stream.write_all(&part).await;
            }
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, bedrock(&json!({}))).await;
    let path = "/bedrock/model/anthropic.claude-v2%3A1/converse-stream";
    let reply = gateway.send(post(path, ASK)).await;
    assert!(!reply.broken);
    assert_eq!(
        names(&reply.body),
        [
            "messageStart",
            "contentBlockDelta",
            "messageStop",
            "metadata"
        ]
    );
    let row = gateway.record().await;
    assert_eq!(
        (&row["outcome"], &row["stream"]),
        (&json!("complete"), &json!(true))
    );
    assert_eq!(row["usage"]["output_tokens"], 2);

    let (address, _received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            let _ = stream.write_all(&delta("ahoy, sailors")).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, bedrock(&json!({}))).await;
    let reply = gateway.send(post(path, ASK)).await;
    assert!(reply.broken);
    assert_eq!(
        names(&reply.body),
        ["contentBlockDelta", "modelStreamErrorException"]
    );
    let row = gateway.record().await;
    assert_eq!(row["outcome"], "upstream_error", "{row}");
    assert_eq!(row["usage"]["output_tokens"], 3, "{row}");
    assert_eq!(row["usage"]["estimated"], true, "{row}");
}

#[tokio::test]
async fn refusals_are_exceptions_of_aws() {
    let mut config = bedrock(&json!({}));
    config["limits"] = json!({ "request_body": 1000 });
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let gateway = Gateway::start(nowhere, config).await;
    let known = "/bedrock/model/anthropic.claude-v2%3A1/invoke";
    let long = format!(r#"{{"pad":"{}"}}"#, "x".repeat(1000));
    for (path, body, status, exception) in [
        (
            "/bedrock/model/unknown/converse",
            ASK,
            404,
            "ResourceNotFoundException",
        ),
        (
            "/bedrock/model/%2e%2e/invoke",
            ASK,
            400,
            "ValidationException",
        ),
        (known, r#"{"model":"other"}"#, 400, "ValidationException"),
        (known, "[]", 400, "ValidationException"),
        (known, &long, 413, "ValidationException"),
        (known, ASK, 502, "InternalServerException"),
    ] {
        let reply = gateway.send(post(path, body)).await;
        assert_eq!(reply.status, status, "{path} {body:.40}: {reply:?}");
        assert_eq!(reply.headers["x-amzn-errortype"], exception);
        assert!(reply.json()["message"].is_string(), "{reply:?}");
    }
    // Without a type, only what a web page can't send is accepted.
    let mut untyped = post(known, ASK);
    untyped.headers_mut().remove("content-type");
    assert_eq!(gateway.send(untyped).await.status, 415);
    assert_eq!(gateway.send(signed(known, false)).await.status, 502);
    let mut text = signed(known, true);
    let plain = "text/plain".parse().unwrap();
    text.headers_mut().insert("content-type", plain);
    assert_eq!(gateway.send(text).await.status, 415);

    let mut config = bedrock(&json!({}));
    config["grants"] = json!([]);
    let gateway = Gateway::start(nowhere, config).await;
    let reply = gateway.send(post(known, ASK)).await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert_eq!(reply.headers["x-amzn-errortype"], "AccessDeniedException");
}

#[tokio::test]
async fn requests_are_signed_for_aws() {
    let (address, mut received) = whole().await;
    let key = json!({
        "apikey": "AKIDEXAMPLE:secret-part:session-part",
        "authorization": "aws-sigv4",
        "region": "eu-west-1",
        "add_headers": ["x-amz-meta-team: sails"],
    });
    let gateway = Gateway::start(address, bedrock(&key)).await;
    let path = "/bedrock/model/anthropic.claude-v2%3A1/converse";
    assert_eq!(
        gateway.send(signed(path, true)).await.status,
        StatusCode::OK
    );
    let got = received.recv().await.unwrap();
    for part in [
        "authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/",
        "/eu-west-1/bedrock/aws4_request",
        "SignedHeaders=content-type;host;x-amz-date;x-amz-meta-team;x-amz-security-token",
        "x-amz-security-token: session-part",
    ] {
        assert!(got.head.contains(part), "{part}: {}", got.head);
    }
    for part in ["their", "20260101T000000Z", "secret-part"] {
        assert!(!got.head.contains(part), "{part}: {}", got.head);
    }
}
