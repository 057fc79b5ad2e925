//! A gateway as a process of its own, with an environment of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};

use support::http::{CHAT, Reply, post, send_to};
use support::process::free_address;

pub const ASK: &str = r#"{"model":"m","messages":[]}"#;

/// A certificate for localhost that trusts itself, and its key.
pub fn localhost() -> (String, String) {
    let file = |name: &str| format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    (file("self-signed.crt"), file("self-signed.key"))
}

/// A gateway that ends with its test.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
    dir: tempfile::TempDir,
}

impl Process {
    /// A gateway with these providers, which trusts the certificate for localhost.
    pub async fn start(providers: Value, more: Value, environment: &[(&str, &str)]) -> Self {
        Self::start_at(free_address(), providers, more, environment).await
    }

    /// The same at an address.
    pub async fn start_at(
        address: SocketAddr,
        providers: Value,
        more: Value,
        environment: &[(&str, &str)],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = json!({
            "tailnet": { "mode": "off" },
            "listen": { "loopback": address.to_string() },
            "providers": providers,
            "grants": [{
                "src": ["(loopback)"],
                "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }, { "models": "**" }] },
            }],
        });
        for (key, value) in more.as_object().cloned().unwrap_or_default() {
            config[key] = value;
        }
        let path = dir.path().join("iris.hujson");
        std::fs::write(&path, config.to_string()).unwrap();
        let gateway = Self {
            address,
            child: spawn(dir.path(), environment),
            dir,
        };
        gateway.listens().await;
        gateway
    }

    /// Kills it with SIGKILL, and starts it again.
    pub async fn kill_and_start(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.dir.path(), &[]);
        self.listens().await;
    }

    async fn listens(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            assert!(Instant::now() < until, "it does not start: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub async fn ask(&self) -> Reply {
        self.chat(ASK).await
    }

    pub async fn chat(&self, body: &str) -> Reply {
        send_to(self.address, post(CHAT, body)).await.unwrap()
    }

    /// So many requests at once; each has to succeed.
    pub async fn all_succeed(&self, count: usize) {
        let asked = (0..count).map(|_| self.ask());
        for reply in futures_util::future::join_all(asked).await {
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        }
    }
}

/// The program with what a folder has.
fn spawn(dir: &Path, environment: &[(&str, &str)]) -> Child {
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_iris"));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name);
        command.env_remove(name.to_lowercase());
    }
    command
        .args(["serve", "--config"])
        .arg(dir.join("iris.hujson"))
        .arg("--state-dir")
        .arg(dir)
        .env("SSL_CERT_FILE", localhost().0)
        .envs(environment.iter().copied())
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
