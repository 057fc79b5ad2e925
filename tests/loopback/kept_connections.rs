//! Connections to providers that are kept open, and that the providers close.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;

use crate::Gateway;
use crate::health::{has_options, health};
use support::provider::{COMPLETION, Received, Script, answer, provider, read_request, write};

const ASK: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const STREAMED: &str = r#"{"model":"m","stream":true,"messages":[]}"#;

/// Answers the first request on each connection, and closes the connection when another comes.
async fn one_each() -> (SocketAddr, tokio::sync::mpsc::Receiver<Received>) {
    provider(|mut stream| {
        async move {
            answer(&mut stream, "200 OK", "", COMPLETION).await;
            read_request(&mut stream).await;
        }
        .boxed()
    })
    .await
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_is_replaced() {
    let (address, mut asked) = one_each().await;
    let gateway = Gateway::start(address, json!({ "routing": { "attempts": 1 } })).await;
    for _ in 0..6 {
        assert_eq!(gateway.chat(ASK).await.status, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Each second request was answered on a new connection; the provider got nothing else.
    let answered = std::iter::from_fn(|| asked.try_recv().ok()).count();
    assert_eq!(answered, 6);
    let row = gateway
        .record_where(|row| row["reasons"].to_string().contains("on a new connection"))
        .await;
    assert!(
        row["reasons"]
            .to_string()
            .contains("closed a kept connection"),
        "{row}"
    );
    assert_eq!(health(&gateway, "p").await["failed"], 0);
}

#[tokio::test]
async fn the_request_without_stream_options_gets_a_new_connection_too() {
    static ASKED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let script: Script = |mut stream| {
        async move {
            // The request without them comes on a new connection, and the script runs for it too.
            let refused = r#"{"error":{"message":"Unknown parameter: stream_options"}}"#;
            let status = match ASKED.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => "400 Bad Request",
                _ => "200 OK",
            };
            let body = if status == "200 OK" {
                COMPLETION
            } else {
                refused
            };
            answer(&mut stream, status, "", body).await;
            read_request(&mut stream).await;
        }
        .boxed()
    };
    let (address, mut asked) = provider(script).await;
    let gateway = Gateway::start(address, json!({})).await;
    assert_eq!(gateway.chat(STREAMED).await.status, 200);
    let asked: Vec<bool> = std::iter::from_fn(|| asked.try_recv().ok())
        .map(|request| has_options(&request))
        .collect();
    assert_eq!(asked, [true, false]);
}

#[tokio::test]
async fn a_new_connection_that_is_closed_is_not_tried_again() {
    let script: Script = |stream| async move { drop(stream) }.boxed();
    let (address, mut asked) = provider(script).await;
    let gateway = Gateway::start(address, json!({})).await;
    assert_eq!(gateway.chat(ASK).await.status, 502);
    assert_eq!(std::iter::from_fn(|| asked.try_recv().ok()).count(), 1);
}

#[tokio::test]
async fn a_response_that_has_begun_is_not_asked_for_again() {
    let script: Script = |mut stream| {
        async move {
            answer(&mut stream, "200 OK", "", COMPLETION).await;
            read_request(&mut stream).await;
            write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-le").await;
        }
        .boxed()
    };
    let (address, mut asked) = provider(script).await;
    let gateway = Gateway::start(address, json!({})).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(gateway.chat(ASK).await.status, 502);
    assert_eq!(std::iter::from_fn(|| asked.try_recv().ok()).count(), 1);
}
