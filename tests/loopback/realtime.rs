//! OpenAI's realtime API, with a provider whose every event a test chooses: opening a session, what passes in
//! both directions, and what is refused.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use crate::Gateway;
use support::http::post;

pub type Socket = WebSocketStream<TcpStream>;

/// How long something may take that has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a provider was sent: its handshake as `{"target", "headers"}`, and each message.
pub type Inbox = mpsc::Receiver<Value>;

/// A provider that answers its handshake (`null`) and each message with the events of `answer`. It closes
/// after one that is `null`. It declines a key `sk-declined`.
#[expect(
    clippy::result_large_err,
    reason = "so the library wants its callbacks"
)]
pub async fn provider(answer: fn(&Value) -> Vec<Value>, binary: bool) -> (SocketAddr, Inbox) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, inbox) = mpsc::channel(256);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut head = Value::Null;
                let asked = |request: &Request, response: Response| {
                    let headers = request.headers().iter();
                    let headers = headers.map(|(name, value)| {
                        let value = value.to_str().unwrap_or_default();
                        (name.to_string(), Value::from(value))
                    });
                    let headers: serde_json::Map<String, Value> = headers.collect();
                    head = json!({ "target": request.uri().to_string(), "headers": headers });
                    if head.to_string().contains("sk-declined") {
                        let mut refused = ErrorResponse::new(None);
                        *refused.status_mut() = StatusCode::UNAUTHORIZED;
                        return Err(refused);
                    }
                    Ok::<_, ErrorResponse>(response)
                };
                let Ok(mut socket) = accept_hdr_async(stream, asked).await else {
                    return;
                };
                let mut events = answer(&Value::Null);
                let _ = sender.send(head).await;
                loop {
                    for event in std::mem::take(&mut events) {
                        if event.is_null() {
                            return;
                        }
                        let text = event.to_string();
                        let frame = if binary {
                            Message::binary(text.into_bytes())
                        } else {
                            Message::text(text)
                        };
                        let _ = socket.send(frame).await;
                    }
                    let Some(Ok(message)) = socket.next().await else {
                        return;
                    };
                    if let Message::Text(text) = message {
                        let message: Value = serde_json::from_str(&text).expect("JSON");
                        events = answer(&message);
                        let _ = sender.send(message).await;
                    }
                }
            });
        }
    });
    (address, inbox)
}

/// A response with sound, from its first event to its last.
pub fn response(id: &str) -> Vec<Value> {
    vec![
        json!({"type":"response.created","event_id":"e1","response":{"object":"realtime.response","id":id,
            "status":"in_progress","output":[]}}),
        json!({"type":"response.output_audio.delta","response_id":id,"item_id":"i","output_index":0,
            "content_index":0,"delta":"AAAA"}),
        json!({"type":"response.done","event_id":"e2","response":{"object":"realtime.response","id":id,
            "status":"completed","status_details":null,
            "output":[{"id":"i","type":"message","role":"assistant","status":"completed",
                "content":[{"type":"output_audio","transcript":"hello there"}]}],
            "usage":{"total_tokens":253,"input_tokens":132,"output_tokens":121,
                "input_token_details":{"text_tokens":119,"audio_tokens":13,"image_tokens":0,
                    "cached_tokens":64,"cached_tokens_details":{"text_tokens":60,"audio_tokens":4}},
                "output_token_details":{"text_tokens":30,"audio_tokens":91}}}}),
    ]
}

fn created() -> Value {
    json!({"type":"session.created","session":{"type":"realtime","model":"m"}})
}

/// Answers as the API does; sound makes it begin to respond by itself.
pub fn usual(message: &Value) -> Vec<Value> {
    match message["type"].as_str() {
        None if message.is_null() => vec![created()],
        Some("response.create") => response("resp_1"),
        Some("input_audio_buffer.append") => {
            let mut events =
                vec![json!({"type":"input_audio_buffer.speech_stopped","item_id":"i"})];
            events.extend(response("resp_vad"));
            events
        }
        Some("session.update") => {
            vec![json!({"type":"session.updated","session":message["session"]})]
        }
        Some("conversation.item.create") => {
            vec![json!({"type":"conversation.item.added","item":message["item"]})]
        }
        _ => Vec::new(),
    }
}

pub async fn gateway(address: SocketAddr, more: Value) -> Gateway {
    let mut config = json!({
        "provider": { "models": ["m", "whisper", "other"], "compatibility": { "openai_realtime": true } },
        "model_aliases": { "models": { "voice": { "dst": ["p/m"] } } },
    });
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        config[key] = value;
    }
    Gateway::start(address, config).await
}

/// Asks for a WebSocket.
pub async fn ask(
    gateway: &Gateway,
    target: &str,
    headers: &[(&'static str, &str)],
) -> Result<(Socket, Value), (StatusCode, Value)> {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let url = format!("ws://{}{target}", gateway.address);
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match client_async(request, stream).await {
        Ok((socket, response)) => {
            let taken = response.headers().get("sec-websocket-protocol");
            let taken = taken.map(|value| value.to_str().unwrap().to_owned());
            Ok((socket, json!(taken)))
        }
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body = serde_json::from_slice(body).unwrap_or_default();
            Err((response.status(), body))
        }
        Err(error) => panic!("{error}"),
    }
}

pub async fn open(gateway: &Gateway) -> Socket {
    let opened = ask(gateway, "/v1/realtime?model=voice", &[]).await;
    let (mut socket, _) = opened.expect("a session");
    until(&mut socket, "session.created").await;
    socket
}

pub async fn send(socket: &mut Socket, message: Value) {
    socket
        .send(Message::text(message.to_string()))
        .await
        .unwrap();
}

/// The next event; the close frame as an error.
pub async fn event(socket: &mut Socket) -> Result<Value, Option<CloseFrame>> {
    loop {
        let next = tokio::time::timeout(PATIENCE, socket.next());
        return match next.await.expect("something comes") {
            Some(Ok(Message::Text(text))) => Ok(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Binary(bytes))) => Ok(serde_json::from_slice(&bytes).unwrap()),
            Some(Ok(Message::Close(frame))) => Err(frame),
            Some(Ok(_)) => continue,
            _ => Err(None),
        };
    }
}

pub async fn until(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let event = event(socket).await.expect("not the end yet");
        if event["type"] == kind {
            return event;
        }
    }
}

/// The close frame, after whatever comes before it.
pub async fn closed(socket: &mut Socket) -> CloseFrame {
    loop {
        if let Err(frame) = event(socket).await {
            return frame.expect("a reason");
        }
    }
}

/// The next message of a kind that the provider was sent.
pub async fn sent(inbox: &mut Inbox, kind: &str) -> Value {
    loop {
        let next = tokio::time::timeout(PATIENCE, inbox.recv()).await;
        let message = next.expect("something comes").expect("a provider");
        if message["type"] == kind || message.get(kind).is_some() {
            return message;
        }
    }
}

pub fn of_turn(record: &Value) -> bool {
    record["status"] == 200
}

#[tokio::test]
async fn a_turn_is_a_record_with_text_sound_and_cache() {
    let (address, mut inbox) = provider(usual, false).await;
    let prices = json!({ "m": { "input": "4", "output": "16", "input_cache_read": "0.4", "audio": "32",
        "audio_cache_read": "0.5", "audio_output": "64" } });
    let gateway = gateway(address, json!({ "prices": prices })).await;
    let headers = [
        ("openai-beta", "realtime=v1"),
        ("authorization", "Bearer sk-callers-own"),
        ("session-id", "call-7"),
    ];
    let opened = ask(&gateway, "/v1/realtime?model=voice", &headers).await;
    let (mut socket, _) = opened.expect("a session");
    let head = inbox.recv().await.unwrap();
    assert_eq!(head["target"], "/v1/realtime?model=m");
    assert_eq!(head["headers"]["openai-beta"], "realtime=v1");
    assert!(!head.to_string().contains("sk-callers-own"), "{head}");
    let item =
        json!({"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]});
    send(
        &mut socket,
        json!({"type":"conversation.item.create","item":item}),
    )
    .await;
    until(&mut socket, "conversation.item.added").await;
    send(&mut socket, json!({"type":"response.create"})).await;
    let done = until(&mut socket, "response.done").await;
    // What comes is what the provider has sent.
    assert_eq!(done, response("resp_1")[2]);
    let record = gateway.record_where(of_turn).await;
    assert_eq!(record["api"], "openai_realtime");
    assert_eq!(
        (&record["outcome"], &record["session"]),
        (&json!("complete"), &json!("call-7"))
    );
    assert_eq!(
        (&record["model"], &record["model_requested"]),
        (&json!("m"), &json!("voice"))
    );
    let usage = &record["usage"];
    for (key, count) in [
        ("input_tokens", 132),
        ("output_tokens", 121),
        ("cached_tokens", 64),
        ("audio_input_tokens", 13),
        ("audio_cached_tokens", 4),
        ("audio_output_tokens", 91),
    ] {
        assert_eq!(usage[key], count, "{key}: {record}");
    }
    // 59 of text and 9 of sound, 60 and 4 from the cache; 30 of text and 91 of sound.
    let cost = 59 * 4_000 + 9 * 32_000 + 60 * 400 + 4 * 500 + 30 * 16_000 + 91 * 64_000;
    assert_eq!(record["cost"], cost, "{record}");
    // The opening is a record too, of the same session, and costs nothing.
    let opening = gateway.record_where(|record| record["status"] == 101).await;
    assert_eq!(
        (&opening["session"], &opening["cost"]),
        (&json!("call-7"), &json!(0))
    );
    assert_eq!(opening["usage"]["input_tokens"], Value::Null);
}

#[tokio::test]
async fn a_grant_is_checked_before_a_provider_hears_of_a_session() {
    let (address, mut inbox) = provider(usual, false).await;
    let gateway = gateway(address, json!({})).await;
    for (target, status, says) in [
        ("/v1/realtime?model=nobody", 404, "no route found"),
        ("/v1/realtime", 400, "name one of these: m, whisper, other"),
        ("/v1/realtime?model=m&model=other", 400, "two models"),
        ("/v1/realtime?model=m&call_id=rtc_1", 400, "WebRTC"),
        ("/v1/realtime?intent=transcription", 400, "transcribe"),
    ] {
        let (found, body) = ask(&gateway, target, &[]).await.map(drop).unwrap_err();
        assert_eq!(found, status, "{target}: {body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{target}: {message}");
    }
    assert!(inbox.try_recv().is_err(), "no provider was asked");
    for path in [
        "/v1/realtime/client_secrets",
        "/v1/realtime/sessions",
        "/v1/realtime/calls",
        "/openai/v1/realtime/calls",
    ] {
        let refused = gateway.send(post(path, "{}")).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.text());
        assert_eq!(refused.json()["error"]["code"], "realtime_past_gateway");
    }
}

#[tokio::test]
async fn keys_in_subprotocols_stay_here_and_the_beta_is_passed_on() {
    let (address, mut inbox) = provider(usual, false).await;
    let gateway = gateway(address, json!({})).await;
    let offered = "realtime, openai-insecure-api-key.sk-callers-own, openai-beta.realtime-v1";
    let headers = [("sec-websocket-protocol", offered)];
    let opened = ask(&gateway, "/v1/realtime?model=m", &headers).await;
    let (mut socket, taken) = opened.expect("a session");
    assert_eq!(taken, "realtime");
    let head = inbox.recv().await.unwrap();
    assert_eq!(head["headers"]["openai-beta"], "realtime=v1", "{head}");
    assert!(!head.to_string().contains("sk-callers-own"), "{head}");
    send(&mut socket, json!({"type":"response.create"})).await;
    until(&mut socket, "response.done").await;
    let record = gateway.record_where(of_turn).await;
    let path = format!("/api/requests/{}/capture", record["id"].as_str().unwrap());
    let request = http::Request::get(&path).body(http_body_util::Full::default());
    let capture = gateway.send(request.unwrap()).await.text();
    assert!(!capture.contains("sk-callers-own"), "{capture}");
}

#[tokio::test]
async fn what_a_session_may_not_be_told_is_refused_by_name_and_it_goes_on() {
    let (address, mut inbox) = provider(usual, false).await;
    let grants = json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
        { "role": "admin" }, { "models": "p/m" }] } }]);
    let gateway = gateway(address, json!({ "grants": grants })).await;
    let mut socket = open(&gateway).await;
    for (message, says) in [
        (
            json!({"type":"session.update","session":{"model":"other"}}),
            "\"other\"",
        ),
        (
            json!({"type":"response.create","response":{"model":"gpt-5"}}),
            "\"gpt-5\"",
        ),
        (json!({"type":"response.steer"}), "response.steer"),
        (
            json!({"type":"input_audio_buffer.append","audio":"AA","text":"hi"}),
            "\"text\"",
        ),
        (
            json!({"type":"session.update","session":{"audio":{"input":{"transcription":
                {"model":"ungranted"}}}}}),
            "transcription",
        ),
        (
            json!({"type":"session.update","session":{"fallbacks":["other"]}}),
            "fallbacks",
        ),
        (json!("hi"), "acceptable"),
    ] {
        send(&mut socket, message.clone()).await;
        let refused = until(&mut socket, "error").await;
        let why = refused["error"]["message"].as_str().unwrap();
        assert!(why.contains(says), "{message}: {refused}");
        assert_eq!(
            refused["error"]["type"], "invalid_request_error",
            "{refused}"
        );
    }
    // Its own model, under the caller's name for it.
    send(
        &mut socket,
        json!({"type":"session.update","session":{"model":"voice","instructions":"x"}}),
    )
    .await;
    until(&mut socket, "session.updated").await;
    inbox.recv().await.unwrap();
    let update = inbox.recv().await.unwrap();
    assert_eq!(update["session"], json!({"model":"m","instructions":"x"}));
}

#[tokio::test]
async fn sound_in_a_capture_is_its_size() {
    let (address, _inbox) = provider(usual, false).await;
    let gateway = gateway(address, json!({})).await;
    let mut socket = open(&gateway).await;
    let sound = "A".repeat(40_000);
    let content =
        json!([{"type":"input_audio","audio":sound},{"type":"input_text","text":"what was that?"}]);
    let item = json!({"type":"message","role":"user","content":content});
    send(
        &mut socket,
        json!({"type":"conversation.item.create","item":item}),
    )
    .await;
    until(&mut socket, "conversation.item.added").await;
    send(
        &mut socket,
        json!({"type":"input_audio_buffer.append","audio":sound}),
    )
    .await;
    until(&mut socket, "response.done").await;
    let record = gateway.record_where(of_turn).await;
    assert!(
        record["request_bytes"].as_u64().unwrap() > 80_000,
        "{record}"
    );
    let path = format!("/api/requests/{}/capture", record["id"].as_str().unwrap());
    let request = http::Request::get(&path).body(http_body_util::Full::default());
    let capture = gateway.send(request.unwrap()).await.text();
    assert!(capture.len() < 20_000, "{}", capture.len());
    for part in ["what was that?", "[40000 bytes]", "hello there"] {
        assert!(capture.contains(part), "{part}: {capture}");
    }
}

#[tokio::test]
async fn binary_frames_long_frames_and_pings() {
    let (address, _inbox) = provider(usual, false).await;
    let gateway = gateway(address, json!({ "limits": { "request_body": 4096 } })).await;
    let mut socket = open(&gateway).await;
    socket.send(Message::Ping(vec![7].into())).await.unwrap();
    let pong = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
    assert!(matches!(pong, Some(Ok(Message::Pong(_)))), "{pong:?}");
    socket.send(Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(u16::from(closed(&mut socket).await.code), 1003);
    let mut socket = open(&gateway).await;
    send(
        &mut socket,
        json!({"type":"input_audio_buffer.append","audio":"A".repeat(5_000)}),
    )
    .await;
    assert!(event(&mut socket).await.is_err(), "it is closed");
}

#[tokio::test]
async fn an_idle_session_is_closed_and_a_gateway_that_stops_closes_it() {
    let (address, _inbox) = provider(usual, false).await;
    let timeouts = json!({ "timeouts": { "total": "400ms" } });
    let mut gateway = gateway(address, timeouts).await;
    let mut socket = open(&gateway).await;
    assert_eq!(u16::from(closed(&mut socket).await.code), 1001);
    let mut socket = open(&gateway).await;
    let ((), frame) = tokio::join!(gateway.stop(), closed(&mut socket));
    assert!([1001, 1012].contains(&u16::from(frame.code)), "{frame:?}");
}
