//! The real parts: an inference server, and clients that run as processes of their own.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// What the scripts have built and installed.
pub struct Parts {
    pub llama_server: PathBuf,
    pub model: PathBuf,
    /// A Python that can write such a model.
    pub model_python: PathBuf,
    /// Programs of the Python environment.
    pub python: PathBuf,
    pub node_modules: PathBuf,
}

impl Parts {
    /// Builds and installs what is missing; says on standard error what and how long.
    pub fn prepare() -> anyhow::Result<Self> {
        let servers = support::parts::Parts::prepare("prepare.sh", &[])?;
        let clients = support::parts::Parts::prepare("clients.sh", &[])?;
        Ok(Self {
            llama_server: servers.get("llama_server")?,
            model: servers.get("model")?,
            model_python: servers.get("python")?,
            python: clients.get("python")?,
            node_modules: clients.get("node_modules")?,
        })
    }
}

/// A process in a group of its own, which ends with all of its group when it is dropped.
pub struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts a program with its outputs in `dir`.
    pub fn start(command: &mut Command, dir: &Path) -> anyhow::Result<Self> {
        let (out, err) = (dir.join("stdout"), dir.join("stderr"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} does not start", command.get_program().display()))?;
        Ok(Self { child, out, err })
    }

    pub fn out(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    pub fn err(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap_or_default()
    }

    /// Its output, to explain a failure.
    pub fn log(&self) -> String {
        format!("its output:\n{}\nits errors:\n{}", self.out(), self.err())
    }

    /// Waits until it ends well, and returns what it wrote.
    pub async fn output(mut self, limit: Duration) -> anyhow::Result<String> {
        let until = Instant::now() + limit;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(self.out()),
                Some(status) => bail!("it ended with {status}; {}", self.log()),
                None if Instant::now() > until => {
                    bail!("it takes longer than {limit:?}; {}", self.log())
                }
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What the program has started belongs to its group and outlives it.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill")
            .args(["-s", "KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.child.wait();
    }
}

/// Ends what clients have left behind in groups of their own: daemons that name a folder of these
/// tests on their command line.
pub fn end_daemons(dir: &Path) {
    let name = dir.display().to_string();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let id = process.file_name();
        let is_own = id.to_str() == Some(&std::process::id().to_string());
        if !is_own && String::from_utf8_lossy(&line).contains(&name) {
            let _ = Command::new("kill").arg(id).stderr(Stdio::null()).status();
        }
    }
}
