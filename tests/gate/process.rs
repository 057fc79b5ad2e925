//! Programs beside the tests: started, waited for, and ended by their id.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A program that runs until this is dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first: those who have children end them then.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that nobody listens on.
pub fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Starts a server and waits until it listens.
pub fn serve(command: &mut Command, at: SocketAddr) -> Running {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let running = Running(child.unwrap());
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(at).is_err() {
        assert!(Instant::now() < until, "{command:?} does not listen");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    running
}

/// Whether a program is installed; if not, that is said where nothing hides it.
pub fn has(program: &str, version: &str) -> bool {
    let there = Command::new(program)
        .arg(version)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        say(&format!("SKIPPED: {program} is not installed"));
    }
    there
}

/// Says something past the harness, which shows the output of failures alone.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "gate: {text}");
}

/// A file of `tests/gate/servers`.
pub fn source(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/gate/servers").join(name)
}

/// Builds a program of one file of Go.
pub fn go(name: &str, into: &Path) -> PathBuf {
    let program = into.join(name).with_extension("");
    let status = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(source(name))
        .current_dir(into)
        .status();
    assert!(status.unwrap().success(), "{name} is not built");
    program
}

/// A number that the environment gives.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
