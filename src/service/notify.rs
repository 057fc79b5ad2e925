//! What the manager is told: datagrams of a few words, as `sd_notify(3)` has them.

use std::ffi::OsStr;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// Whom to tell of the state. Clones share it; without a manager each word is lost.
#[derive(Clone, Debug, Default)]
pub struct Manager(Option<Arc<UnixDatagram>>);

impl Manager {
    /// The manager that `NOTIFY_SOCKET` names.
    pub(super) fn from_environment() -> Self {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Self::default();
        };
        match connected(&path) {
            Ok(socket) => Self(Some(Arc::new(socket))),
            Err(error) => {
                tracing::warn!(%error, "the service manager can't be told of the state");
                Self::default()
            }
        }
    }

    /// The process serves.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// Another configuration is being read. It has to be told of the end, by [`Manager::reloaded`].
    pub fn reloading(&self) {
        self.tell("RELOADING=1");
    }

    /// What came of it, in one line.
    pub fn reloaded(&self, what: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", what.replace('\n', " ")));
    }

    /// The process ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=running requests may end");
    }

    /// It is not hung.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Never waits: a manager that does not read is not to hang what it watches.
    fn tell(&self, words: &str) {
        if let Some(socket) = &self.0
            && let Err(error) = socket.send(words.as_bytes())
        {
            tracing::warn!(%error, words, "the service manager was not told of the state");
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

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn the_manager_is_told_in_its_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listening = UnixDatagram::bind(&path).unwrap();
        let manager = Manager(Some(Arc::new(connected(path.as_os_str()).unwrap())));
        manager.ready();
        assert_eq!(heard(&listening), "READY=1\nSTATUS=serving");
        manager.reloading();
        assert_eq!(heard(&listening), "RELOADING=1");
        manager.reloaded("two\nlines");
        assert_eq!(heard(&listening), "READY=1\nSTATUS=two lines");
        manager.alive();
        assert_eq!(heard(&listening), "WATCHDOG=1");
        // Nobody reads: nothing waits, and nothing fails.
        for _ in 0..10_000 {
            manager.alive();
        }
        Manager::default().stopping();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_manager_without_a_file_is_found() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("iris-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listening = UnixDatagram::bind_addr(&address).unwrap();
        let manager = connected(OsStr::new(&format!("@{name}"))).unwrap();
        Manager(Some(Arc::new(manager))).stopping();
        assert!(heard(&listening).starts_with("STOPPING=1"));
    }
}
