//! A `PostgreSQL` server of our own, in a directory of its own.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::namespace::is_root;
use crate::process::free_address;

/// What a primary or a standby writes to its log once it can be used.
const READY: &str = "database system is ready to accept";
/// The longest that a start may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// The user that Debian's package creates: the server refuses to run as root.
pub const USER: &str = "postgres";

/// A running server. Clones share it.
#[derive(Clone)]
pub struct Server {
    pub dir: Arc<tempfile::TempDir>,
    pub programs: PathBuf,
    pub port: u16,
    pub child: Arc<Mutex<Child>>,
}

impl Server {
    pub fn start() -> Server {
        let programs = programs();
        let dir = tempfile::tempdir().unwrap();
        let [certificate, key] = ["crt", "key"].map(|ending| {
            let fixture = format!("tests/fixtures/ai.tail.test.{ending}");
            let copy = dir.path().join(ending);
            std::fs::copy(crate::root().join(fixture), &copy).unwrap();
            copy
        });
        // The server refuses a key that others can read.
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        for file in [dir.path(), &certificate, &key] {
            give(file);
        }
        let made = program(&programs, "initdb")
            .args(["-A", "trust", "--no-sync", "-E", "UTF8", "-U", USER, "-D"])
            .arg(dir.path().join("data"))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb: {made}");
        let port = free_address().port();
        Self::launched(programs, dir, port).expect("the server starts; its log is above")
    }

    /// A server on the data of a folder, once it takes queries. `None` if it has ended.
    pub fn launched(programs: PathBuf, dir: tempfile::TempDir, port: u16) -> Option<Server> {
        let child = launch(&programs, dir.path(), port);
        let server = Server {
            dir: Arc::new(dir),
            programs,
            port,
            child: Arc::new(Mutex::new(child)),
        };
        server.is_ready_after(0).then_some(server)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits until it is ready for the next time after `before` times; false if it ends instead.
    fn is_ready_after(&self, before: usize) -> bool {
        let end = Instant::now() + PATIENCE;
        while self.log().matches(READY).count() <= before {
            if self.child.lock().unwrap().try_wait().unwrap().is_some() {
                return false;
            }
            assert!(
                Instant::now() < end,
                "it does not get ready: {}",
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
        true
    }

    pub fn url(&self, database: &str) -> String {
        self.url_of(USER, "127.0.0.1", database)
    }

    pub fn url_of(&self, user: &str, host: &str, database: &str) -> String {
        format!("postgres://{user}@{host}:{}/{database}", self.port)
    }

    /// Ends the server as a power cut would.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again after a kill, and waits until it takes queries. Remains of the old one can
    /// delay it for a moment.
    pub async fn restart(&self) {
        let server = self.clone();
        tokio::task::spawn_blocking(move || server.restart_now())
            .await
            .unwrap();
    }

    fn restart_now(&self) {
        let end = Instant::now() + PATIENCE;
        let before = self.log().matches(READY).count();
        loop {
            *self.child.lock().unwrap() = launch(&self.programs, self.dir.path(), self.port);
            if self.is_ready_after(before) {
                return;
            }
            assert!(Instant::now() < end, "it does not start: {}", self.log());
        }
    }

    pub fn stop(self) {
        let mut child = self.child.lock().unwrap();
        let pid = child.id().to_string();
        // SIGINT asks the server for a fast shutdown.
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = child.wait();
    }
}

/// Gives a file to the server's user.
pub fn give(file: &Path) {
    if is_root() {
        let id = |what| {
            let id = Command::new("id").args([what, USER]).output().unwrap();
            String::from_utf8(id.stdout).unwrap().trim().parse().ok()
        };
        chown(file, id("-u"), id("-g")).unwrap();
    }
}

pub fn launch(programs: &Path, dir: &Path, port: u16) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .unwrap();
    program(programs, "postgres")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"])
        .arg(dir)
        .args(["-c", "ssl=on"])
        .args(["-c", &format!("ssl_cert_file={}/crt", dir.display())])
        .args(["-c", &format!("ssl_key_file={}/key", dir.display())])
        // What the kernel holds survives the kill of a process.
        .args(["-c", "fsync=off", "-c", "max_connections=60", "-D"])
        .arg(dir.join("data"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A program of the server, run by a user that it accepts, in a folder that the user may enter.
pub fn program(programs: &Path, name: &str) -> Command {
    let path = programs.join(name);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        let group = format!("--regid={USER}");
        command.args([&format!("--reuid={USER}"), &group, "--clear-groups"]);
        command.arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir("/");
    command
}

/// The newest installed version.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let mut found: Vec<_> = versions
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| {
        panic!("no PostgreSQL in /usr/lib/postgresql; install Debian's package \"postgresql\"")
    })
}
