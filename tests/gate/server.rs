//! The program itself, in a process of its own, so that its memory can be measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use support::process::{Running, free_address, serve};

/// `iris serve` on loopback, with one provider that gets no request.
pub struct Server {
    pub at: SocketAddr,
    running: Running,
    _dir: tempfile::TempDir,
}

/// Runs what follows in the control group whose list of processes is the first argument.
const IN_GROUP: &str = r#"echo $$ > "$0" && exec "$@""#;

impl Server {
    pub fn start() -> Self {
        Self::with(&json!({}), None)
    }

    /// With sections put into the configuration, and maybe in a control group.
    pub fn with(more: &Value, group: Option<&Path>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = free_address();
        let mut config = json!({
            "tailnet": { "mode": "off" },
            "listen": { "loopback": at.to_string() },
            "grants": [{
                "src": ["(loopback)"],
                "app": { "tailscale.com/cap/aperture": [
                    { "role": "admin", "read_metrics": true }, { "models": "**" },
                ] },
            }],
            "providers": { "p": {
                "baseurl": "http://127.0.0.1:1",
                "models": ["m"],
                "compatibility": { "openai_chat": true, "gemini_generate_content": true },
            } },
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let path = dir.path().join("iris.hujson");
        std::fs::write(&path, config.to_string()).unwrap();
        let program = env!("CARGO_BIN_EXE_iris");
        let mut command = Command::new(program);
        if let Some(group) = group {
            command = Command::new("sh");
            command
                .args(["-c", IN_GROUP])
                .arg(group.join("cgroup.procs"));
            command.arg(program);
        }
        command.arg("serve").arg("--config").arg(&path);
        command.arg("--state-dir").arg(dir.path().join("state"));
        command.stderr(std::process::Stdio::null());
        Self {
            at,
            running: serve(&mut command, at),
            _dir: dir,
        }
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.running.0.id());
        std::fs::read_to_string(Path::new(&path)).unwrap()
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory since [`Self::forget_peak`], in KiB.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Starts to measure the maximum again.
    pub fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.running.0.id());
        std::fs::write(path, "5").unwrap();
    }

    fn memory(&self, field: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(field));
        let word = line.and_then(|line| line.split_whitespace().nth(1));
        word.unwrap().parse().unwrap()
    }

    /// Processor time so far, in milliseconds.
    pub fn cpu(&self) -> u64 {
        let stat = self.proc("stat");
        let after = stat.rsplit_once(')').unwrap().1;
        let ticks = after.split_whitespace().skip(11).take(2);
        // A hundred a second on every Linux that there is.
        ticks.map(|word| word.parse::<u64>().unwrap()).sum::<u64>() * 10
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.running.0.try_wait(), Ok(None))
    }

    /// A number of `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.at).unwrap();
        let head = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\n", self.at);
        stream
            .write_all(format!("{head}connection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let mut values = answer.lines().filter_map(|line| line.strip_prefix(name));
        values.next().unwrap().trim().parse().unwrap()
    }

    /// Asks as anybody else would; the status, and nothing if there was no answer in time.
    pub fn ask(&self, patience: Duration) -> Option<u16> {
        let mut stream = TcpStream::connect_timeout(&self.at, patience).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        let head = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n", self.at);
        stream
            .write_all(format!("{head}connection: close\r\n\r\n").as_bytes())
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    }
}
