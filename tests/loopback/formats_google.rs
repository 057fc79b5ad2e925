//! Google's formats at the wire: Gemini's developer API, and Vertex.

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::post;
use support::provider::{STREAM, answer, provider, write};

const GENERATE: &str = "/v1beta/models/m:generateContent";
const ASK: &str = r#"{ "contents":[{"role":"user","parts":[{"text":"hi"}]}] }"#;
const ANSWER: &str = r#"{"candidates":[{"content":{"parts":[{"text":"hello"}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":2,"thoughtsTokenCount":3,"totalTokenCount":9}}"#;
const PIECE: &str = r#"{"candidates":[{"content":{"parts":[{"text":"hello wo"}],"role":"model"}}],"usageMetadata":{"promptTokenCount":4,"totalTokenCount":4}}"#;

fn gemini() -> Value {
    json!({ "provider": {
        "apikey": "g-key",
        "authorization": "x-goog-api-key",
        "compatibility": { "gemini_generate_content": true },
    } })
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

fn status(reply: &support::http::Reply) -> String {
    reply.json()["error"]["status"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_request_goes_on_as_it_came_and_is_counted() {
    let (address, mut received) = whole().await;
    let gateway = Gateway::start(address, gemini()).await;
    for path in [
        "/v1beta/models/m:generateContent?key=callers-own",
        "/v1/models/p%2Fm:generateContent",
        "/v1alpha/models/p/m:generateContent?alt=json&a=b&key=x",
    ] {
        let reply = gateway.send(post(path, ASK)).await;
        assert_eq!(
            (reply.status, reply.text()),
            (StatusCode::OK, ANSWER.to_owned())
        );
        let got = received.recv().await.unwrap();
        let version = path.split('/').nth(1).unwrap();
        let query = if path.contains("alt") {
            "?alt=json"
        } else {
            ""
        };
        let line = format!("POST /{version}/models/m:generateContent{query} HTTP/1.1\r\n");
        assert!(got.head.starts_with(&line), "{}", got.head);
        assert!(got.head.contains("x-goog-api-key: g-key"), "{}", got.head);
        assert!(!got.head.contains("callers-own"), "{}", got.head);
        assert_eq!(got.body, ASK.as_bytes());
    }
    let row = gateway.record().await;
    assert_eq!(row["api"], "gemini_generate_content");
    assert_eq!(row["usage"]["input_tokens"], 4);
    assert_eq!(row["usage"]["output_tokens"], 5);
    assert_eq!(row["usage"]["reasoning_tokens"], 3);
}

#[tokio::test]
async fn streams_of_both_kinds() {
    let (address, mut received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            write(
                &mut stream,
                &format!("data: {PIECE}\r\n\r\ndata: {ANSWER}\r\n\r\n"),
            )
            .await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, gemini()).await;
    let path = "/v1beta/models/m:streamGenerateContent?alt=sse";
    let reply = gateway.send(post(path, ASK)).await;
    assert_eq!(
        reply.text(),
        format!("data: {PIECE}\r\n\r\ndata: {ANSWER}\r\n\r\n")
    );
    assert!(!reply.broken);
    let got = received.recv().await.unwrap();
    assert!(
        got.head.starts_with(&format!("POST {path} ")),
        "{}",
        got.head
    );
    let row = gateway.record().await;
    assert_eq!(
        (&row["outcome"], &row["stream"]),
        (&json!("complete"), &json!(true))
    );
    assert_eq!(row["usage"]["output_tokens"], 5);

    let (address, _received) = provider(|mut stream| {
        async move {
            let array = format!("[{PIECE}\n,\n{ANSWER}]\n");
            answer(&mut stream, "200 OK", "connection: close\r\n", &array).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, gemini()).await;
    let reply = gateway
        .send(post("/v1beta/models/m:streamGenerateContent", ASK))
        .await;
    assert_eq!(reply.json().as_array().unwrap().len(), 2);
    let row = gateway.record().await;
    assert_eq!(
        (&row["outcome"], &row["stream"]),
        (&json!("complete"), &json!(true))
    );
    assert_eq!(row["usage"]["input_tokens"], 4);
    assert_eq!(row["usage"]["output_tokens"], 5);
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_in_the_formats_own_way() {
    let (address, _received) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            write(&mut stream, &format!("data: {PIECE}\r\n\r\n")).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, gemini()).await;
    let path = "/v1beta/models/m:streamGenerateContent?alt=sse";
    let reply = gateway.send(post(path, ASK)).await;
    assert!(reply.broken);
    let text = reply.text();
    let event: Value = serde_json::from_str(text.rsplit("data: ").next().unwrap()).unwrap();
    assert_eq!(
        (&event["error"]["code"], &event["error"]["status"]),
        (&json!(502), &json!("UNAVAILABLE"))
    );
    let row = gateway.record().await;
    assert_eq!(row["outcome"], "upstream_error");
    assert_eq!(row["usage"]["input_tokens"], 4);
    assert_eq!(
        (&row["usage"]["output_tokens"], &row["usage"]["estimated"]),
        (&json!(2), &json!(true))
    );
}

#[tokio::test]
async fn refusals_have_the_shape_of_google() {
    let (address, _received) = whole().await;
    let mut more = gemini();
    more["limits"] = json!({ "request_body": 1000 });
    let gateway = Gateway::start(address, more).await;
    let big = format!(r#"{{"contents":"{}"}}"#, "x".repeat(1000));
    for (path, body, code, name) in [
        (
            "/v1beta/models/other:generateContent",
            ASK,
            404,
            "NOT_FOUND",
        ),
        ("/v1beta/models/m:predict", ASK, 404, "NOT_FOUND"),
        // It is there to be read.
        ("/v1beta/models/m", ASK, 405, "INVALID_ARGUMENT"),
        (
            "/v1beta/models/%2e%2e:generateContent",
            ASK,
            400,
            "INVALID_ARGUMENT",
        ),
        (
            "/v1beta/models/m:countTokens:generateContent",
            ASK,
            400,
            "INVALID_ARGUMENT",
        ),
        (
            GENERATE,
            r#"{"model":"models/other"}"#,
            400,
            "INVALID_ARGUMENT",
        ),
        (GENERATE, "[]", 400, "INVALID_ARGUMENT"),
        (GENERATE, big.as_str(), 413, "INVALID_ARGUMENT"),
    ] {
        let reply = gateway.send(post(path, body)).await;
        assert_eq!(
            (reply.status.as_u16(), status(&reply).as_str()),
            (code, name),
            "{path}: {reply:?}"
        );
        assert_eq!(reply.json()["error"]["code"], code);
    }
    let mut request = post(GENERATE, ASK);
    request
        .headers_mut()
        .insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(gateway.send(request).await.status, 415);
    let listing = Request::get("/v1/models")
        .body(Full::<Bytes>::default())
        .unwrap();
    assert_eq!(gateway.send(listing).await.json()["object"], "list");
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let gateway = Gateway::start(address, gemini()).await;
    let reply = gateway.send(post(GENERATE, ASK)).await;
    assert_eq!(
        (reply.status.as_u16(), status(&reply).as_str()),
        (502, "UNAVAILABLE")
    );
}

/// A provider of Vertex whose tokens come from `tokens`.
fn vertex(tokens: std::net::SocketAddr, flag: &str) -> Value {
    let key = json!({
        "type": "service_account",
        "project_id": "proj-1",
        "private_key_id": "key-1",
        "private_key": include_str!("../../src/net/client/fixtures/throw-away-test-key.pem"),
        "client_email": "gateway@proj-1.example",
        "token_uri": format!("http://{tokens}/token"),
    });
    let key = aws_smithy_types::base64::encode(key.to_string());
    json!({ "provider": {
        "apikey": format!("keyfile::{key}"),
        "authorization": "x-api-key",
        "region": "europe-west4",
        "compatibility": { flag: true },
    } })
}

async fn tokens() -> (
    std::net::SocketAddr,
    tokio::sync::mpsc::Receiver<support::provider::Received>,
) {
    provider(|mut stream| {
        async move {
            let token = r#"{"access_token":"ya29.token","expires_in":3599}"#;
            answer(&mut stream, "200 OK", "connection: close\r\n", token).await;
        }
        .boxed()
    })
    .await
}

#[tokio::test]
async fn vertex_gets_its_own_project_and_a_token_of_its_account() {
    let (token_at, mut exchanged) = tokens().await;
    let (address, mut received) = whole().await;
    let gateway = Gateway::start(address, vertex(token_at, "google_generate_content")).await;
    let path = "/v1/projects/_aperture_auto_vertex_project_id_/locations/_aperture_auto_vertex_region_/publishers/google/models/m:generateContent";
    for _ in 0..2 {
        let reply = gateway.send(post(path, ASK)).await;
        assert_eq!(
            (reply.status, reply.text()),
            (StatusCode::OK, ANSWER.to_owned())
        );
        let got = received.recv().await.unwrap();
        let line = "POST /v1/projects/proj-1/locations/europe-west4/publishers/google/models/m:generateContent HTTP/1.1\r\n";
        assert!(got.head.starts_with(line), "{}", got.head);
        assert!(
            got.head.contains("authorization: Bearer ya29.token"),
            "{}",
            got.head
        );
        assert_eq!(got.body, ASK.as_bytes());
    }
    let row = gateway.record().await;
    assert_eq!(row["api"], "google_generate_content");
    assert_eq!(row["usage"]["output_tokens"], 5);
    let exchange = exchanged.recv().await.unwrap();
    assert!(
        exchange.head.starts_with("POST /token HTTP/1.1\r\n"),
        "{}",
        exchange.head
    );
    assert!(exchange.body.starts_with(
        b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="
    ));
    assert!(exchanged.try_recv().is_err(), "a second exchange");
}

#[tokio::test]
async fn the_gemini_clis_short_path_reaches_vertex() {
    let (token_at, _exchanged) = tokens().await;
    let (address, mut received) = whole().await;
    let gateway = Gateway::start(
        address,
        vertex(token_at, "experimental_gemini_cli_vertex_compat"),
    )
    .await;
    let body = r#"{"contents":[{"role":"user","parts":[{"functionResponse":{"id":"1","name":"f","response":{}}}]}],"session_id":"s-1"}"#;
    assert_eq!(
        gateway.send(post(GENERATE, body)).await.status,
        StatusCode::OK
    );
    let got = received.recv().await.unwrap();
    let line = "POST /v1/projects/proj-1/locations/europe-west4/publishers/google/models/m:generateContent HTTP/1.1\r\n";
    assert!(got.head.starts_with(line), "{}", got.head);
    let sent = r#"{"contents":[{"role":"user","parts":[{"functionResponse":{"name":"f","response":{}}}]}]}"#;
    assert_eq!(String::from_utf8_lossy(&got.body), sent);
}

#[tokio::test]
async fn without_a_token_nothing_is_asked() {
    let (token_at, _exchanged) = provider(|mut stream| {
        async move {
            let refusal = r#"{"error":"invalid_grant"}"#;
            answer(
                &mut stream,
                "400 Bad Request",
                "connection: close\r\n",
                refusal,
            )
            .await;
        }
        .boxed()
    })
    .await;
    let (address, mut received) = whole().await;
    let gateway = Gateway::start(address, vertex(token_at, "google_generate_content")).await;
    let path = "/v1/projects/p/locations/r/publishers/google/models/m:generateContent";
    let reply = gateway.send(post(path, ASK)).await;
    assert_eq!(
        (reply.status.as_u16(), status(&reply).as_str()),
        (502, "UNAVAILABLE")
    );
    assert_eq!(reply.headers["x-iris-error"], "provider_credential");
    assert!(reply.message().contains("invalid_grant"), "{reply:?}");
    // A key file that can't be read is not sent as if it were a key.
    let more = json!({ "provider": {
        "apikey": "keyfile::bm8=",
        "compatibility": { "google_generate_content": true },
    } });
    let gateway = Gateway::start(address, more).await;
    assert_eq!(gateway.send(post(path, ASK)).await.status, 502);
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn listings_as_other_sdks_read_them() {
    let (address, _received) = whole().await;
    let more = json!({ "provider": {
        "models": ["m", "n"],
        "compatibility": { "gemini_generate_content": true, "anthropic_messages": true },
    } });
    let gateway = Gateway::start(address, more).await;
    let get = |path: &str| Request::get(path).header("x-goog-api-key", "any");
    let request = get("/v1beta/models?pageSize=50").body(Full::<Bytes>::default());
    let listed = gateway.send(request.unwrap()).await.json();
    assert_eq!(listed["models"].as_array().unwrap().len(), 2);
    assert_eq!(listed["models"][0]["name"], "models/m");
    let request = get("/v1/models").header("anthropic-version", "2023-06-01");
    let listed = gateway.send(request.body(Full::default()).unwrap()).await;
    let listed = listed.json();
    assert_eq!(listed["data"][1]["id"], "n");
    assert_eq!(
        (&listed["first_id"], &listed["last_id"]),
        (&json!("m"), &json!("n"))
    );
    assert_eq!(listed["has_more"], false);
    let request = get("/v1/models").body(Full::default()).unwrap();
    let listed = gateway.send(request).await.json();
    assert_eq!(listed["models"][1]["name"], "models/n");
    // A provider of another format has none, unless requests are translated for it.
    let untranslated = json!({ "provider": { "translate": false } });
    let gateway = Gateway::start(address, untranslated).await;
    let request = get("/v1beta/models").body(Full::default()).unwrap();
    assert_eq!(gateway.send(request).await.json(), json!({ "models": [] }));
}
