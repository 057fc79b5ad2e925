//! The manager that runs the process, which is systemd: what it hands over, and what it is told.
//! Without one there is nothing to take, and nobody is told.

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
    /// Whom to tell of the state.
    manager: Manager,
    /// The manager restarts the process when it has been silent for so long.
    watchdog: Option<Duration>,
}

impl Service {
    /// Takes what the environment tells of. To be called while the process has one thread: the
    /// variables of the sockets are removed, so that no child takes them for its own.
    ///
    /// # Errors
    /// When what was handed over can't be the loopback door.
    pub fn take() -> Result<Self, Refused> {
        Ok(Self {
            listener: sockets::take()?,
            manager: Manager::from_environment(),
            watchdog: notify::watchdog(),
        })
    }

    /// The socket for the loopback door at `wanted`, if one was handed over; it can be had once.
    ///
    /// # Errors
    /// When there is one, and it listens elsewhere or no door is wanted: it would let nobody in,
    /// or those who were not meant.
    pub fn listener(&mut self, wanted: Option<SocketAddr>) -> Result<Option<TcpListener>, Refused> {
        match self.listener.take() {
            Some(listener) => sockets::fits(&listener, wanted).map(|()| Some(listener)),
            None => Ok(None),
        }
    }

    /// Whom to tell of the state.
    #[must_use]
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// After how much silence the manager restarts the process.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }
}
