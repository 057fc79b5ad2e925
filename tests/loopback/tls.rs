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

use support::provider::COMPLETION;

const CERTIFICATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/ai.tail.test.crt"
);
const KEY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/ai.tail.test.key"
);

/// A provider that speaks the negotiated version of HTTP and says which it was.
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

/// The whole response.
async fn answer(port: u16, trusted: &str) -> String {
    let gateway = Gateway::start(trusted, provider_at(port)).await;
    gateway.ask().await
}

fn provider_at(port: u16) -> serde_json::Value {
    json!({ "baseurl": format!("https://localhost:{port}"), "models": ["m"] })
}

/// A running gateway with one provider.
struct Gateway {
    dir: tempfile::TempDir,
    address: std::net::SocketAddr,
    child: std::process::Child,
}

impl Gateway {
    async fn start(trusted: &str, provider: serde_json::Value) -> Self {
        Self::start_with(trusted, provider, &[]).await
    }

    /// The same with files beside its configuration.
    async fn start_with(
        trusted: &str,
        provider: serde_json::Value,
        files: &[(&str, &str)],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = unused.local_addr().unwrap();
        drop(unused);
        let config = json!({
            "tailnet": { "mode": "off" },
            "listen": { "loopback": address.to_string() },
            "providers": { "p": provider },
            "routing": { "eject_after": 0 },
            "grants": [{
                "src": ["(loopback)"],
                "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }, { "models": "**" }] },
            }],
        });
        let path = dir.path().join("iris.hujson");
        std::fs::write(&path, config.to_string()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_iris"))
            .args(["serve", "--config"])
            .arg(&path)
            .arg("--state-dir")
            .arg(dir.path())
            .env("SSL_CERT_FILE", trusted)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let gateway = Self {
            dir,
            address,
            child,
        };
        let until = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < until, "the gateway does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gateway
    }

    async fn ask(&self) -> String {
        let body = r#"{"model":"m","messages":[]}"#;
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        support::http::raw(self.address, &request).await
    }

    /// Asks until the response has a word.
    async fn ask_until(&self, word: &str) -> String {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.ask().await;
            if answer.contains(word) {
                return answer;
            }
            assert!(Instant::now() < until, "no {word:?} in {answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
    // Only the public authorities are trusted.
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

#[tokio::test]
async fn a_provider_is_trusted_by_certificates_of_its_own() {
    let (certificate, key) = (fixture("self-signed.crt"), fixture("self-signed.key"));
    let own = std::fs::read_to_string(&certificate).unwrap();
    let other = std::fs::read_to_string(CERTIFICATE).unwrap();
    let (port, _versions) = provider_with(&certificate, &key, &[b"h2", b"http/1.1"]).await;
    let mut provider = provider_at(port);
    provider["ca"] = json!("${file:ca.pem}");
    // The machine's store doesn't count: it would accept the server.
    let files = [("ca.pem", other.as_str())];
    let gateway = Gateway::start_with(&certificate, provider, &files).await;
    let told = gateway.ask().await;
    assert!(told.contains(" 502 "), "{told}");
    assert!(
        told.contains("neither one of the certificates in `ca`"),
        "{told}"
    );
    // A file that changes is read again without a signal; it may hold several.
    let path = gateway.dir.path().join("ca.pem");
    std::fs::write(&path, format!("{other}{own}")).unwrap();
    gateway.ask_until(" 200 ").await;
    // A file without a certificate doesn't replace one.
    std::fs::write(&path, "CANARY").unwrap();
    // It has been read since.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let answer = gateway.ask().await;
    assert!(answer.contains(" 200 "), "{answer}");
    std::fs::write(&path, other).unwrap();
    gateway.ask_until(" 502 ").await;
}
