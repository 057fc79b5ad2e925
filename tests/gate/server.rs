//! The program itself, in a process of its own, so that its memory can be looked at.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::process::{Running, free, serve};

/// `iris serve` on loopback, with one provider that nobody asks.
pub struct Server {
    pub at: SocketAddr,
    running: Running,
    _dir: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = free();
        let config = json!({
            "tailnet": { "mode": "off" },
            "listen": { "loopback": at.to_string() },
            "grants": [{
                "src": ["(loopback)"],
                "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }, { "models": "**" }] },
            }],
            "providers": { "p": {
                "baseurl": "http://127.0.0.1:1",
                "models": ["m"],
                "compatibility": { "openai_chat": true, "gemini_generate_content": true },
            } },
        });
        let path = dir.path().join("iris.hujson");
        std::fs::write(&path, config.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_iris"));
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

    /// Begins to look for the most anew.
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
