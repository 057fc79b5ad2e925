//! Responses over a WebSocket, with a provider whose every frame a test chooses.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::Gateway;
use crate::websocket_keys::health;
use support::provider::server;

type Socket = WebSocketStream<TcpStream>;

/// A provider that answers each frame with the result of `answer`, and closes after a frame that is
/// `null`. The receiver gets what it was sent.
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

pub async fn open(gateway: &Gateway) -> Socket {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let url = format!("ws://{}/v1/responses", gateway.address);
    let mut request = url.into_client_request().unwrap();
    let session = "session-1".parse().unwrap();
    request.headers_mut().insert("session-id", session);
    client_async(request, stream).await.expect("a WebSocket").0
}

pub async fn create(socket: &mut Socket, frame: Value) {
    let mut frame = frame;
    frame["type"] = "response.create".into();
    socket.send(Message::text(frame.to_string())).await.unwrap();
}

/// The next event; `None` once the gateway closes.
async fn event(socket: &mut Socket) -> Option<Value> {
    let next = tokio::time::timeout(Duration::from_secs(10), socket.next());
    match next.await.expect("something comes") {
        Some(Ok(Message::Text(text))) => Some(serde_json::from_str(&text).unwrap()),
        _ => None,
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
    let record = gateway
        .record_where(|record| record["usage"]["output_tokens"] == 2)
        .await;
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
async fn a_response_that_is_acknowledged_ends_once_its_record_is_written() {
    let (address, _received) = provider(completed).await;
    let more = json!({ "records": { "acknowledge": true } });
    let gateway = gateway(address, true, more).await;
    let database = gateway.config().with_file_name("state").join("iris.db");
    let other = rusqlite::Connection::open(database).unwrap();
    other.busy_timeout(Duration::from_secs(10)).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({"model":"p/m","input":"hi"})).await;
    let early = until(&mut socket, "response.completed");
    let early = tokio::time::timeout(Duration::from_secs(1), early).await;
    assert!(early.is_err(), "it waits");
    other.execute_batch("ROLLBACK").unwrap();
    until(&mut socket, "response.completed").await;
    // Whether it is folded or not.
    let sql = "SELECT (SELECT COUNT(*) FROM requests) \
        + (SELECT COALESCE(SUM(records), 0) FROM journal)";
    let written: i64 = other.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(written, 1);
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
async fn a_handshake_for_a_model_that_is_asked_by_requests_alone_is_426() {
    let (address, _received) = provider(completed).await;
    let requests = json!({
        "baseurl": format!("http://{address}"),
        "models": ["m2"],
        "compatibility": { "openai_chat": true },
    });
    let gateway = gateway(address, true, json!({ "others": { "other": requests } })).await;
    for (model, is_taken) in [
        ("m2", false),
        ("other/m2", false),
        ("m", true),
        ("unknown", true),
    ] {
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let url = format!("ws://{}/v1/responses", gateway.address);
        let mut request = url.into_client_request().unwrap();
        let turn = json!({ "request_kind": "prewarm", "model": model }).to_string();
        let headers = request.headers_mut();
        headers.insert("x-codex-turn-metadata", turn.parse().unwrap());
        let opened = client_async(request, stream).await;
        assert_eq!(opened.is_ok(), is_taken, "{model}");
        if let Err(refused) = opened {
            assert!(refused.to_string().contains("426"), "{refused}");
        }
    }
}

#[tokio::test]
async fn refusals_and_faults_are_events_and_records() {
    let (address, _received) = provider(|frame| {
        let mut events = completed(frame);
        // It dies in the middle of its response.
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
    let record = gateway
        .record_where(|record| record["outcome"] == "upstream_error")
        .await;
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

#[tokio::test]
async fn what_asks_for_an_answer_in_disguise_reaches_no_provider() {
    let (address, mut received) = provider(completed).await;
    let gateway = gateway(address, true, json!({})).await;
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({"model":"m","input":"hi"})).await;
    until(&mut socket, "response.completed").await;
    received.recv().await.unwrap();
    for frame in [
        r#"{"type":"response.processed","type":"response.create","model":"other"}"#,
        r#"{"TYPE":"response.create","type":"response.cancel","model":"other"}"#,
        r#"{"type":"response.steer","model":"other","input":"hi"}"#,
        r#"{"model":"other"}"#,
        "hi",
    ] {
        socket.send(Message::text(frame)).await.unwrap();
        let refused = until(&mut socket, "error").await;
        // Codex ends its turn because of the status.
        assert_eq!(refused["status"], 400, "{frame}: {refused}");
        assert_eq!(refused["error"]["code"], "invalid_request");
    }
    let beside = json!({"type":"response.processed","response_id":"r"});
    socket
        .send(Message::text(beside.to_string()))
        .await
        .unwrap();
    assert_eq!(received.recv().await.unwrap(), beside);
}

#[tokio::test]
async fn a_subprotocol_is_taken_and_binary_frames_are_not() {
    let (address, _received) = provider(completed).await;
    let gateway = gateway(address, true, json!({})).await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let url = format!("ws://{}/v1/responses", gateway.address);
    let mut request = url.into_client_request().unwrap();
    let offered = "openai-insecure-api-key.x, responses.v1".parse().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offered);
    let (mut socket, response) = client_async(request, stream).await.expect("a WebSocket");
    assert_eq!(response.headers()["sec-websocket-protocol"], "responses.v1");
    socket.send(Message::binary(vec![1, 2])).await.unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else {
        panic!("it is not closed");
    };
    assert_eq!(u16::from(frame.code), 1003);
}

#[tokio::test]
async fn a_caller_who_leaves_is_on_record_with_what_came() {
    let (address, _received) = provider(|frame| completed(frame)[..2].to_vec()).await;
    let gateway = gateway(address, true, json!({})).await;
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({"model":"m","input":"hi"})).await;
    until(&mut socket, "response.output_text.delta").await;
    drop(socket);
    let record = gateway.record().await;
    assert_eq!(record["outcome"], "client_closed", "{record}");
    assert_eq!(record["usage"]["estimated"], true, "{record}");
}

#[tokio::test]
async fn a_caller_who_leaves_with_the_last_item_pays_for_what_counts_after_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        let _ = socket.next().await;
        let item =
            json!({"type":"message","id":"i","content":[{"type":"output_text","text":"hi"}]});
        let events = [
            json!({"type":"response.created","response":{"id":"r","status":"in_progress","output":[]}}),
            json!({"type":"response.output_item.done","output_index":0,"item":item}),
        ];
        for event in events {
            let _ = socket.send(Message::text(event.to_string())).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let last = json!({"type":"response.completed","response":{"id":"r","status":"completed",
            "output":[item],"usage":{"input_tokens":12,"output_tokens":9000}}});
        let _ = socket.send(Message::text(last.to_string())).await;
        let _ = socket.next().await;
    });
    let gateway = gateway(address, true, json!({})).await;
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({"model":"m","input":"x"})).await;
    until(&mut socket, "response.output_item.done").await;
    drop(socket);
    let record = gateway.record().await;
    let usage = &record["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["output_tokens"]),
        (&json!(12), &json!(9000)),
        "{record}"
    );
    assert_eq!(record["outcome"], "client_closed");
}

#[tokio::test]
async fn a_provider_that_falls_silent_is_noticed_while_the_caller_talks() {
    let (address, _received) = provider(|frame| completed(frame)[..2].to_vec()).await;
    let timeouts = json!({ "timeouts": { "idle": "400ms" } });
    let gateway = gateway(address, true, timeouts).await;
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({"model":"m","input":"hi"})).await;
    until(&mut socket, "response.output_text.delta").await;
    let mut pings = 0;
    let refused = loop {
        let wait = Duration::from_millis(100);
        match tokio::time::timeout(wait, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => break text,
            Ok(Some(Ok(_))) => {}
            Ok(_) => panic!("it ends without a word"),
            Err(_) => socket.send(Message::Ping(Vec::new().into())).await.unwrap(),
        }
        pings += 1;
        assert!(pings < 100, "it waits without end");
    };
    assert!(refused.contains("provider_timeout"), "{refused}");
}

/// Its provider accepts the connection and says nothing.
#[tokio::test]
async fn a_websocket_that_does_not_open_costs_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let timeouts = json!({ "timeouts": { "first_byte": "300ms" } });
    let gateway = gateway(silent.local_addr().unwrap(), true, timeouts).await;
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({"model":"m","input":"hi"})).await;
    let refused = until(&mut socket, "error").await;
    assert!(
        refused.to_string().contains("provider_timeout"),
        "{refused}"
    );
    let record = gateway.record_where(|record| record["status"] == 504).await;
    assert_eq!(record["cost"], 0, "{record}");
    assert_eq!(record["usage"]["input_tokens"], Value::Null, "{record}");
}

#[tokio::test]
async fn a_gateway_that_stops_ends_idle_connections() {
    let (address, _received) = provider(completed).await;
    let mut gateway = gateway(address, true, json!({})).await;
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({"model":"m","input":"hi"})).await;
    until(&mut socket, "response.completed").await;
    let stopped = tokio::time::timeout(Duration::from_secs(10), gateway.stop());
    let (stopped, last) = tokio::join!(stopped, socket.next());
    assert!(stopped.is_ok());
    assert!(
        matches!(last, Some(Ok(Message::Close(Some(_))))),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_limit_is_a_limit_over_a_websocket_too() {
    let (limited, log) = server("127.0.0.1:0", |_| {
        ("429 Too Many Requests", "{}".to_owned())
    })
    .await;
    let (well, _received) = provider(completed).await;
    let flags = json!({ "openai_responses": true, "openai_responses_websocket": true });
    let others = json!({ "q": { "baseurl": format!("http://{well}"), "models": ["m"],
        "compatibility": flags } });
    let more = json!({ "provider": { "preference": 9, "compatibility": flags },
        "others": others, "routing": { "attempts": 1, "eject_after": 1 } });
    let gateway = Gateway::start(limited, more).await;
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({"model":"m","input":"hi"})).await;
    until(&mut socket, "response.completed").await;
    assert_eq!(log.lock().unwrap().len(), 1);
    let health = health(&gateway).await;
    assert_eq!(health["ejected"], false, "{health}");
    assert!(
        health["models"][0]["limited_for"].as_u64().is_some(),
        "{health}"
    );
}

/// A provider that goes away before any byte of a response: on a new connection, or on one that has
/// served other requests, while no new one can be opened.
#[tokio::test]
async fn a_response_of_which_nothing_came_is_asked_of_another_provider() {
    let (well, _received) = provider(completed).await;
    for served_before in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            // No other connection is accepted.
            drop(listener);
            let mut socket = accept_async(stream).await.unwrap();
            let mut is_first = true;
            while let Some(Ok(Message::Text(text))) = socket.next().await {
                if !(served_before && std::mem::take(&mut is_first)) {
                    return;
                }
                let frame: Value = serde_json::from_str(&text).unwrap();
                for event in completed(&frame) {
                    socket.send(Message::text(event.to_string())).await.unwrap();
                }
            }
        });
        let others = json!({ "q": { "baseurl": format!("http://{well}"), "models": ["m"],
            "compatibility": { "openai_responses": true, "openai_responses_websocket": true } } });
        let first = json!({ "preference": 10, "compatibility": {
            "openai_responses": true, "openai_responses_websocket": true } });
        let more = json!({ "provider": first, "others": others });
        let gateway = Gateway::start(address, more).await;
        let mut socket = open(&gateway).await;
        if served_before {
            create(&mut socket, json!({"model":"m","input":"hi"})).await;
            until(&mut socket, "response.completed").await;
        }
        create(&mut socket, json!({"model":"m","input":"again"})).await;
        let done = until(&mut socket, "response.completed").await;
        assert_eq!(done["response"]["status"], "completed", "{done}");
        let record = gateway
            .record_where(|record| record["provider"] == "q")
            .await;
        assert_eq!(record["outcome"], "complete", "{record}");
        assert_eq!(record["usage"]["input_tokens"], 7, "{record}");
        let reasons = record["reasons"].to_string();
        assert!(reasons.contains("provider p failed"), "{reasons}");
        // The next one goes to the provider of the connection.
        create(&mut socket, json!({"model":"m","input":"more"})).await;
        until(&mut socket, "response.completed").await;
    }
}
