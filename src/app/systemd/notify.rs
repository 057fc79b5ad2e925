//! Messages to the service manager: short datagrams in the form of `sd_notify(3)`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::base::lock::lock;

/// The connection to the service manager. Clones share it; without a manager, messages are dropped.
#[derive(Clone, Debug, Default)]
pub struct Manager(Option<Arc<Connection>>);

#[derive(Debug)]
struct Connection {
    socket: UnixDatagram,
    status: Mutex<Status>,
}

/// The two parts of the one line that a manager keeps. They change independently of each other.
#[derive(Debug)]
struct Status {
    /// Where the process serves.
    line: String,
    /// What is wrong with the configuration file, if something is.
    fault: Option<String>,
}

/// Between two messages that the start goes on.
const AGAIN: Duration = Duration::from_secs(20);

/// A start that takes a while; it goes on once this is dropped.
#[derive(Debug)]
pub struct Preparing {
    _done: mpsc::Sender<()>,
}

impl Manager {
    /// The manager that `NOTIFY_SOCKET` names.
    pub(super) fn from_environment() -> Self {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Self::default();
        };
        match connected(&path) {
            Ok(socket) => Self::on(socket),
            Err(error) => {
                tracing::warn!(%error, "cannot notify the service manager");
                Self::default()
            }
        }
    }

    fn on(socket: UnixDatagram) -> Self {
        let status = Mutex::new(Status {
            line: "serving".to_owned(),
            fault: None,
        });
        Self(Some(Arc::new(Connection { socket, status })))
    }

    /// The process serves.
    pub fn ready(&self) {
        self.tell_status("READY=1\n", |_| {});
    }

    /// Where it serves, in one line; `systemctl status` shows it.
    pub fn serving(&self, line: &str) {
        self.tell_status("", |status| status.line = line.replace('\n', " "));
    }

    /// Another configuration is being read. Call [`Manager::reloaded`] afterwards.
    pub fn reloading(&self) {
        self.tell("RELOADING=1");
    }

    /// The end of a reload, with what is wrong with the file if something is.
    pub fn reloaded(&self, fault: Option<&str>) {
        self.tell_status("READY=1\n", |status| {
            status.fault = fault.map(|fault| fault.replace('\n', " "));
        });
    }

    /// The process ends.
    pub fn stopping(&self) {
        self.tell_status("STOPPING=1\n", |status| {
            "finishing running requests".clone_into(&mut status.line);
            status.fault = None;
        });
    }

    fn tell_status(&self, before: &str, change: impl FnOnce(&mut Status)) {
        let Some(connection) = &self.0 else { return };
        let mut status = lock(&connection.status);
        change(&mut status);
        let mut words = format!("{before}STATUS={}", status.line);
        if let Some(fault) = &status.fault {
            words.push_str("; ");
            words.push_str(fault);
        }
        // Under the lock: the manager keeps the last line that it receives, which must be the newest.
        self.tell(&words);
        drop(status);
    }

    /// Extends the time limit of the start until the returned value is dropped. After an update all
    /// records of the database may have to be rewritten.
    #[must_use]
    pub fn preparing(&self, what: &str) -> Preparing {
        self.preparing_with(what, AGAIN)
    }

    fn preparing_with(&self, what: &str, again: Duration) -> Preparing {
        let extended = (3 * again).as_micros();
        let words = format!("EXTEND_TIMEOUT_USEC={extended}\nSTATUS={what}");
        let (done, is_done) = mpsc::channel::<()>();
        let manager = self.clone();
        if self.0.is_some() {
            self.tell(&words);
            // A thread, because opening the database blocks the one that it is done on.
            let ticking = move || {
                while is_done.recv_timeout(again) == Err(RecvTimeoutError::Timeout) {
                    manager.tell(&words);
                }
            };
            let ticker = std::thread::Builder::new().name("start".to_owned());
            if let Err(error) = ticker.spawn(ticking) {
                tracing::warn!(%error, "cannot extend the time limit of the start");
            }
        }
        Preparing { _done: done }
    }

    /// The process isn't hung.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Never waits: a manager that doesn't read must not hang the process that it watches.
    fn tell(&self, words: &str) {
        if let Some(connection) = &self.0
            && let Err(error) = connection.socket.send(words.as_bytes())
        {
            tracing::warn!(%error, words, "cannot notify the service manager");
        }
    }
}

fn connected(path: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match path.as_encoded_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        }
        _ => socket.connect_addr(&SocketAddr::from_pathname(path)?)?,
    }
    Ok(socket)
}

/// After how much silence the manager takes this process for hung, if it does.
pub(super) fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let ours = std::env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(std::process::id().into());
    let within = number("WATCHDOG_USEC").filter(|within| ours && *within > 0)?;
    Some(Duration::from_micros(within))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening() -> (tempfile::TempDir, UnixDatagram, Manager) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listening = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::on(connected(path.as_os_str()).unwrap());
        (dir, listening, manager)
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn the_manager_is_notified_in_its_own_words() {
        let (_dir, listening, manager) = listening();
        manager.ready();
        assert_eq!(heard(&listening), "READY=1\nSTATUS=serving");
        manager.reloading();
        assert_eq!(heard(&listening), "RELOADING=1");
        manager.serving("serving http://ai");
        assert_eq!(heard(&listening), "STATUS=serving http://ai");
        manager.reloaded(Some("two\nlines"));
        let status = heard(&listening);
        assert_eq!(status, "READY=1\nSTATUS=serving http://ai; two lines");
        // Neither part of the line replaces the other one.
        manager.serving("serving http://ai.test");
        let status = heard(&listening);
        assert_eq!(status, "STATUS=serving http://ai.test; two lines");
        manager.reloaded(None);
        assert_eq!(heard(&listening), "READY=1\nSTATUS=serving http://ai.test");
        manager.alive();
        assert_eq!(heard(&listening), "WATCHDOG=1");
        // Nobody reads: nothing waits, and nothing fails.
        for _ in 0..10_000 {
            manager.alive();
        }
        Manager::default().stopping();
    }

    #[test]
    fn a_long_start_is_extended_until_it_is_done() {
        let (_dir, listening, manager) = listening();
        let preparing = manager.preparing_with("opening the database", Duration::from_millis(5));
        for _ in 0..3 {
            let expected = "EXTEND_TIMEOUT_USEC=15000\nSTATUS=opening the database";
            assert_eq!(heard(&listening), expected);
        }
        drop(preparing);
        manager.ready();
        // Messages that were under way come before it, and none after it.
        while heard(&listening) != "READY=1\nSTATUS=serving" {}
        drop(Manager::default().preparing("nothing"));
    }

    /// Two changes at once: the message that is sent last has both.
    #[test]
    fn the_manager_hears_the_newest_line_last() {
        let (_dir, listening, manager) = listening();
        let begin = std::sync::Barrier::new(2);
        for nth in 0..15_000 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    begin.wait();
                    manager.serving(&format!("serving {nth}"));
                });
                begin.wait();
                manager.reloaded(Some(&format!("fault {nth}")));
            });
            heard(&listening);
            let last = heard(&listening);
            let both = format!("STATUS=serving {nth}; fault {nth}");
            assert!(last.ends_with(&both), "{last}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_manager_without_a_file_is_found() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("iris-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listening = UnixDatagram::bind_addr(&address).unwrap();
        let manager = connected(OsStr::new(&format!("@{name}"))).unwrap();
        Manager::on(manager).stopping();
        assert!(heard(&listening).starts_with("STOPPING=1"));
    }
}
