//! Invalid requests, and how they are refused.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::Gateway;
use support::http::{CHAT, post, raw};
use support::provider::{COMPLETION, answer, provider, write};

async fn gateway(more: serde_json::Value) -> Gateway {
    let (address, received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    // Nothing reads what it gets.
    std::mem::forget(received);
    Gateway::start(address, more).await
}

#[tokio::test]
async fn framing_that_can_be_read_in_two_ways() {
    let gateway = gateway(json!({})).await;
    let host = gateway.address;
    let json = "content-type: application/json";
    for (name, request) in [
        (
            "two lengths",
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: {host}\r\n{json}\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"
            ),
        ),
        (
            "length and coding",
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: {host}\r\n{json}\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "two codings",
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: {host}\r\n{json}\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "a disguised length",
            format!("POST {CHAT} HTTP/1.1\r\nhost: {host}\r\n{json}\r\ncontent_length: 2\r\n\r\n"),
        ),
        (
            "two hosts",
            format!("GET /v1/models HTTP/1.1\r\nhost: {host}\r\nhost: {host}\r\n\r\n"),
        ),
        (
            "no host",
            "GET /v1/models HTTP/1.1\r\naccept: */*; q=0.1\r\n\r\n".to_owned(),
        ),
        (
            "another target",
            format!("GET http://elsewhere/v1/models HTTP/1.1\r\nhost: {host}\r\n\r\n"),
        ),
        (
            "a space before the colon",
            format!("GET /v1/models HTTP/1.1\r\nhost : {host}\r\n\r\n"),
        ),
        (
            "a bare line feed in a name",
            format!("GET /v1/models HTTP/1.1\r\nhost: {host}\r\nx\n: y\r\n\r\n"),
        ),
    ] {
        let answer = raw(gateway.address, &request).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert_eq!(status, "400", "{name}: {answer}");
    }
    for method in ["TRACE", "CONNECT"] {
        let answer = raw(
            gateway.address,
            &format!("{method} / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
        )
        .await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn names_that_are_not_ours() {
    let gateway =
        gateway(json!({ "listen": { "loopback": "127.0.0.1:0", "names": ["llm.test"] } })).await;
    let port = gateway.address.port();
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        (format!("localhost:{port}"), 200),
        (format!("llm.test:{port}"), 200),
        (format!("attacker.example:{port}"), 421),
        ("127.0.0.1".to_owned(), 421),
        ("127.0.0.1:1".to_owned(), 421),
    ] {
        let request = Request::get("/v1/models")
            .header("host", &host)
            .body(Full::default());
        assert_eq!(
            gateway.send(request.unwrap()).await.status,
            status,
            "{host}"
        );
    }
}

#[tokio::test]
async fn bodies_beyond_the_bound() {
    let gateway = gateway(json!({ "limits": { "request_body": 1000 } })).await;
    let body = |length: usize| {
        let start = r#"{"model":"m","messages":[],"pad":""#;
        format!("{start}{}\"}}", "x".repeat(length - start.len() - 2))
    };
    assert_eq!(gateway.chat(&body(1000)).await.status, StatusCode::OK);
    let reply = gateway.chat(&body(1001)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        reply.message().contains("longer than 1000 bytes"),
        "{reply:?}"
    );
    // Without a declared length it is refused as soon as it exceeds the limit.
    let host = gateway.address;
    let chunk = format!("200\r\n{}\r\n", "x".repeat(512)).repeat(4);
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let answer = raw(gateway.address, &format!("{head}{chunk}")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn bodies_that_stall_and_heads_that_never_end() {
    let gateway = gateway(json!({ "timeouts": { "head": "300ms", "body": "300ms" } })).await;
    let host = gateway.address;
    let stalled = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{{"
    );
    assert!(
        raw(gateway.address, &stalled)
            .await
            .starts_with("HTTP/1.1 408")
    );
    for slow in ["", "G", "PRI * HT", "GET /v1/models HTTP/1.1\r\nx: y\r\n"] {
        let mut stream = tokio::net::TcpStream::connect(gateway.address)
            .await
            .unwrap();
        write(&mut stream, slow).await;
        let mut out = Vec::new();
        let closed =
            tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut out)).await;
        assert!(closed.is_ok(), "{slow:?} is waited for without end");
    }
}

#[tokio::test]
async fn heads_beyond_the_bound() {
    let gateway = gateway(json!({ "limits": { "request_head": 8192 } })).await;
    let host = gateway.address;
    let long = "x".repeat(20_000);
    let answer = raw(
        gateway.address,
        &format!("GET / HTTP/1.1\r\nhost: {host}\r\nx: {long}\r\n\r\n"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn bodies_that_are_no_json_or_no_request() {
    let gateway = gateway(json!({})).await;
    for (body, says) in [
        ("", "not acceptable"),
        ("[]", "not acceptable"),
        ("{}", "no `model`"),
        (r#"{"model":1}"#, "`model` must be"),
        (r#"{"model":""}"#, "`model` is empty; name one of these: m"),
        (r#"{"model":"m","model":"m"}"#, "not acceptable"),
        (r#"{"model":"m","MODEL":"n"}"#, "not acceptable"),
        (r#"{"model":"m","stream":"yes"}"#, "`stream` must be"),
        (r#"{"model":"m"}{"model":"n"}"#, "not acceptable"),
        (r#"{"model":"m","a":}"#, "not acceptable"),
    ] {
        let reply = gateway.chat(body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(
            reply.message().contains(says),
            "{body}: {}",
            reply.message()
        );
    }
    let mut request = post(CHAT, r#"{"model":"m","messages":[]}"#);
    request
        .headers_mut()
        .insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(
        gateway.send(request).await.status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[tokio::test]
async fn routes_that_do_not_exist_and_records_that_are_there() {
    let gateway = gateway(json!({})).await;
    assert_eq!(
        gateway.chat(r#"{"model":"m","messages":[]}"#).await.status,
        StatusCode::OK
    );
    let record = gateway.record().await;
    assert_eq!(
        (
            &record["usage"]["input_tokens"],
            &record["usage"]["output_tokens"]
        ),
        (&json!(3), &json!(5))
    );
    for (path, status) in [
        ("/nowhere", 404),
        ("/v1/models/", 200),
        ("/v1/modelsx", 404),
        ("/api/sessions?limit=0", 400),
        ("/api/sessions?what=1", 400),
        ("/api/sessions?login=%zz", 400),
        ("/api/sessions?session=%27%20OR%201%3D1%20--", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/", 200),
    ] {
        let request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
        let reply = gateway.send(request).await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        if path.contains("OR") {
            assert_eq!(reply.json()["sessions"], json!([]), "{reply:?}");
        }
    }
}
