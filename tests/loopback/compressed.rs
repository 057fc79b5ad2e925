//! Compressed bodies: those of callers, which are decompressed before they are inspected, and those for
//! hooks that accept them.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use crate::hooks::{body, document, well};
use support::http::{CHAT, Reply};
use support::provider::{COMPLETION, Received, server};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    coder.write_all(text).unwrap();
    coder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    coder.write_all(text).unwrap();
    coder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).unwrap()
}

/// Bytes as brotli stores them: a block of up to 64 KiB that is not compressed, and the end.
fn brotli(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len() - 1).unwrap();
    // Window of 16 bits, not the last block, four nibbles of length, stored.
    let head = (length << 4) | (1 << 20);
    let mut out = head.to_le_bytes()[..3].to_vec();
    out.extend_from_slice(text);
    out.push(3);
    out
}

async fn send(gateway: &Gateway, coding: &str, body: Vec<u8>) -> Reply {
    let request = Request::post(CHAT)
        .header("content-type", "application/json")
        .header("content-encoding", coding)
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    gateway.send(request).await
}

const ASK: &str = r#"{"model":"m","messages":[{"role":"user","content":"what did I say?"}]}"#;

#[tokio::test]
async fn a_compressed_request_is_opened_and_goes_on_plain() {
    let (address, log) = server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await;
    let gateway = Gateway::start(address, json!({})).await;
    let long = ASK.replace("what", &"and what ".repeat(20_000));
    for (coding, body, plain) in [
        ("zstd", zstd(ASK.as_bytes()), ASK),
        ("zstd", zstd(long.as_bytes()), &long),
        ("gzip", gzip(ASK.as_bytes()), ASK),
        ("gzip", gzip(long.as_bytes()), &long),
        ("x-gzip", gzip(ASK.as_bytes()), ASK),
        ("deflate", zlib(ASK.as_bytes()), ASK),
        ("br", brotli(ASK.as_bytes()), ASK),
        ("identity", ASK.as_bytes().to_vec(), ASK),
    ] {
        let reply = send(&gateway, coding, body).await;
        assert_eq!(reply.status, StatusCode::OK, "{coding}: {}", reply.text());
        let last = log.lock().unwrap().pop().unwrap();
        assert_eq!(last.body, plain.as_bytes(), "{coding}");
        assert_eq!(last.header("content-encoding"), None, "{coding}");
        assert_eq!(
            last.header("content-length"),
            Some(&*plain.len().to_string()),
            "{coding}"
        );
        let id = reply.headers["x-iris-request-id"].to_str().unwrap();
        let record = gateway.record_where(|row| row["id"] == id).await;
        assert_eq!(record["request_bytes"], plain.len(), "{coding}");
    }
}

#[tokio::test]
async fn what_is_compressed_is_evaluated_like_everything_else() {
    let (address, log) = server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await;
    let more = json!({ "provider": { "models": ["m", "dear"] }, "grants": [{ "src": ["(loopback)"],
        "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }, { "models": "p/m" }] } }] });
    let gateway = Gateway::start(address, more).await;
    let dear = ASK.replace(r#""m""#, r#""dear""#);
    let reply = send(&gateway, "zstd", zstd(dear.as_bytes())).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND, "{}", reply.text());
    let twice = r#"{"model":"m","model":"dear","messages":[]}"#;
    let reply = send(&gateway, "gzip", gzip(twice.as_bytes())).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text());
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_can_not_be_opened_is_refused_with_what_could() {
    let (address, log) = server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await;
    let more = json!({ "limits": { "request_body": 100_000 } });
    let gateway = Gateway::start(address, more).await;
    let plain = ASK.as_bytes();
    let once = gzip(plain);
    let cut = once[..once.len() - 4].to_vec();
    let long = gzip(ASK.replace("what", &"and what ".repeat(20_000)).as_bytes());
    for (coding, body, status, says) in [
        ("compress", once.clone(), 415, "zstd, gzip, br, deflate"),
        ("gzip, gzip", gzip(&once), 415, "several codings"),
        ("gzip", cut, 400, "ends too early"),
        ("zstd", zstd(plain)[..10].to_vec(), 400, "zstd"),
        ("gzip", plain.to_vec(), 400, "decompressed as gzip"),
        ("zstd", once.clone(), 400, "decompressed as zstd"),
        (
            "gzip",
            [once.clone(), b"more".to_vec()].concat(),
            400,
            "gzip",
        ),
        // The decompressed length counts.
        ("gzip", long, 413, "100000 bytes"),
        ("gzip", Vec::new(), 400, ""),
    ] {
        let reply = send(&gateway, coding, body).await;
        assert_eq!(reply.status, status, "{coding}: {}", reply.text());
        assert!(
            reply.message().contains(says),
            "{coding}: {}",
            reply.message()
        );
        let accepts = reply.headers.get("accept-encoding");
        let accepts = accepts.map(|value| value.to_str().unwrap());
        assert_eq!(
            accepts,
            (status == 415).then_some("zstd, gzip, br, deflate"),
            "{coding}"
        );
    }
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_hook_that_reads_compressed_bodies_gets_them() {
    let refuses = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let turns = Arc::clone(&refuses);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = listener.local_addr().unwrap();
    let (sender, mut told) = tokio::sync::mpsc::channel::<Received>(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (sender, turns) = (sender.clone(), Arc::clone(&turns));
            tokio::spawn(async move {
                while let Some(request) = support::provider::read_request(&mut stream).await {
                    let refuses = turns.load(std::sync::atomic::Ordering::Relaxed);
                    let is_packed = request.header("content-encoding").is_some();
                    let _ = sender.send(request).await;
                    if refuses && is_packed {
                        support::provider::answer(
                            &mut stream,
                            "415 Unsupported Media Type",
                            "",
                            "{}",
                        )
                        .await;
                    } else {
                        let says = if refuses {
                            ""
                        } else {
                            "accept-encoding: zstd, gzip\r\n"
                        };
                        support::provider::answer(
                            &mut stream,
                            "200 OK",
                            says,
                            r#"{"action":"allow"}"#,
                        )
                        .await;
                    }
                }
            });
        }
    });
    let (upstream, _kept) = well().await;
    let hooks = [("press", hook, json!({ "fail_policy": "fail_closed" }))];
    let document = document(&hooks, "pre_request", &json!(["request_body"]));
    let gateway = Gateway::start(upstream, document).await;
    let ask: Value =
        json!({ "model": "m", "messages": [{ "role": "user", "content": "long ".repeat(1_000) }] });
    let chat = async || assert_eq!(gateway.chat(&ask.to_string()).await.status, 200);

    chat().await;
    let first = told.recv().await.unwrap();
    assert_eq!(first.header("content-encoding"), None);
    assert_eq!(body(&first)["request_body"], ask);
    assert_eq!(
        body(&first)["metadata"]["url"],
        format!("http://{}{CHAT}", gateway.address)
    );
    chat().await;
    let second = told.recv().await.unwrap();
    assert_eq!(second.header("content-encoding"), Some("zstd"));
    assert!(second.body.len() < first.body.len() / 4);
    let opened = zstd::decode_all(&second.body[..]).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&opened).unwrap()["request_body"],
        ask
    );

    // It no longer does: the same request comes uncompressed, and so do later ones.
    refuses.store(true, std::sync::atomic::Ordering::Relaxed);
    chat().await;
    let codings = [told.recv().await.unwrap(), told.recv().await.unwrap()];
    let codings = codings.map(|one| one.header("content-encoding").map(str::to_owned));
    assert_eq!(codings, [Some("zstd".to_owned()), None]);
    chat().await;
    assert_eq!(told.recv().await.unwrap().header("content-encoding"), None);
    assert!(told.try_recv().is_err());
    // Compressing a short payload doesn't pay.
    refuses.store(false, std::sync::atomic::Ordering::Relaxed);
    for _ in 0..2 {
        assert_eq!(gateway.chat(super::hooks::ASK).await.status, 200);
        assert_eq!(told.recv().await.unwrap().header("content-encoding"), None);
    }
}
