//! A `PostgreSQL` server of our own, in a directory of its own.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The user that Debian's package makes: the server refuses to be root's.
pub(crate) const USER: &str = "postgres";

/// A running server. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) dir: Arc<tempfile::TempDir>,
    pub(crate) programs: PathBuf,
    pub(crate) port: u16,
    pub(crate) child: Arc<Mutex<Child>>,
}

impl Server {
    pub(crate) fn start() -> Server {
        let programs = programs();
        let dir = tempfile::tempdir().unwrap();
        let [certificate, key] = ["crt", "key"].map(|ending| {
            let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ai.tail.test.");
            let copy = dir.path().join(ending);
            std::fs::copy(format!("{fixture}{ending}"), &copy).unwrap();
            copy
        });
        // The server wants its key for itself.
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
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let child = launch(&programs, dir.path(), port);
        Server {
            dir: Arc::new(dir),
            programs,
            port,
            child: Arc::new(Mutex::new(child)),
        }
    }

    pub(crate) fn url(&self, database: &str) -> String {
        self.url_of(USER, "127.0.0.1", database)
    }

    pub(crate) fn url_of(&self, user: &str, host: &str, database: &str) -> String {
        format!("postgres://{user}@{host}:{}/{database}", self.port)
    }

    /// A client that may do everything.
    pub(crate) async fn client(&self, database: &str) -> tokio_postgres::Client {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            match tokio_postgres::connect(&self.url(database), tokio_postgres::NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return client;
                }
                Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the server as a power cut would.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again after a kill. What is left of the old one can hold it up for a moment.
    pub(crate) async fn restart(&self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            *self.child.lock().unwrap() = launch(&self.programs, self.dir.path(), self.port);
            tokio::time::sleep(Duration::from_millis(500)).await;
            if self.child.lock().unwrap().try_wait().unwrap().is_none() {
                return;
            }
            assert!(Instant::now() < deadline, "the server does not start again");
        }
    }

    pub(crate) fn stop(self) {
        let mut child = self.child.lock().unwrap();
        let pid = child.id().to_string();
        // SIGINT is the server's own word for a quick end.
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = child.wait();
    }
}

/// Makes a file the server's.
pub(crate) fn give(file: &Path) {
    if is_root() {
        let id = |what| {
            let id = Command::new("id").args([what, USER]).output().unwrap();
            String::from_utf8(id.stdout).unwrap().trim().parse().ok()
        };
        chown(file, id("-u"), id("-g")).unwrap();
    }
}

pub(crate) fn launch(programs: &Path, dir: &Path, port: u16) -> Child {
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

/// A program of the server's, run by a user it accepts, in a place where that user may be.
pub(crate) fn program(programs: &Path, name: &str) -> Command {
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

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
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
