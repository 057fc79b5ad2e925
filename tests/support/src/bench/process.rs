//! Processes of a peer: started, watched, and ended with their children.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A peer that runs. It ends when this is dropped.
pub struct Running {
    child: Child,
    pub port: u16,
    /// Requests go to the provider directly, without a peer.
    none: bool,
}

/// A port on which nothing listens.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Running {
    /// Starts a program and waits until it listens.
    pub fn start(command: &mut Command, port: u16, patience: Duration) -> Result<Self, String> {
        let mut running = Self::spawn(command)?;
        running.port = port;
        running.wait(patience, || {
            TcpStream::connect(("127.0.0.1", port)).ok().map(|_| ())
        })?;
        Ok(running)
    }

    /// Starts a program that chooses its port itself and writes it to a file.
    pub fn announced(
        command: &mut Command,
        file: &Path,
        patience: Duration,
    ) -> Result<Self, String> {
        let mut running = Self::spawn(command)?;
        running.port = running.wait(patience, || {
            std::fs::read_to_string(file).ok()?.trim().parse().ok()
        })?;
        Ok(running)
    }

    fn spawn(command: &mut Command) -> Result<Self, String> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            child,
            port: 0,
            none: false,
        })
    }

    fn wait<T>(
        &mut self,
        patience: Duration,
        is_there: impl Fn() -> Option<T>,
    ) -> Result<T, String> {
        let until = Instant::now() + patience;
        loop {
            if let Some(it) = is_there() {
                return Ok(it);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            if Instant::now() > until {
                return Err(format!("it did not listen within {patience:?}"));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// No peer at all.
    pub fn none(port: u16) -> Result<Self, String> {
        let child = Command::new("true").spawn();
        Ok(Self {
            child: child.map_err(|error| error.to_string())?,
            port,
            none: true,
        })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its process and all descendants.
    fn family(&self) -> Vec<u32> {
        if self.none {
            return Vec::new();
        }
        let mut family = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = family.get(next).copied() {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let children = std::fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                family.extend(
                    children
                        .split_whitespace()
                        .filter_map(|pid| pid.parse::<u32>().ok()),
                );
            }
            next += 1;
        }
        family
    }

    /// CPU time so far, user and system.
    pub fn cpu(&self) -> Duration {
        self.family().into_iter().map(cpu_of).sum()
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> u64 {
        self.family().into_iter().filter_map(resident).sum()
    }
}

/// CPU time of one process so far, user and system.
pub fn cpu_of(pid: u32) -> Duration {
    // There are 100 ticks a second on every Linux.
    Duration::from_millis(ticks(pid).unwrap_or_default() * 10)
}

fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.rsplit_once(')')?.1;
    let mut fields = after.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory of one process in KiB.
pub fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

impl Drop for Running {
    fn drop(&mut self) {
        // They are asked first, so that they can end their children.
        for pid in self.family() {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
