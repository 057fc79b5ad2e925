//! Frames of a WebSocket for models whose providers speak another format.

use std::net::SocketAddr;

use futures_util::{FutureExt, SinkExt};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::Receiver;
use tokio_tungstenite::tungstenite::Message;

use crate::Gateway;
use crate::hooks::gone;
use crate::translation::{provider, sent};
use crate::websocket::{create, open, until};
use support::provider::{Received, STREAM, write};

/// A gateway with a provider that takes WebSockets, and `q`, which speaks chat alone.
async fn gateway(response: Vec<String>) -> (Gateway, Receiver<Received>) {
    let (address, received) = provider(response).await;
    (in_front_of(address).await, received)
}

async fn in_front_of(address: SocketAddr) -> Gateway {
    let socket = json!({ "openai_responses": true, "openai_responses_websocket": true });
    let config = json!({
        "provider": { "models": ["other"], "compatibility": socket },
        "others": { "q": { "baseurl": format!("http://{address}"), "models": ["m"] } },
    });
    Gateway::start(gone().await, config).await
}

fn chat() -> Vec<String> {
    let chunk = |delta: Value, reason: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        let usage = json!({ "prompt_tokens": 9, "completion_tokens": 5 });
        format!(
            "data: {}\n\n",
            json!({ "id": "c1", "choices": [choice], "usage": usage })
        )
    };
    vec![
        STREAM.to_owned(),
        chunk(json!({ "content": "ahoy" }), Value::Null),
        chunk(json!({}), json!("stop")),
        "data: [DONE]\n\n".to_owned(),
    ]
}

#[tokio::test]
async fn a_frame_is_translated_and_the_next_goes_on_with_its_response() {
    let (gateway, mut received) = gateway(chat()).await;
    let mut socket = open(&gateway).await;
    create(
        &mut socket,
        json!({ "model": "m", "input": "hi", "store": false }),
    )
    .await;
    let delta = until(&mut socket, "response.output_text.delta").await;
    assert_eq!(delta["delta"], "ahoy");
    let completed = until(&mut socket, "response.completed").await;
    let got = sent(&received.recv().await.unwrap());
    assert_eq!(
        got["messages"],
        json!([{ "role": "user", "content": "hi" }])
    );
    let record = gateway.record_of("/v1/responses").await;
    assert_eq!(record["api"], "openai_responses");
    assert_eq!(
        (&record["stream"], &record["status"]),
        (&json!(true), &json!(200))
    );
    assert_eq!(record["usage"]["output_tokens"], 5, "{record}");
    let translated = record["reasons"].to_string();
    assert!(translated.contains("responses → chat"), "{translated}");

    let more = json!([{ "role": "user", "content": "more" }]);
    let id = completed["response"]["id"].clone();
    let frame = json!({ "model": "m", "input": more, "previous_response_id": id, "store": false });
    create(&mut socket, frame).await;
    until(&mut socket, "response.completed").await;
    let got = sent(&received.recv().await.unwrap());
    assert_eq!(
        got["messages"],
        json!([
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": "ahoy" },
            { "role": "user", "content": "more" },
        ])
    );
    // A response that the gateway doesn't know is refused, and the WebSocket goes on.
    let frame = json!({ "model": "m", "input": "x", "previous_response_id": "resp_0" });
    create(&mut socket, frame).await;
    let error = until(&mut socket, "error").await;
    assert_eq!(error["status"], 400, "{error}");
    create(&mut socket, json!({ "model": "m", "input": "again" })).await;
    until(&mut socket, "response.completed").await;
}

#[tokio::test]
async fn a_response_that_is_cancelled_ends_and_the_websocket_goes_on() {
    let (address, mut received) = support::provider::provider(|mut stream| {
        async move {
            for part in &chat()[..2] {
                write(&mut stream, part).await;
            }
            // Until the gateway closes the connection.
            let _ = stream.read(&mut [0]).await;
        }
        .boxed()
    })
    .await;
    let gateway = in_front_of(address).await;
    let mut socket = open(&gateway).await;
    for _ in 0..2 {
        create(&mut socket, json!({ "model": "m", "input": "hi" })).await;
        let created = until(&mut socket, "response.created").await;
        until(&mut socket, "response.output_text.delta").await;
        let cancel = json!({ "type": "response.cancel", "response_id": created["response"]["id"] });
        socket
            .send(Message::text(cancel.to_string()))
            .await
            .unwrap();
        let cancelled = until(&mut socket, "response.cancelled").await;
        assert_eq!(cancelled["response"]["id"], created["response"]["id"]);
        assert_eq!(cancelled["response"]["status"], "cancelled");
        received.recv().await.unwrap();
    }
    let record = gateway.record_of("/v1/responses").await;
    assert_eq!(record["outcome"], "client_closed", "{record}");
    assert_eq!(record["usage"]["output_tokens"], 5, "{record}");
}

#[tokio::test]
async fn a_failure_of_the_provider_is_told_with_an_event() {
    let body = r#"{"error":{"message":"too many words"}}"#;
    let head =
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let response = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let (gateway, _received) = gateway(vec![response]).await;
    let mut socket = open(&gateway).await;
    create(&mut socket, json!({ "model": "m", "input": "hi" })).await;
    let error = until(&mut socket, "error").await;
    assert_eq!(error["error"]["message"], "too many words", "{error}");
    let record = gateway.record_of("/v1/responses").await;
    assert_eq!(record["outcome"], "upstream_error", "{record}");
    assert_eq!(record["status"], 400, "{record}");
}
