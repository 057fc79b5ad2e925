//! The provider connections that a WebSocket's requests use, and messages that callers leave half sent.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use crate::Gateway;
use support::provider::write;

/// A request at a provider: the number of its connection, two headers of the handshake, and the model.
type Heard = std::sync::Arc<std::sync::Mutex<Vec<(usize, String, String, String)>>>;

/// A provider that completes each response, and after `most` of them closes a connection when it is
/// asked for one more.
async fn provider(most: usize) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Heard::default();
    let log = heard.clone();
    tokio::spawn(async move {
        for nth in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let log = log.clone();
            tokio::spawn(async move {
                let mut headers = [String::new(), String::new()];
                #[expect(clippy::result_large_err, reason = "the library's type")]
                let look =
                    |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
                        for (name, into) in ["authorization", "x-team"].iter().zip(&mut headers) {
                            let value = request.headers().get(*name);
                            *into = value
                                .map_or(String::new(), |value| value.to_str().unwrap().to_owned());
                        }
                        Ok(response)
                    };
                let Ok(mut socket) = accept_hdr_async(stream, look).await else {
                    return;
                };
                for _ in 0..most {
                    let Some(Ok(Message::Text(text))) = socket.next().await else {
                        return;
                    };
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    let [key, team] = headers.clone();
                    let model = frame["model"].as_str().unwrap_or_default().to_owned();
                    log.lock().unwrap().push((nth, key, team, model));
                    let done = json!({"type":"response.completed","response":{"id":"r","status":"completed",
                        "output":[],"usage":{"input_tokens":1,"output_tokens":1}}});
                    let _ = socket.send(Message::text(done.to_string())).await;
                }
                // The next one gets no response.
                let _ = socket.next().await;
            });
        }
    });
    (address, heard)
}

fn speaks() -> Value {
    json!({ "openai_responses": true, "openai_responses_websocket": true })
}

async fn open(gateway: &Gateway) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let url = format!("ws://{}/v1/responses", gateway.address);
    client_async(url, stream).await.expect("a WebSocket").0
}

/// The event that ends a response.
async fn response(socket: &mut WebSocketStream<TcpStream>, model: &str) -> String {
    let frame = json!({ "type": "response.create", "model": model, "input": "hi" });
    socket.send(Message::text(frame.to_string())).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(10), socket.next());
    match next.await.expect("something comes") {
        Some(Ok(Message::Text(text))) => {
            let event: Value = serde_json::from_str(&text).unwrap();
            event["type"].as_str().unwrap().to_owned()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_kept_connection_is_for_the_same_headers_and_rules() {
    let (old, old_heard) = provider(9).await;
    let (new, new_heard) = provider(9).await;
    let grants = json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
        { "role": "admin" },
        { "models": "p/m", "add_headers": ["X-Team: m"] },
        { "models": "p/n", "add_headers": ["X-Team: n"] },
    ] } }]);
    let provider = json!({ "models": ["m", "n"], "apikey": "first", "compatibility": speaks() });
    let gateway = Gateway::start(old, json!({ "provider": provider, "grants": grants })).await;
    let mut socket = open(&gateway).await;
    for model in ["m", "m", "n"] {
        assert_eq!(response(&mut socket, model).await, "response.completed");
    }
    let seen = |heard: &Heard| -> Vec<_> { std::mem::take(&mut *heard.lock().unwrap()) };
    let key = |key: &str| format!("Bearer {key}");
    let row = |nth, of: &str, team: &str| (nth, key(of), team.to_owned(), team.to_owned());
    assert_eq!(
        seen(&old_heard),
        [
            row(0, "first", "m"),
            row(0, "first", "m"),
            row(1, "first", "n")
        ]
    );
    // Another key, and then another server.
    let change = async |from: &str, to: &str| {
        let text = std::fs::read_to_string(gateway.config()).unwrap();
        std::fs::write(gateway.config(), text.replace(from, to)).unwrap();
        // It has been read since.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    };
    change("\"first\"", "\"second\"").await;
    assert_eq!(response(&mut socket, "n").await, "response.completed");
    assert_eq!(seen(&old_heard), [row(2, "second", "n")]);
    change(&old.to_string(), &new.to_string()).await;
    assert_eq!(response(&mut socket, "n").await, "response.completed");
    assert_eq!(seen(&old_heard), []);
    assert_eq!(seen(&new_heard), [row(0, "second", "n")]);
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_is_replaced() {
    let (address, heard) = provider(1).await;
    let gateway = Gateway::start(
        address,
        json!({ "provider": { "compatibility": speaks() } }),
    )
    .await;
    let mut socket = open(&gateway).await;
    for _ in 0..3 {
        assert_eq!(response(&mut socket, "m").await, "response.completed");
    }
    let connections: Vec<usize> = heard.lock().unwrap().iter().map(|row| row.0).collect();
    assert_eq!(connections, [0, 1, 2]);
    gateway
        .record_where(|row| {
            row["reasons"]
                .to_string()
                .contains("asking it again on a new one")
        })
        .await;
    // One that never answers is asked once.
    let (silent, _) = provider(0).await;
    let gateway =
        Gateway::start(silent, json!({ "provider": { "compatibility": speaks() } })).await;
    let mut socket = open(&gateway).await;
    assert_eq!(response(&mut socket, "m").await, "error");
}

#[tokio::test]
async fn another_provider_is_asked_where_one_is_gone_or_not_paid_for() {
    let (well, heard) = provider(9).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = closed.local_addr().unwrap();
    drop(closed);
    let other =
        json!({ "baseurl": format!("http://{well}"), "models": ["m"], "compatibility": speaks() });
    let first = json!({ "preference": 9, "compatibility": speaks() });
    let gateway =
        Gateway::start(gone, json!({ "provider": first, "others": { "q": other } })).await;
    let mut socket = open(&gateway).await;
    assert_eq!(response(&mut socket, "m").await, "response.completed");
    assert_eq!(heard.lock().unwrap().len(), 1);
    let (costly, spent) = provider(9).await;
    let grants = json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
        { "role": "admin" },
        { "models": "p/**", "quotas": [{ "bucket": "one" }] }, { "models": "q/**" },
    ] } }]);
    let more = json!({ "provider": first, "others": { "q": other }, "grants": grants,
        "quotas": { "one": { "capacity": "1 request", "rate": "1 request/day" } } });
    let gateway = Gateway::start(costly, more).await;
    let mut socket = open(&gateway).await;
    for _ in 0..3 {
        assert_eq!(response(&mut socket, "m").await, "response.completed");
    }
    assert_eq!(
        (spent.lock().unwrap().len(), heard.lock().unwrap().len()),
        (1, 3)
    );
}

/// A WebSocket by hand, for what no library sends.
async fn by_hand(gateway: &Gateway) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "GET /v1/responses HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        gateway.address
    );
    write(&mut stream, &head).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    stream
}

#[tokio::test]
async fn half_sent_messages_are_held_to_the_pace_of_bodies() {
    let (address, _heard) = provider(9).await;
    let more = json!({ "provider": { "compatibility": speaks() }, "timeouts": { "body": "1s" } });
    let gateway = Gateway::start(address, more).await;
    // The head of a long frame and some of it; a message of which the last frame is missing, with
    // a ping now and then.
    let half: &[u8] = &[0x81, 0xfe, 0x40, 0x00, 0, 0, 0, 0, b'{'];
    let fragment: &[u8] = &[0x01, 0x81, 0, 0, 0, 0, b'{'];
    let ping: &[u8] = &[0x89, 0x80, 0, 0, 0, 0];
    for (bytes, pings) in [(half, false), (fragment, true)] {
        let mut stream = by_hand(&gateway).await;
        stream.write_all(bytes).await.unwrap();
        let began = std::time::Instant::now();
        let mut got = Vec::new();
        let mut buf = [0; 256];
        loop {
            let read = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut buf));
            match read.await {
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(length)) => got.extend_from_slice(&buf[..length]),
                Err(_) if pings => drop(stream.write_all(ping).await),
                Err(_) => {}
            }
            assert!(
                began.elapsed() < Duration::from_secs(8),
                "it waits without end"
            );
        }
        assert!(began.elapsed() >= Duration::from_millis(900));
        let text = String::from_utf8_lossy(&got);
        assert!(text.contains("did not come in time"), "{text:?}");
    }
    // A caller may be silent between messages.
    let mut socket = open(&gateway).await;
    // Longer than a message may take.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(response(&mut socket, "m").await, "response.completed");
}
