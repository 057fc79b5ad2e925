//! A machine with systemd in namespaces of its own: with the service as `docs/SERVICE.md` installs it
//! by hand, or bare.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::harness::skip;
use crate::namespace::is_root;

/// What the script prints if such a machine is impossible here.
const IMPOSSIBLE: i32 = 77;

/// The longest that systemd may take to start.
const START: Duration = Duration::from_mins(1);

pub struct Machine {
    /// `unshare`, whose child is the machine's first process; it ends with it.
    process: Child,
    log: PathBuf,
}

impl Machine {
    /// Starts a machine that is kept in `dir`, with a program and its configuration. What is in
    /// its folder `units` is put beside the unit. `None` if such a machine is impossible here.
    pub async fn start(dir: &Path, program: &Path, config: &str) -> anyhow::Result<Option<Self>> {
        std::fs::create_dir_all(dir)?;
        std::fs::write(dir.join("iris.hujson"), config)?;
        let project = crate::root();
        Self::boot(dir, program, Some(&project.join("config/iris.service"))).await
    }

    /// Starts a machine on which nothing is installed. The program, and what is in the folder
    /// `files` of `dir`, are in `/srv`.
    pub async fn bare(dir: &Path, program: &Path) -> anyhow::Result<Option<Self>> {
        std::fs::create_dir_all(dir.join("files"))?;
        Self::boot(dir, program, None).await
    }

    async fn boot(dir: &Path, program: &Path, unit: Option<&Path>) -> anyhow::Result<Option<Self>> {
        if !is_root() || !Path::new("/lib/systemd/systemd").exists() {
            skip("the unit, which takes root and the package systemd");
            return Ok(None);
        }
        std::fs::create_dir_all(dir.join("root"))?;
        std::fs::copy(program, dir.join("iris"))?;
        let project = crate::root();
        let path = dir.join("log");
        let log = std::fs::File::create(&path)?;
        let process = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount", "--cgroup"])
            .args(["--uts", "--ipc"])
            .arg(project.join("tests/support/machine.sh"))
            .arg(dir)
            .args(unit)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut machine = Self { process, log: path };
        let until = Instant::now() + START;
        while !machine.answers() {
            let ended = machine.process.try_wait()?.and_then(|status| status.code());
            if ended == Some(IMPOSSIBLE) {
                skip(&format!("the unit: {}", machine.log().trim()));
                return Ok(None);
            }
            let is_late = Instant::now() > until;
            ensure!(!is_late && ended.is_none(), "no systemd: {}", machine.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Some(machine))
    }

    /// Whether systemd accepts commands.
    fn answers(&self) -> bool {
        let asked = self.run(&["systemctl", "show", "--property", "Version"]);
        asked.is_ok_and(|output| output.status.success())
    }

    /// Runs a command inside.
    pub fn run(&self, command: &[&str]) -> anyhow::Result<Output> {
        let id = self.process.id();
        let children = format!("/proc/{id}/task/{id}/children");
        let first = std::fs::read_to_string(children)?.trim().to_owned();
        let output = Command::new("nsenter")
            .args(["--target", &first, "--mount", "--pid", "--cgroup", "--ipc"])
            .args(["--uts", "--root", "--wd"])
            .args(command)
            .output()?;
        Ok(output)
    }

    /// Properties of the unit.
    pub fn show(&self, names: &str) -> anyhow::Result<String> {
        let output = self.run(&["systemctl", "show", "iris", "--value", "--property", names])?;
        let text = String::from_utf8(output.stdout)?;
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The output of the machine and the unit.
    pub fn log(&self) -> String {
        let own = std::fs::read_to_string(&self.log).unwrap_or_default();
        let log = self.run(&["journalctl", "--no-pager", "--unit", "iris"]);
        let log = log.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        own + &log.unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
