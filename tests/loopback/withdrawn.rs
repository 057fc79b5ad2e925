//! Callers who may no longer have a response and take nothing of it: it ends all the same.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use crate::Gateway;
use crate::http2::{Caller, gateway, long_event};
use crate::waiting::request;
use crate::websocket::open;
use support::provider::{STREAM, write};

/// Withdraws the grant once nothing more of a response is taken, and expects its record.
async fn ends(gateway: &Gateway, given: &AtomicUsize) {
    let mut before = 0;
    let stalls = async {
        loop {
            sleep(Duration::from_millis(300)).await;
            let now = given.load(Ordering::Relaxed);
            if now > 0 && now == before {
                break;
            }
            before = now;
        }
    };
    let stalled = timeout(Duration::from_secs(30), stalls).await;
    stalled.expect("the response stalls");
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), text.replace("\"**\"", "\"other/**\"")).unwrap();
    let record = gateway.record().await;
    assert_eq!(record["outcome"], "refused", "{record}");
}

/// Gives events for as long as they are taken.
async fn floods(mut stream: TcpStream, given: &AtomicUsize) {
    let event = long_event();
    write(&mut stream, STREAM).await;
    while stream.write_all(event.as_bytes()).await.is_ok() {
        given.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_response_over_http1_of_which_nothing_is_taken_ends() {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    let gateway = gateway(|stream| floods(stream, &GIVEN).boxed(), json!({})).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let request = request(&gateway, "1.1", "");
    stream.write_all(request.as_bytes()).await.unwrap();
    ends(&gateway, &GIVEN).await;
    // What was on its way is followed by the end of the connection.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn a_response_over_http2_of_which_nothing_is_taken_ends() {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    let gateway = gateway(|stream| floods(stream, &GIVEN).boxed(), json!({})).await;
    let mut caller = Caller::new(&gateway, 16 << 10).await;
    let _taken = caller.stream().await;
    ends(&gateway, &GIVEN).await;
}

#[tokio::test]
async fn a_response_over_a_websocket_of_which_nothing_is_taken_ends() {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        socket.next().await.unwrap().unwrap();
        let delta = json!({"type":"response.output_text.delta","output_index":0,"content_index":0,
            "delta":"x".repeat(1_000)});
        while socket.send(Message::text(delta.to_string())).await.is_ok() {
            GIVEN.fetch_add(1, Ordering::Relaxed);
        }
    });
    let flags = json!({ "openai_responses": true, "openai_responses_websocket": true });
    let config = json!({ "provider": { "compatibility": flags } });
    let gateway = Gateway::start(address, config).await;
    let mut socket = open(&gateway).await;
    let create = json!({ "type": "response.create", "model": "m", "input": "hi" });
    socket
        .send(Message::text(create.to_string()))
        .await
        .unwrap();
    ends(&gateway, &GIVEN).await;
}
