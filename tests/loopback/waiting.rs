//! Streams that wait for their next event, over HTTP/1: what the caller gets, and what its connection does then.

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::Gateway;
use support::http::CHAT;
use support::provider::{STREAM, provider, write};

const STREAMED: &str = r#"{"model":"m","messages":[],"stream":true}"#;
const EVENT: &str = "data: {\"choices\":[]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// A gateway whose provider gives an event, and the rest some time later.
async fn gateway() -> Gateway {
    let (address, received) = provider(|stream| gives(stream).boxed()).await;
    // Nothing reads what it gets.
    std::mem::forget(received);
    Gateway::start(address, json!({})).await
}

async fn gives(mut stream: TcpStream) {
    write(&mut stream, STREAM).await;
    write(&mut stream, EVENT).await;
    sleep(Duration::from_millis(300)).await;
    write(&mut stream, EVENT).await;
    write(&mut stream, DONE).await;
}

pub fn request(gateway: &Gateway, version: &str, more: &str) -> String {
    let request = [
        &format!("POST {CHAT} HTTP/{version}"),
        &format!("host: {}", gateway.address),
        "content-type: application/json",
        &format!("content-length: {}{more}", STREAMED.len()),
        "",
        STREAMED,
    ];
    request.join("\r\n")
}

/// Sends `first`, and `second` once the first event has come, and reads to the end of the connection.
async fn exchanged(gateway: &Gateway, first: &str, second: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(first.as_bytes()).await.unwrap();
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&all).contains(EVENT) {
        let length = stream.read(&mut piece).await.unwrap();
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&piece[..length]);
    }
    stream.write_all(second.as_bytes()).await.unwrap();
    stream.read_to_end(&mut all).await.unwrap();
    String::from_utf8(all).unwrap()
}

/// The data of chunks, which are whole and followed by nothing.
fn unchunked(mut chunks: &str) -> String {
    let mut data = String::new();
    loop {
        let (size, rest) = chunks.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        data.push_str(&rest[..size]);
        chunks = rest[size..].strip_prefix("\r\n").unwrap();
        if size == 0 {
            assert_eq!(chunks, "");
            return data;
        }
    }
}

#[tokio::test]
async fn a_connection_serves_the_request_that_came_while_a_stream_waited() {
    let gateway = gateway().await;
    let first = request(&gateway, "1.1", "");
    let second = request(&gateway, "1.1", "\r\nconnection: close");
    let all = exchanged(&gateway, &first, &second).await;
    let ends = all.find("\r\n0\r\n\r\n").unwrap() + 7;
    for response in [&all[..ends], &all[ends..]] {
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert_eq!(unchunked(body), [EVENT, EVENT, DONE].concat());
    }
    for _ in 0..2 {
        assert_eq!(gateway.record().await["outcome"], "complete");
    }
}

#[tokio::test]
async fn a_caller_of_http_1_0_gets_a_stream_without_chunks() {
    let gateway = gateway().await;
    let all = exchanged(&gateway, &request(&gateway, "1.0", ""), "").await;
    let (_, body) = all.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, [EVENT, EVENT, DONE].concat());
}

#[tokio::test]
async fn a_caller_who_leaves_a_stream_that_waits_is_noticed() {
    let gateway = gateway().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let request = request(&gateway, "1.1", "");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut piece = [0; 4096];
    assert_ne!(stream.read(&mut piece).await.unwrap(), 0);
    sleep(Duration::from_millis(50)).await;
    drop(stream);
    assert_eq!(gateway.record().await["outcome"], "client_closed");
}
