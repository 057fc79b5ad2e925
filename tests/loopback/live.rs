//! Pages that listen get new records, are limited in number, and are closed when the gateway stops or
//! its rules change.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Gateway;
use support::provider::{COMPLETION, answer, provider};

/// A page that listens, and what it has heard.
struct Listener {
    stream: TcpStream,
    heard: String,
}

impl Listener {
    async fn open(gateway: &Gateway) -> Self {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let ask = format!(
            "GET /api/events HTTP/1.1\r\nhost: {}\r\n\r\n",
            gateway.address
        );
        stream.write_all(ask.as_bytes()).await.unwrap();
        let heard = String::new();
        let mut listener = Self { stream, heard };
        listener.until("\r\n\r\n").await;
        listener
    }

    /// Reads on until this was said. False once the stream has ended.
    async fn until(&mut self, said: &str) -> bool {
        let read = async {
            let mut bytes = [0; 1024];
            while !self.heard.contains(said) {
                let length = self.stream.read(&mut bytes).await.unwrap_or_default();
                if length == 0 {
                    return false;
                }
                self.heard
                    .push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
            true
        };
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        read.expect("something is heard, or the end")
    }
}

async fn gateway() -> Gateway {
    let (address, _received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    Gateway::start(address, json!({})).await
}

const EVENT: &str = "event: records\ndata: {}\n\n";

#[tokio::test]
async fn pages_hear_of_new_records_and_of_nothing_that_is_in_them() {
    let gateway = gateway().await;
    let mut listener = Listener::open(&gateway).await;
    assert!(listener.heard.contains("content-type: text/event-stream"));
    assert!(listener.until("retry: 5000").await);
    assert!(!listener.heard.contains(EVENT));
    for _ in 0..5 {
        gateway.chat(r#"{"model":"m","messages":[]}"#).await;
    }
    assert!(listener.until(EVENT).await);
    assert!(!listener.heard.contains("loopback)"), "{}", listener.heard);
    // The rules change: a listener has to ask again.
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), format!("{text} // changed")).unwrap();
    assert!(listener.until("\r\n0\r\n\r\n").await, "it ends in order");
}

#[tokio::test]
async fn there_is_a_bound_and_those_who_leave_make_room() {
    let gateway = gateway().await;
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(Listener::open(&gateway).await);
        assert!(all.last().unwrap().heard.starts_with("HTTP/1.1 200"));
    }
    let refused = Listener::open(&gateway).await.heard;
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after: 60"));
    all.pop();
    let end = Instant::now() + Duration::from_secs(5);
    while !Listener::open(&gateway)
        .await
        .heard
        .starts_with("HTTP/1.1 200")
    {
        assert!(Instant::now() < end, "no room is made");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn listeners_do_not_hold_up_a_stop() {
    let mut gateway = gateway().await;
    let mut listener = Listener::open(&gateway).await;
    let stopped = tokio::time::timeout(Duration::from_secs(10), gateway.stop()).await;
    assert!(stopped.is_ok(), "the stop waits for a page");
    assert!(!listener.until("nothing of the kind").await);
}
