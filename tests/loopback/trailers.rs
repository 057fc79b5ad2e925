//! Trailers after a body: a caller's never reach a provider, and a provider's never reach a caller.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::Gateway;
use support::http::{CHAT, raw};
use support::provider::{COMPLETION, answer, provider, read_request, write};

const KEY: &str = "sk-behind-the-body-0123456789";
const CLAIMS: [(&str, &str); 6] = [
    ("authorization", "Bearer claimed"),
    ("x-api-key", "claimed"),
    ("cookie", "claimed=1"),
    ("tailscale-user-login", "claimed@example.com"),
    ("x-forwarded-for", "100.64.0.99"),
    ("x-plain", "claimed"),
];

/// A body with trailers.
fn body(
    data: &str,
    trailers: HeaderMap,
) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin + use<> {
    let data = Frame::data(Bytes::copy_from_slice(data.as_bytes()));
    let frames = [Ok(data), Ok(Frame::trailers(trailers))];
    StreamBody::new(futures_util::stream::iter(frames))
}

/// Sends over HTTP/2, and returns the whole response as text, with its trailers.
async fn over_http2(to: SocketAddr, text: &str, trailers: HeaderMap) -> String {
    let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{to}{CHAT}"))
        .header("content-type", "application/json")
        .header("te", "trailers")
        .body(body(text, trailers))
        .unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    let trailers = format!("{:?}", body.trailers());
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    format!("{head:?}\n{text}\ntrailers: {trailers}")
}

/// Sends over HTTP/1 in one chunk, and returns the whole response as it came.
async fn over_http1(to: SocketAddr, text: &str, trailers: &str) -> String {
    raw(
        to,
        &format!(
            "POST {CHAT} HTTP/1.1\r\nhost: {to}\r\nconnection: close, te\r\nte: trailers\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
             {:x}\r\n{text}\r\n0\r\n{trailers}\r\n",
            text.len()
        ),
    )
    .await
}

fn asks(model: &str) -> String {
    json!({ "model": model, "messages": [], "stream": model == "streams" }).to_string()
}

#[tokio::test]
async fn what_a_caller_says_behind_a_body_is_heard_by_nobody() {
    let (address, mut received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let with_key = json!({ "provider": { "apikey": KEY } });
    let gateway = Gateway::start(address, with_key).await;
    let mut trailers = HeaderMap::new();
    let mut lines = String::new();
    for (name, value) in CLAIMS {
        trailers.insert(name, value.parse().unwrap());
        lines.extend([name, ": ", value, "\r\n"]);
    }
    let first = over_http1(gateway.address, &asks("m"), "").await;
    let without = received.recv().await.unwrap();
    let second = over_http1(gateway.address, &asks("m"), &lines).await;
    let with = received.recv().await.unwrap();
    let third = over_http2(gateway.address, &asks("m"), trailers).await;
    let over_http2 = received.recv().await.unwrap();
    for answer in [first, second, third] {
        assert!(answer.contains(COMPLETION), "{answer}");
    }
    assert!(without.head.contains(KEY), "{}", without.head);
    for received in [with, over_http2] {
        assert_eq!(
            (received.head, received.body),
            (without.head.clone(), without.body.clone())
        );
    }
    let row = gateway.record().await;
    assert_eq!(row["login"], "(loopback)", "{row}");
}

/// A response of each kind, by what is requested, each followed by trailers that quote the key.
async fn quoting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let asked = read_request(&mut stream).await.unwrap().body;
                let (status, kind, text) = kind(&String::from_utf8(asked).unwrap());
                let answer = format!(
                    "HTTP/1.1 {status} So\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\
                     trailer: x-you-sent, set-cookie, x-plain\r\n\r\n{:x}\r\n{text}\r\n0\r\n\
                     x-you-sent: {KEY}\r\nset-cookie: key={KEY}\r\nx-plain: {KEY}\r\n\r\n",
                    text.len()
                );
                write(&mut stream, &answer).await;
            });
        }
    });
    address
}

fn kind(asked: &str) -> (u16, &'static str, &'static str) {
    if asked.contains("streams") {
        (
            200,
            "text/event-stream",
            "data: {\"choices\":[]}\n\ndata: [DONE]\n\n",
        )
    } else if asked.contains("refused") {
        (401, "application/json", r#"{"error":{"message":"no"}}"#)
    } else {
        (200, "application/json", COMPLETION)
    }
}

#[tokio::test]
async fn what_a_provider_says_behind_a_body_is_told_to_nobody() {
    let provider = json!({ "apikey": KEY, "models": ["m", "streams", "refused"] });
    let gateway = Gateway::start(quoting().await, json!({ "provider": provider })).await;
    let to = gateway.address;
    for model in ["m", "streams", "refused"] {
        let first = over_http1(to, &asks(model), "").await;
        let second = over_http2(to, &asks(model), HeaderMap::new()).await;
        assert!(first.ends_with("0\r\n\r\n"), "{first}");
        assert!(second.ends_with("trailers: None"), "{second}");
        for answer in [first, second] {
            assert!(answer.contains(kind(model).2), "{model}: {answer}");
            assert!(!answer.contains(KEY), "{model}: {answer}");
            assert!(!answer.contains("x-you-sent"), "{model}: {answer}");
        }
    }
}
