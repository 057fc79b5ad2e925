//! A gateway and a provider whose next response a test chooses, to check what is read of usage.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::Gateway;
use support::http::{Reply, post};
use support::provider::{read_request, write};

pub const RESPONSES: &str = "/v1/responses";
pub const MESSAGES: &str = "/v1/messages";
pub const IMAGES: &str = "/v1/images/generations";

/// What the provider writes next, with a pause between the parts.
type Plan = Arc<Mutex<Vec<Vec<u8>>>>;

/// Every format, as a provider has it in the configuration.
fn everything() -> Value {
    json!({
        "openai_chat": true, "openai_responses": true, "anthropic_messages": true,
        "gemini_generate_content": true, "bedrock_converse": true, "bedrock_model_invoke": true,
    })
}

/// A gateway whose provider speaks every format.
pub struct Lab {
    pub gateway: Gateway,
    plan: Plan,
}

impl Lab {
    /// With a price and a budget of tokens.
    pub async fn start(capacity: &str, more: Value) -> Self {
        let mut config = json!({
            "provider": { "compatibility": everything(), "models": ["m", "dear", "m-2026-01-01"] },
            "prices": { "m": { "input": "1", "output": "10" } },
            "quotas": { "tokens": { "capacity": capacity } },
            "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
                { "role": "admin" },
                { "models": "**", "quotas": [{ "bucket": "tokens" }] },
            ] } }],
        });
        for (key, value) in more.as_object().cloned().unwrap_or_default() {
            match key.as_str() {
                "basis" => config["provider"]["cost_basis"] = value,
                "speaks" => config["provider"]["compatibility"] = value,
                _ => config[key] = value,
            }
        }
        Self::with(config).await
    }

    /// Without prices and budgets.
    pub async fn plain() -> Self {
        Self::with(json!({ "provider": { "compatibility": everything() } })).await
    }

    async fn with(config: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Plan::default();
        let next = plan.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let next = next.clone();
                tokio::spawn(async move {
                    if read_request(&mut stream).await.is_some() {
                        let parts = next.lock().unwrap().clone();
                        serve(&mut stream, parts).await;
                    }
                });
            }
        });
        let gateway = Gateway::start(address, config).await;
        Self { gateway, plan }
    }

    pub fn plan(&self, parts: &[&[u8]]) {
        *self.plan.lock().unwrap() = parts.iter().map(|part| part.to_vec()).collect();
    }

    pub fn answers(&self, media: &str, body: &[u8]) {
        self.answers_with(media, "", body);
    }

    /// With more header fields.
    pub fn answers_with(&self, media: &str, more: &str, body: &[u8]) {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {media}\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        self.plan(&[&[head.as_bytes(), body].concat()]);
    }

    pub async fn ask(&self, path: &str, mut body: Value) -> (Reply, Value) {
        if body.get("model").is_none() {
            body["model"] = "m".into();
        }
        let reply = self.gateway.try_send(post(path, &body.to_string())).await;
        let reply = reply.unwrap_or_else(|error| panic!("{path}: {error}"));
        let id = reply.headers["x-iris-request-id"].clone();
        let id = id.to_str().unwrap();
        let record = self.gateway.record_where(|record| record["id"] == *id);
        (reply, record.await)
    }

    /// The error of a request that goes to no provider.
    pub async fn refused(&self, path: &str, mut body: Value) -> String {
        body["model"] = "m".into();
        let reply = self.gateway.try_send(post(path, &body.to_string())).await;
        let reply = reply.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(reply.status.is_client_error(), "{}", reply.text());
        reply.text()
    }

    /// The record of a request whose response may break off.
    pub async fn broken(&self, path: &str, mut body: Value) -> Value {
        body["model"] = "m".into();
        let _ = self.gateway.try_send(post(path, &body.to_string())).await;
        let path = path.split('?').next().unwrap();
        self.gateway.record_of(path).await
    }

    /// Asks for a stream and leaves once `mark` has come.
    pub async fn leave_at(&self, path: &str, mut body: Value, mark: &str) -> Value {
        body["model"] = "m".into();
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.gateway.address).await.unwrap();
        let (host, length) = (self.gateway.address, body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        write(&mut stream, &format!("{head}{body}")).await;
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(mark) {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "{seen:?}");
        }
        drop(stream);
        self.gateway
            .record_of(path.split('?').next().unwrap())
            .await
    }

    pub async fn left(&self) -> i64 {
        let request = http::Request::get("/api/quotas");
        let request = request.body(http_body_util::Full::default()).unwrap();
        let quotas = self.gateway.send(request).await.json();
        quotas["quotas"][0]["current"].as_i64().unwrap()
    }
}

pub async fn serve(stream: &mut TcpStream, parts: Vec<Vec<u8>>) {
    for (nth, part) in parts.into_iter().enumerate() {
        if nth > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
        let _ = tokio::io::AsyncWriteExt::write_all(stream, &part).await;
    }
}

pub fn events(all: &[Value]) -> Vec<u8> {
    let event = |data: &Value| {
        format!(
            "event: {}\ndata: {data}\n\n",
            data["type"].as_str().unwrap()
        )
    };
    all.iter().map(event).collect::<String>().into_bytes()
}

pub fn counts(record: &Value) -> (Option<u64>, Option<u64>, bool) {
    let usage = &record["usage"];
    let count = |key: &str| usage[key].as_u64();
    (
        count("input_tokens"),
        count("output_tokens"),
        usage["estimated"] == true,
    )
}
