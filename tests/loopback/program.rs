//! The program as a process whose standard error, signals and files a test controls.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::process::free_address;

/// The longest that anything here may take.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A gateway in a process of its own.
pub struct Iris {
    pub child: Child,
    /// The process itself, which a shell or a terminal may have started.
    pub id: u32,
    pub address: SocketAddr,
    pub dir: tempfile::TempDir,
}

/// Each of them is a line of the log at every reload.
const UNKNOWN_KEYS: usize = 2_000;

pub fn document(address: SocketAddr, upstream: SocketAddr, model: &str) -> String {
    let mut provider = json!({ "baseurl": format!("http://{upstream}"), "models": [model] });
    for nth in 0..UNKNOWN_KEYS {
        provider[format!("unknown_{nth}")] = 1.into();
    }
    json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": address.to_string() },
        "providers": { "p": provider },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin", "read_metrics": true }, { "models": "**" },
        ] } }],
    })
    .to_string()
}

impl Iris {
    /// Starts `command`, to which the arguments of the program are added.
    pub fn start(upstream: SocketAddr, command: impl FnOnce(&[String]) -> Child) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = free_address();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("iris.hujson"), document(address, upstream, "m")).unwrap();
        let words = [
            env!("CARGO_BIN_EXE_iris").to_owned(),
            "serve".to_owned(),
            "--config".to_owned(),
            path("iris.hujson"),
            "--state-dir".to_owned(),
            path("state"),
        ];
        let child = command(&words);
        let mut iris = Self {
            id: child.id(),
            child,
            address,
            dir,
        };
        let end = Instant::now() + PATIENCE;
        while iris.get("/healthz").is_none() {
            assert!(Instant::now() < end, "it doesn't start");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        if let Ok(id) = std::fs::read_to_string(iris.dir.path().join("pid")) {
            iris.id = id.trim().parse().unwrap();
        }
        iris
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("iris.hujson")
    }

    /// The status and the body of a response, which must come.
    fn ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .ok()?;
        let (host, length) = (self.address, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
             connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let status = text.split(' ').nth(1)?.parse().ok()?;
        let (_, body) = text.split_once("\r\n\r\n")?;
        Some((status, body.to_owned()))
    }

    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.ask("GET", path, "")
    }

    #[track_caller]
    pub fn chat(&self, model: &str) {
        let body = json!({ "model": model, "messages": [] }).to_string();
        let (status, body) = self.ask("POST", "/v1/chat/completions", &body).unwrap();
        assert_eq!(status, 200, "{body}");
    }

    pub fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.get("/metrics").unwrap();
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
        values.next().unwrap().trim().parse().unwrap()
    }

    pub fn alerts(&self) -> Vec<String> {
        let (_, text) = self.get("/api/status").unwrap();
        let start = text.find('{').unwrap();
        let end = text.rfind('}').unwrap();
        let status: Value = serde_json::from_str(&text[start..=end]).unwrap();
        let all = status["warnings"].as_array().cloned().unwrap_or_default();
        let kinds = all.iter().filter_map(|one| one["kind"].as_str());
        kinds.map(str::to_owned).collect()
    }

    pub fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < end, "waited for {what}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Makes it write to its log until lines are lost.
    pub fn talk_until_lines_are_lost(&self, model: &str) {
        let before = self.metric("iris_log_lines_dropped_total");
        self.until("lines to be lost", |iris| {
            signal("HUP", iris.id);
            iris.chat(model);
            iris.metric("iris_log_lines_dropped_total") > before
        });
    }

    /// Reloads work: a model that is new in the file can be asked for.
    pub fn reload(&self, upstream: SocketAddr, model: &str) {
        std::fs::write(self.config(), document(self.address, upstream, model)).unwrap();
        self.until("the new model", |iris| {
            let (_, models) = iris.get("/v1/models").unwrap();
            models.contains(&format!("\"id\":\"{model}\""))
        });
        self.chat(model);
    }

    pub fn is_well(&self) {
        assert_eq!(self.get("/healthz").unwrap().0, 200);
        assert_eq!(self.get("/readyz").unwrap().0, 200);
        assert_eq!(self.metric("iris_panics_total"), 0);
    }

    /// Ends it as a service manager does.
    pub fn terminate(mut self) -> ExitStatus {
        signal("TERM", self.id);
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Iris {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(name: &str, id: u32) {
    let mut kill = Command::new("kill");
    kill.args([&format!("-{name}"), &id.to_string()]);
    assert!(kill.status().unwrap().success());
}

pub fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env("IRIS_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}
