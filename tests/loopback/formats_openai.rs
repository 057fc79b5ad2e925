//! OpenAI's responses and the companions of its chat at the wire.

use futures_util::FutureExt;
use http::StatusCode;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::{Reply, post};
use support::provider::{STREAM, answer, provider, write};

const RESPONSES: &str = "/v1/responses";
const RESPONSE: &str = r#"{"id":"resp_1","object":"response","status":"completed","model":"m","service_tier":"default","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":1}}}"#;
/// Longer than most events may be.
const IMAGE: usize = 2 << 20;

fn speaks(more: &Value) -> Value {
    let mut entry = json!({ "compatibility": { "openai_chat": true, "openai_responses": true } });
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        entry[key] = value;
    }
    json!({ "provider": entry })
}

/// The events of a stream, as JSON.
fn events(reply: &Reply) -> Vec<Value> {
    reply
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect()
}

#[tokio::test]
async fn a_response_is_relayed_and_counted() {
    let (address, mut received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "connection: close\r\n", RESPONSE).await }
            .boxed()
    })
    .await;
    let gateway = Gateway::start(address, speaks(&json!({}))).await;
    let mut request = post(
        RESPONSES,
        r#"{ "model":"p/m" , "input": "hi", "store":false}"#,
    );
    let session = "turns-of-codex".parse().unwrap();
    request.headers_mut().insert("session_id", session);
    let reply = gateway.send(request).await;
    assert_eq!(
        (reply.status, reply.text()),
        (StatusCode::OK, RESPONSE.to_owned())
    );
    let got = received.recv().await.unwrap();
    assert!(got.head.starts_with("POST /v1/responses "), "{}", got.head);
    let sent = String::from_utf8(got.body).unwrap();
    assert_eq!(sent, r#"{ "model":"m" , "input": "hi", "store":false}"#);
    let row = gateway.record_of(RESPONSES).await;
    assert_eq!(row["api"], "openai_responses");
    assert_eq!(row["session"], "turns-of-codex");
    assert_eq!(row["finish_reason"], "completed");
    let usage = &row["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["output_tokens"]),
        (&json!(9), &json!(3))
    );
    assert_eq!(usage["reasoning_tokens"], 1);
}

#[tokio::test]
async fn the_backend_of_chatgpt_gets_its_own_paths() {
    let (address, mut received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "connection: close\r\n", RESPONSE).await }
            .boxed()
    })
    .await;
    let base = format!("http://{address}/backend-api/codex");
    let gateway = Gateway::start(address, speaks(&json!({ "baseurl": base }))).await;
    let reply = gateway
        .send(post("/codex/responses", r#"{"model":"m","input":"hi"}"#))
        .await;
    assert_eq!(reply.status, StatusCode::OK);
    let head = received.recv().await.unwrap().head;
    assert!(
        head.starts_with("POST /backend-api/codex/responses "),
        "{head}"
    );
}

#[tokio::test]
async fn refusals_are_errors_of_openai() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let mut config = speaks(&json!({}));
    config["limits"] = json!({ "request_body": 1000 });
    let gateway = Gateway::start(nobody, config).await;
    let long = format!(r#"{{"model":"m","input":"{}"}}"#, "x".repeat(1000));
    for (path, body, status, kind, code) in [
        (
            RESPONSES,
            r#"{"model":"none","input":""}"#,
            404,
            "invalid_request_error",
            "model_not_found",
        ),
        (
            RESPONSES,
            &*long,
            413,
            "invalid_request_error",
            "body_too_large",
        ),
        (
            RESPONSES,
            r#"{"input":""}"#,
            400,
            "invalid_request_error",
            "model_required",
        ),
        (
            RESPONSES,
            r#"{"model":"m","input":""}"#,
            502,
            "server_error",
            "provider_unreachable",
        ),
        (
            "/v1/embeddings",
            r#"{"model":"none"}"#,
            404,
            "invalid_request_error",
            "model_not_found",
        ),
        (
            "/rerank",
            r#"{"model":"m"}"#,
            502,
            "server_error",
            "provider_unreachable",
        ),
    ] {
        let reply = gateway.send(post(path, body)).await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        let error = &reply.json()["error"];
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!(kind), &json!(code))
        );
        let param = (code == "model_required").then_some("model");
        assert!(error["message"].is_string() && error["param"] == json!(param));
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_and_is_estimated() {
    let (address, _received) = provider(|mut stream| {
        async move {
            let started = r#"{"type":"response.created","response":{"id":"r","status":"in_progress","output":[]}}"#;
            let piece = r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"half a sentence"}"#;
            let sent = format!(
                "{STREAM}event: response.created\ndata: {started}\n\nevent: response.output_text.delta\ndata: {piece}\n\n"
            );
            write(&mut stream, &sent).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, speaks(&json!({}))).await;
    let body = r#"{"model":"m","input":"hi","stream":true}"#;
    let reply = gateway.send(post(RESPONSES, body)).await;
    assert!(reply.broken);
    let events = events(&reply);
    assert_eq!(events.len(), 3, "{events:?}");
    let last = &events[2];
    assert_eq!(
        (&last["type"], &last["code"], &last["error"]["code"]),
        (
            &json!("error"),
            &json!("provider_broke_off"),
            &json!("provider_broke_off")
        )
    );
    assert!(reply.text().contains("event: error\n"));
    let row = gateway.record_of(RESPONSES).await;
    assert_eq!(row["outcome"], "upstream_error");
    assert_eq!(row["usage"]["estimated"], true);
    assert_eq!(row["usage"]["output_tokens"], 3);
}

#[tokio::test]
async fn a_form_goes_on_with_another_model_and_nothing_else() {
    let (address, mut received) = provider(|mut stream| {
        async move {
            let text =
                r#"{"text":"hi","usage":{"type":"tokens","input_tokens":14,"output_tokens":2}}"#;
            answer(&mut stream, "200 OK", "connection: close\r\n", text).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, speaks(&json!({}))).await;
    let path = "/v1/audio/transcriptions";
    let form = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
        Content-Type: audio/wav\r\n\r\nRIFF\r\n--X\r\nmodel\r\n--XX\r\n\
        Content-Disposition: form-data; name=\"model\"\r\n\r\np/m\r\n--XX--\r\n";
    let typed = |kind: &str| {
        let mut request = post(path, form);
        request
            .headers_mut()
            .insert("content-type", kind.parse().unwrap());
        request
    };
    let reply = gateway
        .send(typed("multipart/form-data; boundary=XX"))
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let sent = String::from_utf8(received.recv().await.unwrap().body).unwrap();
    assert_eq!(sent, form.replace("p/m", "m"));
    let row = gateway.record_of(path).await;
    assert_eq!(row["api"], "openai_audio");
    assert_eq!(row["usage"]["input_tokens"], 14);
    // In another character set the form would be another one.
    let reply = gateway
        .send(typed("multipart/form-data; charset=utf-7; boundary=XX"))
        .await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
    // The second of two types would change it as well.
    let mut request = typed("multipart/form-data; boundary=XX");
    let other = "multipart/form-data; boundary=X".parse().unwrap();
    request.headers_mut().append("content-type", other);
    let reply = gateway.send(request).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn an_image_is_longer_than_other_events_and_counts() {
    let (address, _received) = provider(|mut stream| {
        async move {
            let image = "A".repeat(IMAGE);
            let usage = r#"{"input_tokens":5,"output_tokens":4160,"input_tokens_details":{"text_tokens":5,"image_tokens":0}}"#;
            let event = format!(
                r#"{{"type":"image_generation.completed","b64_json":"{image}","usage":{usage}}}"#
            );
            let sent = format!("{STREAM}event: image_generation.completed\ndata: {event}\n\n");
            write(&mut stream, &sent).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, speaks(&json!({}))).await;
    let path = "/v1/images/generations";
    let body = r#"{"model":"m","prompt":"a cat","stream":true}"#;
    let reply = gateway.send(post(path, body)).await;
    assert!(!reply.broken && reply.body.len() > IMAGE);
    let row = gateway.record_of(path).await;
    assert_eq!(row["outcome"], "complete", "{row}");
    assert_eq!(row["usage"]["output_tokens"], 4160);
}
