//! Servers beside a primary: a standby that follows it, and a pooler in front of it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::postgres::{Server, USER, give, program};
use support::process::free_address;

/// A standby of `primary`, which takes queries.
pub(crate) async fn standby(primary: &Server) -> Server {
    let dir = tempfile::tempdir().unwrap();
    for name in ["crt", "key"] {
        // The mode of the key is copied as well.
        std::fs::copy(primary.dir.path().join(name), dir.path().join(name)).unwrap();
        give(&dir.path().join(name));
    }
    give(dir.path());
    let made = program(&primary.programs, "pg_basebackup")
        .args(["-d", &primary.url("postgres"), "-X", "stream", "-c", "fast"])
        .args(["-R", "--no-sync", "-D"])
        .arg(dir.path().join("data"))
        .status()
        .unwrap();
    assert!(made.success(), "pg_basebackup: {made}");
    let port = free_address().port();
    let programs = primary.programs.clone();
    Server::launched(programs, dir, port).expect("the standby starts")
}

/// `PgBouncer` in front of a server, which gives clients another session with every transaction.
pub(crate) struct Bouncer {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Bouncer {
    /// `None` where the program is not installed. At most `sessions` of the server are used.
    pub(crate) async fn start(server: &Server, sessions: usize) -> Option<Bouncer> {
        let places = [
            "/usr/sbin",
            "/usr/bin",
            "/usr/local/bin",
            "/opt/homebrew/bin",
        ];
        let mut places = places.iter().map(std::path::Path::new);
        let place = places.find(|place| place.join("pgbouncer").exists())?;
        let dir = tempfile::tempdir().unwrap();
        let port = free_address().port();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={USER}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = {sessions}\n\
             server_round_robin = 1\n",
            server.port
        );
        let file = dir.path().join("pgbouncer.ini");
        std::fs::write(&file, text).unwrap();
        give(dir.path());
        give(&file);
        let mut command: Command = program(place, "pgbouncer");
        let command = command
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let bouncer = Bouncer {
            child: command.spawn().unwrap(),
            port,
            _dir: dir,
        };
        let end = Instant::now() + Duration::from_mins(1);
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            assert!(Instant::now() < end, "pgbouncer does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(bouncer)
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
