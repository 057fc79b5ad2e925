//! The service manager that runs the process, which is systemd: what it hands over, and how it is
//! notified. Without one there is nothing to take, and nothing is sent.

mod notify;
mod sockets;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

pub use notify::{Manager, Preparing};
pub use sockets::Refused;

/// What the manager has given this process.
#[derive(Debug, Default)]
pub struct Service {
    /// The socket of the loopback door, which it keeps open from one process to the next.
    listener: Option<TcpListener>,
    /// The manager, which is notified of the state.
    pub manager: Manager,
    /// The manager restarts the process when it has been silent for so long.
    pub watchdog: Option<Duration>,
}

impl Service {
    /// Takes what the environment names. Call it before other threads read the environment: the
    /// variables of the sockets are removed, so that no child takes them for its own. A socket that
    /// can't be the loopback door is an error.
    pub fn take() -> Result<Self, Refused> {
        Ok(Self {
            listener: sockets::take()?,
            manager: Manager::from_environment(),
            watchdog: notify::watchdog(),
        })
    }

    /// The socket for the loopback door at `wanted`, if one was handed over; only the first call
    /// returns it. A socket at another address, or without a loopback door, is an error: it would serve
    /// no callers, or the wrong ones.
    pub fn listener(&mut self, wanted: Option<SocketAddr>) -> Result<Option<TcpListener>, Refused> {
        match self.listener.take() {
            Some(listener) => sockets::fits(&listener, wanted).map(|()| Some(listener)),
            None => Ok(None),
        }
    }
}
