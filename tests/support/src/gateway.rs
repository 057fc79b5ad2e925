//! A gateway on loopback, in the process of its test.
//!
//! This crate doesn't link the library, so each program defines once how a gateway is started:
//! `support::library_gateway!()` defines its `Gateway`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::http::{CHAT, Reply, post, send_to};
use crate::provider::write;

/// How the library starts and stops a gateway.
pub trait Library {
    type Running: Send;

    /// Starts one from a file and a folder, and returns the address of its loopback door.
    fn start(
        config: &Path,
        state_dir: &Path,
    ) -> impl Future<Output = (Self::Running, SocketAddr)> + Send;

    fn stop(running: Self::Running) -> impl Future<Output = ()> + Send;
}

/// Defines `Gateway` for a program that links the library.
#[macro_export]
macro_rules! library_gateway {
    () => {
        /// The library, as it starts gateways for the tests.
        pub(crate) struct Library;

        impl $crate::gateway::Library for Library {
            type Running = iris::app::Running;

            async fn start(
                config: &std::path::Path,
                state_dir: &std::path::Path,
            ) -> (iris::app::Running, std::net::SocketAddr) {
                let options = iris::app::Options {
                    config: Some(config.to_owned()),
                    state_dir: state_dir.to_owned(),
                };
                let running = iris::app::start(&options).await;
                let running = running.expect("the gateway starts");
                let address = running.loopback().expect("a loopback door");
                (running, address)
            }

            async fn stop(running: iris::app::Running) {
                running.stop().await.expect("every record is written");
            }
        }

        pub(crate) type Gateway = $crate::gateway::Gateway<Library>;
    };
}

/// A gateway that stops when its test is over.
pub struct Gateway<L: Library> {
    running: Option<L::Running>,
    pub address: SocketAddr,
    dir: tempfile::TempDir,
}

impl<L: Library> Gateway<L> {
    /// One provider `p` with the model `m`, and an admin on loopback; `more` is put into the
    /// document, its `provider` into the provider, and its `others` beside that.
    pub async fn start(provider: SocketAddr, more: Value) -> Self {
        let mut entry = json!({ "baseurl": format!("http://{provider}"), "models": ["m"] });
        let mut config = json!({
            "tailnet": { "mode": "off" },
            "listen": { "loopback": "127.0.0.1:0" },
            "grants": [{
                "src": ["(loopback)"],
                "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }, { "models": "**" }] },
            }],
        });
        let mut others = json!({});
        for (key, value) in more.as_object().cloned().unwrap_or_default() {
            match key.as_str() {
                "provider" => merge(&mut entry, &value),
                "others" => others = value,
                _ => config[key] = value,
            }
        }
        config["providers"] = json!({ "p": entry });
        merge(&mut config["providers"], &others);
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("iris.hujson");
        std::fs::write(&path, config.to_string()).expect("the configuration");
        let (running, address) = L::start(&path, &dir.path().join("state")).await;
        Self {
            running: Some(running),
            address,
            dir,
        }
    }

    /// Stops it, with everything that it runs.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            L::stop(running).await;
        }
    }

    /// Starts it again after a stop, with the same configuration and records.
    pub async fn again(mut self) -> Self {
        let state_dir = self.dir.path().join("state");
        let (running, address) = L::start(&self.config(), &state_dir).await;
        self.address = address;
        self.running = Some(running);
        self
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("iris.hujson")
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        self.try_send(request).await.expect("an answer")
    }

    pub async fn try_send(&self, request: Request<Full<Bytes>>) -> Result<Reply, String> {
        send_to(self.address, request).await
    }

    pub async fn chat(&self, body: &str) -> Reply {
        self.send(post(CHAT, body)).await
    }

    /// Sends a chat and leaves the rest to the caller.
    pub async fn raw_chat(&self, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        write(
            &mut stream,
            &format!(
                "POST {CHAT} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                self.address,
                body.len()
            ),
        )
        .await;
        stream
    }

    /// The newest record, once it is that of a request to `path`.
    pub async fn record_of(&self, path: &str) -> Value {
        for _ in 0..200 {
            let row = self.record().await;
            if row["path"] == path {
                return row;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("there is no record of {path}");
    }

    /// A record for which `is_it` is true, once it is written. Records of one millisecond have no
    /// order, so the newest isn't always the last.
    pub async fn record_where(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let request = Request::get("/api/requests?limit=20").body(Full::default());
            let reply = self.send(request.expect("a request")).await.json();
            let rows = reply["requests"].as_array().cloned().unwrap_or_default();
            if let Some(row) = rows.into_iter().find(&is_it) {
                return row;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("there is no such record");
    }

    /// The newest record.
    pub async fn record(&self) -> Value {
        for _ in 0..200 {
            let request = Request::get("/api/requests?limit=1").body(Full::default());
            let reply = self.send(request.expect("a request")).await;
            let row = reply.json()["requests"].get(0).cloned().unwrap_or_default();
            if row.is_object() {
                return row;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("there is no record");
    }
}

fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().cloned().unwrap_or_default() {
        into[key] = value;
    }
}
