//! Servers that repeat everything they are sent, with each credential, and remember it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use support::provider::COMPLETION;

/// What a server was sent: its name, and the request as text.
type Said = (&'static str, Vec<u8>);

/// What all of them were sent.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<Said>>>);

impl Heard {
    /// Starts a server.
    pub async fn listen(&self, name: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let heard = heard.clone();
                let service = service_fn(move |request| {
                    let heard = heard.clone();
                    async move { Ok::<_, Infallible>(heard.answer(name, request).await) }
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

    pub fn all(&self) -> Vec<Said> {
        self.0.lock().unwrap().clone()
    }

    /// What was sent since the last time.
    pub fn take(&self) -> Vec<Said> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    async fn answer(
        &self,
        name: &'static str,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let mut said = format!("{} {}\n", head.method, head.uri).into_bytes();
        let mut credentials = String::new();
        for (name, value) in &head.headers {
            said.extend_from_slice(format!("{name}: ").as_bytes());
            said.extend_from_slice(value.as_bytes());
            said.push(b'\n');
            if name.as_str().contains("auth") || name.as_str().contains("key") {
                credentials += &String::from_utf8_lossy(value.as_bytes());
            }
        }
        said.push(b'\n');
        said.extend_from_slice(&body);
        self.0.lock().unwrap().push((name, said.clone()));
        let asks =
            |word: &str| String::from_utf8_lossy(&body).contains(&format!("\"model\":\"{word}"));
        let quoted = String::from_utf8_lossy(&said).into_owned();
        let error = json!({ "error": { "message": quoted, "type": quoted } }).to_string();
        let (status, kind, body) = match name {
            "s3" => (200, "text/plain", String::new()),
            "tokens" => (
                200,
                "application/json",
                json!({ "access_token": "canary-access-token-26262", "expires_in": 3600 })
                    .to_string(),
            ),
            "no tokens" => (
                400,
                "application/json",
                json!({ "error": quoted, "error_description": quoted }).to_string(),
            ),
            "hook" | "otlp" => (500, "text/plain", quoted),
            "judge" => (
                200,
                "application/json",
                json!({ "action": "block", "message": credentials }).to_string(),
            ),
            _ if asks("refuse") => (401, "application/json", error),
            _ if asks("redirect") => (302, "application/json", error),
            _ if asks("broken") => (500, "text/plain", quoted),
            _ if asks("stream") => (
                200,
                "text/event-stream",
                "data: {\"error\":{\"message\":\"cut\"}}\n\n".to_owned(),
            ),
            _ => (200, "application/json", COMPLETION.to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in [
            ("content-type", kind.to_owned()),
            ("location", format!("http://127.0.0.1/?key={credentials}")),
            ("x-you-sent", credentials.clone()),
            ("set-cookie", format!("sent={credentials}")),
            ("x-request-id", format!("req-{credentials}")),
        ] {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
