//! Gateways that are their own providers, directly or through each other.

use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::process::{ASK, Process};
use support::http::{CHAT, post, send_to};
use support::process::free_address;
use support::provider::{COMPLETION, Log, server};

/// Every format that `p` may be asked in.
const FORMATS: [(&str, &str); 4] = [
    (CHAT, ASK),
    ("/v1/responses", r#"{"model":"m","input":"hi"}"#),
    (
        "/v1/messages",
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
    ),
    (
        "/v1beta/models/m:generateContent",
        r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#,
    ),
];

fn to(address: std::net::SocketAddr) -> Value {
    json!({
        "baseurl": format!("http://{address}"),
        "models": ["m"],
        "compatibility": {
            "openai_chat": true, "openai_responses": true, "anthropic_messages": true,
            "gemini_generate_content": true,
        },
    })
}

async fn model() -> (std::net::SocketAddr, Log) {
    server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await
}

async fn records(gateway: &Process) -> Vec<Value> {
    let request = http::Request::get("/api/requests?limit=100").body(Full::default());
    let reply = send_to(gateway.address, request.unwrap()).await.unwrap();
    reply.json()["requests"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_gateway_that_is_its_own_provider_refuses_in_every_format() {
    let address = free_address();
    let gateway = Process::start_at(address, json!({ "p": to(address) }), json!({}), &[]).await;
    for (path, body) in FORMATS {
        let reply = send_to(address, post(path, body)).await.unwrap();
        assert_eq!(
            reply.status,
            StatusCode::LOOP_DETECTED,
            "{path}: {}",
            reply.text()
        );
        assert!(
            reply.text().contains("come back to a gateway"),
            "{path}: {}",
            reply.text()
        );
        assert!(
            reply.json()["error"].is_object(),
            "{path}: {}",
            reply.text()
        );
    }
    // The request and its return, and nothing more.
    assert!(records(&gateway).await.len() <= 2 * FORMATS.len());
}

#[tokio::test]
async fn two_gateways_that_ask_each_other_stop_and_ask_elsewhere() {
    let (one, two) = (free_address(), free_address());
    let (model, seen) = model().await;
    let providers = |first, second| {
        let mut all = json!({ "a": to(first), "b": to(second) });
        all["a"]["preference"] = json!(10);
        all
    };
    let first = Process::start_at(one, json!({ "p": to(two) }), json!({}), &[]).await;
    let second = Process::start_at(two, providers(one, model), json!({}), &[]).await;
    // The second prefers the first, which refuses, and then asks the model.
    let reply = first.ask().await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen.len(), 1);
    // It sees both gateways, by names that reveal nothing about their machines.
    let via = seen[0].header("via").unwrap();
    let tokens: Vec<&str> = via.split(", ").collect();
    assert_eq!(tokens.len(), 2, "{via}");
    assert!(
        tokens.iter().all(|token| token.starts_with("1.1 iris-")),
        "{via}"
    );
    assert!(records(&second).await.len() <= 2);
}

#[tokio::test]
async fn what_callers_write_into_via_is_about_their_own_request_alone() {
    let (model, seen) = model().await;
    let gateway = Process::start(json!({ "p": to(model) }), json!({}), &[]).await;
    let ask = async |via: &str| {
        let mut request = post(CHAT, ASK);
        request.headers_mut().insert("via", via.parse().unwrap());
        send_to(gateway.address, request).await.unwrap()
    };
    assert_eq!(
        ask("1.1 proxy.example, 2 cdn (x)").await.status,
        StatusCode::OK
    );
    let via = seen.lock().unwrap()[0].header("via").unwrap().to_owned();
    // Proxies in front of the gateway aren't passed on.
    assert!(
        !via.contains("proxy.example") && !via.contains("cdn"),
        "{via}"
    );
    let own = ask(&via).await;
    assert_eq!(own.status, StatusCode::LOOP_DETECTED, "{}", own.text());
    let many: Vec<String> = (0..50).map(|nth| format!("1.1 iris-{nth:016x}")).collect();
    let far = ask(&many.join(",")).await;
    assert_eq!(far.status, StatusCode::LOOP_DETECTED);
    assert!(far.text().contains("at most 8"), "{}", far.text());
    // Neither counts against the provider.
    gateway.all_succeed(3).await;
    assert_eq!(seen.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_websocket_that_comes_back_is_refused() {
    let address = free_address();
    let mut provider = to(address);
    provider["compatibility"] =
        json!({ "openai_responses": true, "openai_responses_websocket": true });
    let _gateway = Process::start_at(address, json!({ "p": provider }), json!({}), &[]).await;
    let url = format!("ws://{address}/v1/responses");
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let ask = r#"{"type":"response.create","model":"m","input":"hi"}"#;
    socket.send(Message::text(ask)).await.unwrap();
    let told = socket.next().await.unwrap().unwrap();
    let told = told.to_text().unwrap();
    assert!(told.contains("508"), "{told}");
}

#[tokio::test]
async fn the_check_names_a_provider_that_is_the_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("iris.hujson");
    let providers: serde_json::Map<String, Value> = [
        ("loopback", "http://localhost:8088/v1"),
        ("address", "http://127.0.0.1:8088"),
        ("name", "http://ai"),
        ("full", "https://ai.example.ts.net/v1"),
        ("port", "http://localhost:8089"),
        ("other", "http://ai.example.com"),
        ("neighbor", "http://ai2"),
    ]
    .into_iter()
    .map(|(id, url)| (id.to_owned(), json!({ "baseurl": url, "models": ["m"] })))
    .collect();
    let config = json!({ "listen": { "loopback": "127.0.0.1:8088" }, "providers": providers });
    std::fs::write(&path, config.to_string()).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_iris"))
        .args(["check", "--json"])
        .arg(&path)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut named: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| {
            finding["message"]
                .as_str()
                .unwrap()
                .contains("this gateway itself")
        })
        .map(|finding| finding["path"].as_str().unwrap())
        .collect();
    named.sort_unstable();
    let expected =
        ["address", "full", "loopback", "name"].map(|id| format!("providers.{id}.baseurl"));
    assert_eq!(named, expected, "{report:#}");
}
