//! Callers over HTTP/2 who keep a connection open and send or read nothing.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use http::{StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::Gateway;
use support::http::{CHAT, post};
use support::provider::{COMPLETION, STREAM, Script, answer, provider, write};

/// Nothing here takes as long, if it ends.
const LONG: Duration = Duration::from_secs(10);

/// A connection of HTTP/2.
pub struct Caller {
    address: SocketAddr,
    sender: SendRequest<http_body_util::Full<bytes::Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Caller {
    /// Connects; so many bytes of each response may be in flight.
    pub async fn new(gateway: &Gateway, window: u32) -> Self {
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        Self {
            address: gateway.address,
            sender,
            connection: tokio::spawn(connection),
        }
    }

    /// The response to a request.
    async fn ask(&mut self, body: &'static str) -> http::Response<Incoming> {
        let mut request = post(CHAT, body);
        *request.uri_mut() = format!("http://{}{CHAT}", self.address).parse().unwrap();
        self.sender.send_request(request).await.unwrap()
    }

    pub async fn stream(&mut self) -> Incoming {
        let asked = self.ask(r#"{"model":"m","messages":[],"stream":true}"#);
        asked.await.into_body()
    }
}

/// A streamed response of so many events, with a pause before each.
async fn give(mut stream: TcpStream, event: String, count: usize, pause: u64) {
    write(&mut stream, STREAM).await;
    for _ in 0..count {
        sleep(Duration::from_millis(pause)).await;
        if stream.write_all(event.as_bytes()).await.is_err() {
            return;
        }
    }
    write(&mut stream, "data: [DONE]\n\n").await;
}

pub async fn gateway(script: Script, timeouts: serde_json::Value) -> Gateway {
    let (address, received) = provider(script).await;
    // Nothing reads what it gets.
    std::mem::forget(received);
    Gateway::start(address, json!({ "timeouts": timeouts })).await
}

fn event() -> String {
    "data: {\"choices\":[]}\n\n".to_owned()
}

pub fn long_event() -> String {
    let said = "x".repeat(1_000);
    format!("data: {{\"choices\":[],\"x\":\"{said}\"}}\n\n")
}

#[tokio::test]
async fn http2_without_tls_works_too() {
    let script: Script =
        |mut stream| async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed();
    let gateway = gateway(script, json!({})).await;
    let mut caller = Caller::new(&gateway, 1 << 20).await;
    for _ in 0..3 {
        let answer = caller.ask(r#"{"model":"m","messages":[]}"#).await;
        let expected = (StatusCode::OK, Version::HTTP_2);
        assert_eq!((answer.status(), answer.version()), expected);
    }
}

#[tokio::test]
async fn who_asks_nothing_is_not_waited_for() {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    // `:method: GET`, and the rest of the block never comes.
    const BEGUN: &[u8] = &[0, 0, 1, 1, 1, 0, 0, 0, 1, 0x82];
    let script: Script = |stream| give(stream, event(), 1, 0).boxed();
    let gateway = gateway(script, json!({ "head": "500ms", "idle": "1s" })).await;
    for frames in [&[][..], &[SETTINGS], &[SETTINGS, BEGUN]] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        stream.write_all(preface).await.unwrap();
        stream.write_all(&frames.concat()).await.unwrap();
        let mut answer = Vec::new();
        let ends = timeout(LONG, stream.read_to_end(&mut answer)).await;
        // A reset is an end too.
        assert!(ends.is_ok(), "{frames:?}: it goes on");
    }
}

#[tokio::test]
async fn an_answer_may_take_longer_than_a_head() {
    let script: Script = |stream| give(stream, event(), 4, 500).boxed();
    let gateway = gateway(script, json!({ "head": "500ms" })).await;
    let mut caller = Caller::new(&gateway, 1 << 20).await;
    for _ in 0..2 {
        let answer = caller.stream().await.collect().await.unwrap().to_bytes();
        let events = String::from_utf8_lossy(&answer).matches("choices").count();
        assert_eq!(events, 4);
    }
    let ended = timeout(LONG, caller.connection).await.expect("it goes on");
    ended.unwrap().unwrap();
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_not_waited_for() {
    let script: Script = |stream| give(stream, long_event(), usize::MAX, 5).boxed();
    let gateway = gateway(script, json!({ "idle": "1s" })).await;
    let mut caller = Caller::new(&gateway, 16 << 10).await;
    // One reads everything, the other nothing, and then what was in flight.
    let (mut all, mut none) = (caller.stream().await, caller.stream().await);
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        all.frame().await.expect("a piece").expect("no reset");
    }
    let rest = async { while let Some(Ok(_)) = none.frame().await {} };
    assert!(timeout(LONG, rest).await.is_ok(), "it goes on");
    assert_eq!(gateway.record().await["outcome"], "client_closed");
}

#[tokio::test]
async fn who_takes_little_at_a_time_has_no_longer_than_others() {
    // There is always more.
    let script: Script = |stream| give(stream, long_event(), 1_000, 0).boxed();
    let gateway = gateway(script, json!({ "total": "1s" })).await;
    let mut caller = Caller::new(&gateway, 4 << 10).await;
    let mut answer = caller.stream().await;
    let slowly = async {
        while let Some(Ok(_)) = answer.frame().await {
            sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(timeout(LONG, slowly).await.is_ok(), "it goes on");
    assert_eq!(gateway.record().await["outcome"], "timed_out");
}
