//! Responses over a WebSocket, with a provider whose every frame a test decides.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::support::Gateway;

type Socket = WebSocketStream<TcpStream>;

/// A provider that answers each frame with what `answer` makes of it, and closes after a frame
/// that is `null`. What it got comes out of the receiver.
async fn provider(answer: fn(&Value) -> Vec<Value>) -> (SocketAddr, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, received) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut socket = accept_async(stream).await.expect("a handshake");
                while let Some(Ok(Message::Text(text))) = socket.next().await {
                    let frame: Value = serde_json::from_str(&text).expect("JSON");
                    let events = answer(&frame);
                    let _ = sender.send(frame).await;
                    for event in events {
                        if event.is_null() {
                            return;
                        }
                        let _ = socket.send(Message::text(event.to_string())).await;
                    }
                }
            });
        }
    });
    (address, received)
}

fn completed(frame: &Value) -> Vec<Value> {
    let output = json!([{"type":"message","role":"assistant",
        "content":[{"type":"output_text","text":"hi"}]}]);
    vec![
        json!({"type":"response.created","response":{"id":"r","status":"in_progress","output":[]}}),
        json!({"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"hi"}),
        json!({"type":"response.completed","response":{"id":"r","status":"completed",
            "model":frame["model"],"output":output,
            "usage":{"input_tokens":7,"output_tokens":if frame["generate"] == false { 0 } else { 2 }}}}),
    ]
}

async fn gateway(address: SocketAddr, flag: bool, more: Value) -> Gateway {
    let mut config = json!({ "provider": { "compatibility": {
        "openai_responses": true, "openai_responses_websocket": flag } } });
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        config[key] = value;
    }
    Gateway::start(address, config).await
}

async fn open(gateway: &Gateway) -> Socket {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let url = format!("ws://{}/v1/responses", gateway.address);
    let mut request = url.into_client_request().unwrap();
    let session = "session-1".parse().unwrap();
    request.headers_mut().insert("session-id", session);
    client_async(request, stream).await.expect("a WebSocket").0
}

async fn create(socket: &mut Socket, frame: Value) {
    let mut frame = frame;
    frame["type"] = "response.create".into();
    socket.send(Message::text(frame.to_string())).await.unwrap();
}

/// The next event; `None` once the gateway closes.
async fn event(socket: &mut Socket) -> Option<Value> {
    let next = tokio::time::timeout(std::time::Duration::from_secs(10), socket.next());
    match next.await.expect("something comes") {
        Some(Ok(Message::Text(text))) => Some(serde_json::from_str(&text).unwrap()),
        _ => None,
    }
}

async fn until(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let event = event(socket).await.expect("not the end yet");
        if event["type"] == kind {
            return event;
        }
    }
}

#[tokio::test]
async fn each_response_is_a_record_of_one_session() {
    let (address, mut received) = provider(completed).await;
    let gateway = gateway(address, true, json!({})).await;
    let mut socket = open(&gateway).await;
    create(
        &mut socket,
        json!({"model":"p/m","input":"hi","generate":false}),
    )
    .await;
    until(&mut socket, "response.completed").await;
    create(
        &mut socket,
        json!({"model":"p/m","input":"more","previous_response_id":"r"}),
    )
    .await;
    until(&mut socket, "response.completed").await;
    let first = received.recv().await.unwrap();
    assert_eq!(
        (&first["model"], &first["generate"]),
        (&json!("m"), &json!(false))
    );
    assert_eq!(received.recv().await.unwrap()["previous_response_id"], "r");
    let record = loop {
        let record = gateway.record().await;
        if record["usage"]["output_tokens"] == 2 {
            break record;
        }
    };
    assert_eq!(record["session"], "session-1");
    assert_eq!(record["api"], "openai_responses");
    assert_eq!(record["outcome"], "complete");
    assert_eq!(
        (&record["status"], &record["stream"]),
        (&json!(200), &json!(true))
    );
    assert_eq!(record["usage"]["input_tokens"], 7);
}

#[tokio::test]
async fn without_a_provider_that_takes_them_there_is_426() {
    let (address, _received) = provider(completed).await;
    let gateway = gateway(address, false, json!({})).await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let url = format!("ws://{}/v1/responses", gateway.address);
    let error = client_async(url, stream).await.unwrap_err().to_string();
    assert!(error.contains("426"), "{error}");
}

#[tokio::test]
async fn refusals_and_faults_are_events_and_records() {
    let (address, _received) = provider(|frame| {
        let mut events = completed(frame);
        // Dies in the middle of its answer.
        events.truncate(2);
        events.push(Value::Null);
        events
    })
    .await;
    let gateway = gateway(address, true, json!({})).await;
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({"model":"unknown","input":"hi"})).await;
    let refused = until(&mut socket, "error").await;
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("no route found"),
        "{refused}"
    );
    create(&mut socket, json!({"model":"m","input":"hi"})).await;
    until(&mut socket, "error").await;
    let record = loop {
        let record = gateway.record().await;
        if record["outcome"] == "upstream_error" {
            break record;
        }
    };
    assert_eq!(record["usage"]["estimated"], true, "{record}");
}

#[tokio::test]
async fn a_withdrawn_grant_ends_an_answer() {
    let (address, _received) = provider(|frame| completed(frame)[..2].to_vec()).await;
    let gateway = gateway(address, true, json!({})).await;
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({"model":"m","input":"hi"})).await;
    until(&mut socket, "response.output_text.delta").await;
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), text.replace("\"**\"", "\"other/**\"")).unwrap();
    let withdrawn = until(&mut socket, "error").await;
    assert!(
        withdrawn["message"].as_str().unwrap().contains("withdrawn"),
        "{withdrawn}"
    );
}

#[tokio::test]
async fn a_frame_longer_than_a_request_may_be_closes_the_connection() {
    let (address, _received) = provider(completed).await;
    let gateway = gateway(address, true, json!({ "limits": { "request_body": 4096 } })).await;
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({"model":"m","input":"x".repeat(5000)})).await;
    assert_eq!(event(&mut socket).await, None);
}
