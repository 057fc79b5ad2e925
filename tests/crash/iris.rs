//! The program as a process that can be killed, with its configuration and its state.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::client::Client;

/// The longest that a start may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hands standard input over as systemd hands a socket over: as descriptor 3, to that process.
pub const HANDING_OVER: &str =
    r#"exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" "$@""#;

/// Where a gateway is kept, and under which address it is served.
pub struct Place {
    dir: tempfile::TempDir,
    pub state: PathBuf,
    pub address: SocketAddr,
    /// Put before the program's own command line.
    pub wrapper: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Held open from one process to the next, as systemd does.
    socket: Option<TcpListener>,
}

impl Place {
    /// A place with a configuration; `listen` and `tailnet` are filled in where they are missing.
    pub fn new(config: &Value) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let place = Self {
            state: dir.path().join("state"),
            address: free_address()?,
            dir,
            wrapper: Vec::new(),
            environment: Vec::new(),
            socket: None,
        };
        place.configure(config)?;
        Ok(place)
    }

    /// The same with a socket that outlives each process.
    pub fn with_socket(config: &Value) -> anyhow::Result<Self> {
        let mut place = Self::new(config)?;
        let socket = TcpListener::bind("127.0.0.1:0")?;
        place.address = socket.local_addr()?;
        place.socket = Some(socket);
        place.wrapper = ["sh", "-c", HANDING_OVER].map(str::to_owned).to_vec();
        place.configure(config)?;
        Ok(place)
    }

    /// Writes another configuration.
    pub fn configure(&self, config: &Value) -> anyhow::Result<()> {
        let mut config = config.clone();
        if config["tailnet"].is_null() {
            config["tailnet"] = serde_json::json!({ "mode": "off" });
        }
        config["listen"]["loopback"] = self.address.to_string().into();
        self.write(&config.to_string())
    }

    /// Writes a configuration as it is.
    pub fn write(&self, text: &str) -> anyhow::Result<()> {
        // Whole or not at all, as an editor would.
        let new = self.dir.path().join("iris.hujson.new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(new, self.config())?)
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("iris.hujson")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn database(&self) -> PathBuf {
        self.state.join("iris.db")
    }

    /// What the program has logged, its last lines.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.file("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Starts the program and waits until it serves.
    pub async fn start(&self) -> anyhow::Result<Iris> {
        let program = env!("CARGO_BIN_EXE_iris");
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.file("log"))?;
        let started = Instant::now();
        let child = command
            .arg("serve")
            .arg("--config")
            .arg(self.config())
            .arg("--state-dir")
            .arg(&self.state)
            .env("IRIS_LOG", "warn")
            // A panic that is planned needs no more than its line.
            .env("RUST_BACKTRACE", "0")
            .envs(self.environment.iter().cloned())
            .stdin(match &self.socket {
                Some(socket) => Stdio::from(OwnedFd::from(socket.try_clone()?)),
                None => Stdio::null(),
            })
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the program does not start")?;
        let mut iris = Iris {
            child,
            address: self.address,
            took: Duration::ZERO,
        };
        loop {
            if let Some(status) = iris.child.try_wait()? {
                bail!("the program has ended with {status}:\n{}", self.log());
            }
            let mut client = Client::new(self.address);
            if let Ok(reply) = client.get("/healthz").await
                && reply.status == 200
            {
                iris.took = started.elapsed();
                return Ok(iris);
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "the program does not serve:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A program that runs; killed when it is dropped.
pub struct Iris {
    child: Child,
    pub address: SocketAddr,
    /// From its start until it served.
    pub took: Duration,
}

impl Iris {
    /// SIGKILL: nothing of it runs any more when this returns.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks for the configuration to be read again.
    pub fn hang_up(&self) -> anyhow::Result<()> {
        self.signal("HUP")
    }

    /// Asks it to end.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal("TERM")
    }

    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let told = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()?;
        ensure!(told.success(), "kill -{name}");
        Ok(())
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it has in use, in KiB.
    pub fn memory_kib(&self) -> anyhow::Result<u64> {
        Ok(Size::of(self.pid())?.memory_kib)
    }

    /// Descriptors that it has open.
    pub fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(Size::of(self.pid())?.descriptors)
    }
}

/// What a process has of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    pub memory_kib: u64,
    pub descriptors: usize,
    pub threads: u64,
}

impl Size {
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |key: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|line| line.split_whitespace().next());
            Ok(number.with_context(|| key.to_owned())?.parse()?)
        };
        Ok(Self {
            memory_kib: number("VmRSS:")?,
            descriptors: std::fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            threads: number("Threads:")?,
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (memory, descriptors) = (self.memory_kib / 1024, self.descriptors);
        write!(
            out,
            "{memory} MiB, {descriptors} descriptors, {} threads",
            self.threads
        )
    }
}

impl Drop for Iris {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A port that nobody listens on at the moment, on an address of this process alone, so that no
/// other run takes it between two starts.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?)
}
