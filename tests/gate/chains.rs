//! Real servers behind the gateway: they read the same requests as the gateway, and as many.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::corpus::{gateway, sent};
use crate::process::{go, has, source};
use support::malformed::cases::{Case, all};
use support::malformed::provider::Provider;
use support::process::{Running, free_address, serve};
use support::provider::COMPLETION;

/// Cases that reach a provider.
fn accepted() -> Vec<Case> {
    let cases = all().into_iter();
    cases
        .filter(|case| case.seen.is_some_and(|seen| seen > 0))
        .collect()
}

/// Sends every accepted case to a gateway in front of `back`.
async fn through(back: SocketAddr) -> Vec<String> {
    let gateway = gateway(back).await;
    let mut wrong = Vec::new();
    for case in accepted() {
        wrong.extend(sent(&case, gateway.address).await.err());
    }
    wrong
}

/// What came out of the gateway, read at the wire.
async fn reference() -> Vec<Value> {
    let provider = Provider::start().await;
    let wrong = through(provider.address).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let seen = provider.take();
    seen.into_iter()
        .map(|one| {
            json!({
                "method": one.line.split(' ').next(),
                "target": one.path(),
                "length": one.all("content-length").concat(),
                "coding": one.all("transfer-encoding").concat(),
                "body": String::from_utf8_lossy(&one.body),
            })
        })
        .collect()
}

/// Both have seen the same. nginx does not tell of bodies.
fn compare(back: &str, seen: &[Value], expected: &[Value]) {
    for (at, (seen, expected)) in seen.iter().zip(expected).enumerate() {
        let mut expected = expected.clone();
        if seen.get("body").is_none() {
            expected.as_object_mut().unwrap().remove("body");
        }
        assert_eq!(*seen, expected, "{back}, request {at}");
    }
    let front: usize = accepted().iter().filter_map(|case| case.seen).sum();
    assert_eq!(seen.len(), front, "{back}");
    assert_eq!(expected.len(), front);
}

async fn chain(back: &str, start: impl FnOnce(SocketAddr, &Path, &Path) -> Running) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let at = free_address();
    let running = start(at, &log, dir.path());
    let wrong = through(at).await;
    assert!(wrong.is_empty(), "{back}: {}", wrong.join("\n"));
    drop(running);
    let text = std::fs::read_to_string(&log).unwrap();
    let seen: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    compare(back, &seen, &reference().await);
}

fn arguments(command: &mut Command, at: SocketAddr, log: &Path) -> Running {
    let command = command.arg(at.port().to_string()).arg(log).arg(COMPLETION);
    serve(command, at)
}

#[tokio::test(flavor = "multi_thread")]
async fn go_sees_what_the_gateway_saw() {
    if has("go", "version") {
        chain("go", |at, log, dir| {
            arguments(&mut Command::new(go("echo.go", dir)), at, log)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_sees_what_the_gateway_saw() {
    if has("node", "--version") {
        chain("node", |at, log, _| {
            arguments(Command::new("node").arg(source("echo.mjs")), at, log)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_sees_what_the_gateway_saw() {
    if has("python3", "--version") {
        chain("python", |at, log, _| {
            arguments(Command::new("python3").arg(source("echo.py")), at, log)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_sees_what_the_gateway_saw() {
    if has("nginx", "-v") {
        chain("nginx", nginx).await;
    }
}

fn nginx(at: SocketAddr, log: &Path, dir: &Path) -> Running {
    let seen = r#"{"method":"$request_method","target":"$request_uri","length":"$http_content_length","coding":"$http_transfer_encoding"}"#;
    let (log, home) = (log.display(), dir.display());
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {home}/pid; error_log {home}/error;
        events {{}}
        http {{
            log_format seen escape=none '{seen}';
            access_log {log} seen;
            client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
            fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
            server {{
                listen {at};
                location / {{ default_type application/json; return 200 '{COMPLETION}'; }}
            }}
        }}"
    );
    let config = dir.join("nginx.conf");
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir).arg("-c").arg(&config);
    command.arg("-e").arg(dir.join("error"));
    serve(&mut command, at)
}

#[tokio::test(flavor = "multi_thread")]
async fn hyper_sees_what_the_gateway_saw() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            let service = service_fn(move |request| echo(request, Arc::clone(&log)));
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    let wrong = through(at).await;
    assert!(wrong.is_empty(), "hyper: {}", wrong.join("\n"));
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    compare("hyper", &seen, &reference().await);
}

async fn echo(
    request: Request<Incoming>,
    log: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let value = |name: &str| {
        let value = head.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    };
    log.lock().unwrap().push(json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "length": value("content-length"),
        "coding": value("transfer-encoding"),
        "body": String::from_utf8_lossy(&body),
    }));
    let answer = Response::builder().header("content-type", "application/json");
    Ok(answer.body(Full::from(COMPLETION)).unwrap())
}
