//! Anthropic's messages at the wire.

use futures_util::FutureExt;
use http::StatusCode;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::post;
use support::provider::{STREAM, answer, provider, write};

const ASK: &str = r#"{ "max_tokens":9, "model":"m", "messages":[{"role":"user","content":"hi"}],
  "metadata":{"user_id":"{\"session_id\":\"3f-1\"}"} }"#;
const ANSWER: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"ahoy"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":4,"output_tokens":2,"cache_read_input_tokens":10,"cache_creation_input_tokens":0}}"#;

fn anthropic() -> Value {
    json!({ "provider": {
        "apikey": "a-key",
        "authorization": "x-api-key",
        "compatibility": { "anthropic_messages": true },
    } })
}

#[tokio::test]
async fn a_request_goes_on_as_it_came_and_is_counted() {
    let (address, mut received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "connection: close\r\n", ANSWER).await }.boxed()
    })
    .await;
    let gateway = Gateway::start(address, anthropic()).await;
    for (path, body) in [
        ("/v1/messages?beta=true", ASK.to_owned()),
        ("/messages", ASK.replace("\"m\"", "\"p/m\"")),
        ("/v1/messages/count_tokens?beta=true", ASK.to_owned()),
    ] {
        let mut request = post(path, &body);
        let headers = request.headers_mut();
        headers.insert("anthropic-version", "2023-06-01".parse().unwrap());
        headers.insert("anthropic-beta", "a,b".parse().unwrap());
        headers.insert("x-api-key", "their-key".parse().unwrap());
        let reply = gateway.send(request).await;
        assert_eq!(
            (reply.status, reply.text()),
            (StatusCode::OK, ANSWER.to_owned())
        );
        let got = received.recv().await.unwrap();
        let below = path.strip_prefix("/v1").unwrap_or(path);
        let line = format!("POST /v1{below} HTTP/1.1\r\n");
        assert!(got.head.starts_with(&line), "{}", got.head);
        for header in [
            "x-api-key: a-key",
            "anthropic-version: 2023-06-01",
            "anthropic-beta: a,b",
        ] {
            assert!(got.head.contains(header), "{}", got.head);
        }
        assert_eq!(got.body, ASK.as_bytes());
        let row = gateway
            .record_of(path.split('?').next().unwrap_or_default())
            .await;
        assert_eq!(
            (&row["api"], &row["model"]),
            (&json!("anthropic_messages"), &json!("m"))
        );
        let counted = if path.contains("count") {
            Value::Null
        } else {
            json!(14)
        };
        assert_eq!(row["usage"]["input_tokens"], counted, "{row}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_and_is_estimated() {
    let (address, _received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            write(&mut stream, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"type\":\"message\",\"content\":[],\"usage\":{\"input_tokens\":4,\"output_tokens\":1}}}\n\n").await;
            write(&mut stream, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n").await;
            write(&mut stream, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"ahoy, sailors\"}}\n\n").await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, anthropic()).await;
    let body = ASK.replace("\"max_tokens\":9", "\"stream\":true");
    let reply = gateway.send(post("/v1/messages", &body)).await;
    assert!(reply.broken);
    let last = reply.text();
    let last = last.trim_end().rsplit("\n\n").next().unwrap_or_default();
    assert!(last.starts_with("event: error\ndata: {"), "{last}");
    let row = gateway.record().await;
    assert_eq!(row["outcome"], "upstream_error", "{row}");
    assert_eq!(row["usage"]["input_tokens"], 4, "{row}");
    assert_eq!(row["usage"]["output_tokens"], 4, "{row}");
    assert_eq!(row["usage"]["estimated"], true, "{row}");
}

#[tokio::test]
async fn refusals_are_errors_of_anthropic() {
    let mut config = anthropic();
    config["limits"] = json!({ "request_body": 1000 });
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let gateway = Gateway::start(nowhere, config).await;
    let long = ASK.replace("hi", &"x".repeat(1000));
    for (body, status, kind) in [
        (ASK.replace("\"m\"", "\"n\""), 404, "not_found_error"),
        (long, 413, "request_too_large"),
        ("[]".to_owned(), 400, "invalid_request_error"),
        (ASK.to_owned(), 502, "api_error"),
    ] {
        let reply = gateway.send(post("/v1/messages", &body)).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(reply.json()["type"], "error");
        assert_eq!(reply.json()["error"]["type"], kind);
    }
    let mut config = anthropic();
    config["grants"] = json!([]);
    let gateway = Gateway::start(nowhere, config).await;
    let reply = gateway.send(post("/v1/messages", ASK)).await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.json()["error"]["type"], "permission_error");
}
