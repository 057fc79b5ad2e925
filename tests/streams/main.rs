//! Thousands of streams through one gateway, a third of them cut at a random point by their caller: each
//! leaves one record, and complete ones have the provider's counts. On either database.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program of its own, whose helpers fail as its tests do"
)]

mod cut;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use support::http::CHAT;
use tokio::net::{TcpListener, TcpStream};

support::library_gateway!();

/// `IRIS_STREAMS` asks for more.
static STREAMS: LazyLock<usize> = LazyLock::new(|| {
    std::env::var("IRIS_STREAMS").map_or(10_000, |count| count.parse().expect("a number"))
});
const AT_ONCE: usize = 64;

/// Events of the n-th stream, before the one with its usage.
fn events(nth: usize) -> usize {
    3 + nth % 17
}

/// The provider's count of prompt tokens.
fn prompt(nth: usize) -> usize {
    100 + nth % 900
}

/// A provider that streams; the body's `user` is the number of the stream.
async fn provider() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
                let body = request.into_body().collect().await.expect("a body");
                let body: Value = serde_json::from_slice(&body.to_bytes()).expect("JSON");
                let nth = body["user"].as_str().unwrap().parse().unwrap();
                Ok::<_, Infallible>(answer(nth))
            });
            tokio::spawn(async move {
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

fn answer(
    nth: usize,
) -> Response<StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>>>> {
    let mut texts: Vec<String> = (0..events(nth))
        .map(|at| json!({"choices":[{"index":0,"delta":{"content":format!("word{at} ")}}]}))
        .chain([
            json!({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}),
            json!({"choices":[],"usage":{
                "prompt_tokens":prompt(nth),"completion_tokens":events(nth),
                "prompt_tokens_details":{"cached_tokens":nth % 50}}}),
        ])
        .map(|chunk| format!("data: {chunk}\n\n"))
        .collect();
    texts.push("data: [DONE]\n\n".to_owned());
    let frames = stream::iter(texts).then_yield();
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(StreamBody::new(frames))
        .unwrap()
}

/// Gives other tasks a turn between two events, so that they go out one by one.
trait ThenYield: futures_util::Stream<Item = String> + Sized {
    fn then_yield(self) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> {
        futures_util::StreamExt::then(self, |text| async move {
            tokio::task::yield_now().await;
            Ok(Frame::data(Bytes::from(text)))
        })
    }
}

impl<S: futures_util::Stream<Item = String>> ThenYield for S {}

fn random(seed: usize) -> usize {
    usize::try_from(support::random::random(seed as u64) >> 1).unwrap()
}

fn is_cut(nth: usize) -> bool {
    random(nth).is_multiple_of(3)
}

/// A caller who leaves before the head has arrived has asked nothing.
fn may_be_unknown(nth: usize) -> bool {
    is_cut(nth) && random(nth + *STREAMS).is_multiple_of(1500)
}

/// One stream; a cut one is left after some of its bytes, or before the first.
async fn call(address: SocketAddr, nth: usize) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("a handshake");
    let connection = tokio::spawn(connection);
    let body = json!({"model":"m","stream":true,"user":nth.to_string(),
        "messages":[{"role":"user","content":"hello"}]});
    let request = Request::post(CHAT)
        .header("host", address.to_string())
        .header("content-type", "application/json")
        .header("x-session-id", format!("s{nth}"))
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let mut left = is_cut(nth).then(|| random(nth + *STREAMS) % 1500);
    let sent = sender.send_request(request);
    if left == Some(0) {
        // Gone as soon as the request is out.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(1), sent).await;
        connection.abort();
        return;
    }
    let mut body = sent.await.expect("an answer").into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("a whole answer");
        let length = frame.data_ref().map_or(0, Bytes::len);
        if let Some(left) = &mut left {
            *left = left.saturating_sub(length);
            if *left == 0 {
                break;
            }
        }
    }
    drop(body);
    connection.abort();
}

async fn every_stream_is_one_record(database: &str) {
    let more = json!({ "database": { "url": database } });
    let gateway = Gateway::start(provider().await, more).await;
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (next, address) = (Arc::clone(&next), gateway.address);
            tokio::spawn(async move {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= *STREAMS {
                        break;
                    }
                    call(address, nth).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    // A stream that is cut before its head may leave no record.
    let certain = (0..*STREAMS).filter(|nth| !may_be_unknown(*nth)).count();
    let records = records(&gateway, certain).await;
    let (mut cut, mut whole) = (0, 0);
    for nth in 0..*STREAMS {
        let Some(found) = records.get(&format!("s{nth}")) else {
            assert!(may_be_unknown(nth), "stream {nth} is lost");
            continue;
        };
        assert_eq!(found.len(), 1, "stream {nth} is doubled");
        let (record, usage) = (&found[0], &found[0]["usage"]);
        let exact = usage["output_tokens"] == events(nth)
            && usage["input_tokens"] == prompt(nth)
            && usage["cached_tokens"] == nth % 50
            && usage["estimated"] == false;
        if !is_cut(nth) {
            assert!(exact && record["outcome"] == "complete", "{nth}: {record}");
            whole += 1;
            continue;
        }
        cut += 1;
        let none = usage["output_tokens"].is_null();
        // An estimate counts four bytes for a token, where that is more than one an event.
        let estimated = usage["estimated"] == true
            && usage["output_tokens"].as_u64() <= Some(2 * events(nth) as u64);
        assert!(exact || none || estimated, "{nth}: {record}");
    }
    assert!(
        cut > *STREAMS / 4 && whole > *STREAMS / 2,
        "{cut} cut, {whole} whole"
    );
    totals_agree(&gateway, &records).await;
}

/// All records by session, once there are `expected`: a cut stream ends when the gateway notices.
async fn records(gateway: &Gateway, expected: usize) -> HashMap<String, Vec<Value>> {
    let until = std::time::Instant::now() + std::time::Duration::from_mins(2);
    loop {
        let requests = total(gateway).await["requests"].as_u64();
        if requests >= Some(expected as u64) {
            break;
        }
        let late = std::time::Instant::now() > until;
        assert!(
            !late,
            "{requests:?} of {expected} records after two minutes"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let mut records: HashMap<String, Vec<Value>> = HashMap::new();
    let mut before = String::new();
    loop {
        let path = format!("/api/requests?limit=1000{before}");
        let request = Request::get(path).body(Full::default()).unwrap();
        let page = gateway.send(request).await.json();
        for row in page["requests"].as_array().unwrap() {
            let session = row["session"].as_str().unwrap().to_owned();
            records.entry(session).or_default().push(row.clone());
        }
        let Some(next) = page["next"].as_str() else {
            return records;
        };
        before = format!("&before={next}");
    }
}

async fn total(gateway: &Gateway) -> Value {
    let request = Request::get("/api/usage").body(Full::default()).unwrap();
    gateway.send(request).await.json()["totals"].take()
}

/// What the reports add up is what the records say.
async fn totals_agree(gateway: &Gateway, records: &HashMap<String, Vec<Value>>) {
    let total = total(gateway).await;
    let sum = |key: &str| -> u64 {
        records
            .values()
            .flatten()
            .filter_map(|row| row["usage"][key].as_u64())
            .sum()
    };
    let rows: usize = records.values().map(Vec::len).sum();
    assert_eq!(total["requests"], rows, "{total}");
    for key in ["input_tokens", "output_tokens", "cached_tokens"] {
        assert_eq!(total[key], sum(key), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    every_stream_is_one_record("sqlite:iris.db").await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    let server = tokio::task::spawn_blocking(support::postgres::Server::start)
        .await
        .unwrap();
    every_stream_is_one_record(&server.url("postgres")).await;
    server.stop();
}
