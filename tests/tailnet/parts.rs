//! The real parts: where they are, and processes that end with the test.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// What `prepare.sh` has built.
pub struct Parts {
    pub servers: PathBuf,
    pub llama_server: PathBuf,
    pub python: PathBuf,
    pub model: PathBuf,
}

impl Parts {
    /// Builds what is missing; says on standard error what and how long.
    pub fn prepare() -> anyhow::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/prepare.sh");
        let output = Command::new(script).stderr(Stdio::inherit()).output()?;
        ensure!(
            output.status.success(),
            "tests/servers/prepare.sh failed; its message is above"
        );
        let text = String::from_utf8(output.stdout)?;
        let found: HashMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        let part = |name: &str| {
            found
                .get(name)
                .map(PathBuf::from)
                .with_context(|| format!("{name} was not prepared"))
        };
        Ok(Self {
            servers: part("servers")?,
            llama_server: part("llama_server")?,
            python: part("python")?,
            model: part("model")?,
        })
    }
}

/// A process that ends with the test, and its log.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with both its outputs in `log`.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = std::fs::File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{} does not start", command.get_program().display()))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status()?;
        ensure!(sent.success(), "the process {id} has ended: {}", self.log());
        Ok(())
    }

    /// Asks the process to end and waits until it has.
    pub async fn stop(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        self.signal("TERM")?;
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < until, "it does not stop: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback port that is free at the moment.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

/// Asks again and again until there is an answer; errors are shown once the time is over.
pub async fn until<T, F>(what: &str, seconds: u64, mut ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > end => {
                return Err(error.context(format!("{what}: not within {seconds} s")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
}
