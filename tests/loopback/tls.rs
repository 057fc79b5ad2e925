//! Providers behind HTTPS, with either version of HTTP.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::support::COMPLETION;

const CERTIFICATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/ai.tail.test.crt"
);
const KEY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/ai.tail.test.key"
);

/// A provider that speaks what is negotiated and tells what that was.
async fn provider(alpn: &[&[u8]]) -> (u16, mpsc::Receiver<http::Version>) {
    provider_with(CERTIFICATE, KEY, alpn).await
}

/// The same with another certificate.
async fn provider_with(
    certificate: &str,
    key: &str,
    alpn: &[&[u8]],
) -> (u16, mpsc::Receiver<http::Version>) {
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, versions) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let sender = sender.clone();
                    async move {
                        let _ = sender.send(request.version()).await;
                        let body = Full::new(bytes::Bytes::from(COMPLETION));
                        let kind = "application/json";
                        Response::builder().header("content-type", kind).body(body)
                    }
                });
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (port, versions)
}

/// Asks a gateway that trusts the certificates in `trusted`; its environment is its own.
async fn ask(port: u16, trusted: &str) -> StatusCode {
    let answer = answer(port, trusted).await;
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The whole answer.
async fn answer(port: u16, trusted: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let config = json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": address.to_string() },
        "providers": { "p": { "baseurl": format!("https://localhost:{port}"), "models": ["m"] } },
        "grants": [{
            "src": ["(loopback)"],
            "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }, { "models": "**" }] },
        }],
    });
    let path = dir.path().join("iris.hujson");
    std::fs::write(&path, config.to_string()).unwrap();
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_iris"))
        .args(["serve", "--config"])
        .arg(&path)
        .arg("--state-dir")
        .arg(dir.path())
        .env("SSL_CERT_FILE", trusted)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while tokio::net::TcpStream::connect(address).await.is_err() {
        assert!(Instant::now() < until, "the gateway does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let body = r#"{"model":"m","messages":[]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = crate::support::raw(address, &request).await;
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    answer
}

#[tokio::test]
async fn the_newer_version_is_spoken_where_it_is_offered() {
    for (alpn, expected) in [
        (&[&b"h2"[..], b"http/1.1"][..], http::Version::HTTP_2),
        (&[&b"http/1.1"[..]], http::Version::HTTP_11),
        (&[], http::Version::HTTP_11),
    ] {
        let (port, mut versions) = provider(alpn).await;
        assert_eq!(ask(port, CERTIFICATE).await, StatusCode::OK);
        assert_eq!(versions.recv().await, Some(expected));
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_502() {
    let (port, mut versions) = provider(&[b"h2"]).await;
    // Nothing is trusted but the public authorities.
    assert_eq!(ask(port, "/nonexistent").await, StatusCode::BAD_GATEWAY);
    assert!(versions.try_recv().is_err());
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn a_certificate_that_openssl_makes_is_trusted_where_the_operator_trusts_it() {
    // It says that it is an authority's, which servers don't have.
    let (certificate, key) = (fixture("self-signed.crt"), fixture("self-signed.key"));
    let (port, mut versions) = provider_with(&certificate, &key, &[b"h2"]).await;
    assert_eq!(ask(port, &certificate).await, StatusCode::OK);
    assert_eq!(versions.recv().await, Some(http::Version::HTTP_2));
    // Another one is not enough, and the error says what would be.
    let told = answer(port, CERTIFICATE).await;
    assert!(told.contains(" 502 "), "{told}");
    assert!(told.contains("SSL_CERT_FILE"), "{told}");
}

#[tokio::test]
async fn a_certificate_without_the_hosts_name_is_told_how_to_get_it() {
    let (certificate, key) = (fixture("nameless.crt"), fixture("nameless.key"));
    let (port, _versions) = provider_with(&certificate, &key, &[]).await;
    let told = answer(port, &certificate).await;
    assert!(told.contains(" 502 "), "{told}");
    assert!(told.contains("subjectAltName=DNS:HOST"), "{told}");
}
