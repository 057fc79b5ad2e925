//! Keys over a WebSocket: one that a provider quotes, and a caller's own.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::Gateway;
use crate::websocket::{create, open, until};
use support::provider::server;

/// A provider that quotes the key it was sent in everything it sends, as one frame for each event and
/// cut into frames of four bytes.
#[expect(
    clippy::result_large_err,
    reason = "so the library wants its callbacks"
)]
async fn quoting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut key = String::new();
            let sent = |request: &Request, response: Response| {
                let value = request.headers()["authorization"].to_str().unwrap();
                value.trim_start_matches("Bearer ").clone_into(&mut key);
                Ok::<_, ErrorResponse>(response)
            };
            let mut socket = accept_hdr_async(stream, sent).await.unwrap();
            while let Some(Ok(Message::Text(text))) = socket.next().await {
                let frame: Value = serde_json::from_str(&text).unwrap();
                let is_cut = frame["input"] == "cut";
                for event in [
                    json!({"type":"response.created","response":{"id":key,"output":[]}}),
                    json!({"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":key}),
                    json!({"type":"error","error":{"message":format!("Incorrect API key: {key}.")}}),
                ] {
                    let text = event.to_string();
                    if !is_cut {
                        socket.send(Message::text(text)).await.unwrap();
                        continue;
                    }
                    let pieces: Vec<&[u8]> = text.as_bytes().chunks(4).collect();
                    for (nth, piece) in pieces.iter().enumerate() {
                        let kind = if nth == 0 { Data::Text } else { Data::Continue };
                        let is_last = nth + 1 == pieces.len();
                        let frame = Frame::message(piece.to_vec(), OpCode::Data(kind), is_last);
                        socket.send(Message::Frame(frame)).await.unwrap();
                    }
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_key_that_a_provider_quotes_is_hidden() {
    let key = "sk-quoted-in-a-frame-0123456789";
    let provider = json!({ "apikey": key, "compatibility": {
        "openai_responses": true, "openai_responses_websocket": true } });
    let config = json!({ "provider": provider, "database": { "save_raws": true } });
    let gateway = Gateway::start(quoting().await, config).await;
    let mut socket = open(&gateway).await;
    for input in ["hi", "cut"] {
        create(&mut socket, json!({"model":"m","input":input})).await;
        let created = until(&mut socket, "response.created").await;
        let stars = "*".repeat(key.len());
        assert_eq!(created["response"]["id"], stars, "{input}: {created}");
        let delta = until(&mut socket, "response.output_text.delta").await;
        assert_eq!(delta["delta"], stars, "{input}");
        let error = until(&mut socket, "error").await;
        assert_eq!(
            error["error"]["message"],
            format!("Incorrect API key: {stars}.")
        );
    }
    let row = gateway
        .record_where(|row| row["outcome"] == "upstream_error")
        .await;
    let path = format!("/api/requests/{}/capture", row["id"].as_str().unwrap());
    let request = http::Request::get(path).body(http_body_util::Full::default());
    let capture = gateway.send(request.unwrap()).await;
    assert_eq!(capture.status, 200);
    assert!(
        !format!("{row}{}", capture.text()).contains(key),
        "{}",
        capture.text()
    );
}

/// How the provider `p` does.
pub async fn health(gateway: &Gateway) -> Value {
    let request = http::Request::get("/api/providers").body(http_body_util::Full::default());
    let rows = gateway.send(request.unwrap()).await.json();
    let mut rows = rows.as_array().unwrap().iter();
    rows.find(|row| row["id"] == "p").unwrap()["health"].clone()
}

#[tokio::test]
async fn a_callers_own_key_speaks_against_no_provider() {
    for (status, code) in [
        ("401 Unauthorized", 401),
        ("403 Forbidden", 403),
        ("429 Too Many Requests", 429),
    ] {
        let (address, log) = server("127.0.0.1:0", move |_| (status, "{}".to_owned())).await;
        let provider = json!({ "auth_mode": "passthrough", "compatibility": {
            "openai_responses": true, "openai_responses_websocket": true } });
        let more = json!({ "provider": provider, "routing": { "eject_after": 2 } });
        let gateway = Gateway::start(address, more).await;
        let mut socket = open(&gateway).await;
        for _ in 0..4 {
            create(&mut socket, json!({"model":"m","input":"hi"})).await;
            let refused = until(&mut socket, "error").await;
            assert_eq!(refused["status"], code, "{refused}");
        }
        assert_eq!(log.lock().unwrap().len(), 4, "{status}");
        let health = health(&gateway).await;
        assert_eq!(health["ejected"], false, "{status}: {health}");
        assert_eq!(health["failed"], 0, "{status}: {health}");
    }
}
