//! Sockets that the manager has opened (`sd_listen_fds(3)`). Callers wait in the kernel's queue,
//! and none is refused, while one process follows another.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::net::tailnet::wait_for_runtime;

/// The socket is the unit's, so that is where to look.
const WHERE: &str = "iris.socket";

/// Why sockets that were handed over are not used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is one door to hand over.
    #[error(
        "more than one socket was handed over ({0}), and only the loopback door can be: leave one `ListenStream=` in {WHERE}"
    )]
    TooMany(String),
    /// It is not a socket that a door can be.
    #[error(
        "what was handed over is no TCP socket that listens: {WHERE} needs `ListenStream=` with an address like 127.0.0.1:8088, and no `Accept=yes`"
    )]
    NotListening,
    /// Callers there can't be identified.
    #[error(
        "the socket that was handed over listens on {0}, which is no loopback address, and anybody there would be taken for this machine: set `ListenStream=` in {WHERE} to the address of listen.loopback; the tailnet needs no socket"
    )]
    NotLoopback(SocketAddr),
    /// The configuration names another address.
    #[error(
        "the socket that was handed over listens on {handed}, and listen.loopback is {wanted}: make `ListenStream=` in {WHERE} and listen.loopback the same"
    )]
    Elsewhere {
        /// Where it listens.
        handed: SocketAddr,
        /// Where it should.
        wanted: SocketAddr,
    },
    /// The configuration has no such door.
    #[error(
        "the socket that was handed over listens on {0}, and listen.loopback is not set: set it to that address, or take the socket away by `systemctl disable --now {WHERE}`"
    )]
    NotWanted(SocketAddr),
}

/// What was handed to this process, if it can be the loopback door.
pub(super) fn take() -> Result<Option<TcpListener>, Refused> {
    let pid = std::env::var("LISTEN_PID").ok();
    if pid.and_then(|pid| pid.parse().ok()) != Some(std::process::id()) {
        return Ok(None);
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    // What follows removes variables.
    wait_for_runtime();
    let mut handed = ListenFd::from_env();
    match handed.len() {
        0 => return Ok(None),
        1 => {}
        several if names.is_empty() => return Err(Refused::TooMany(several.to_string())),
        _ => return Err(Refused::TooMany(names.replace(':', ", "))),
    }
    match handed.take_tcp_listener(0) {
        Ok(Some(listener)) if listens(&listener) => loopback(listener).map(Some),
        _ => Err(Refused::NotListening),
    }
}

#[cfg(not(target_vendor = "apple"))]
fn listens(listener: &TcpListener) -> bool {
    rustix::net::sockopt::socket_acceptconn(listener).unwrap_or(false)
}

/// macOS doesn't say.
#[cfg(target_vendor = "apple")]
fn listens(_: &TcpListener) -> bool {
    true
}

fn loopback(listener: TcpListener) -> Result<TcpListener, Refused> {
    match listener.local_addr() {
        Ok(address) if address.ip().is_loopback() => Ok(listener),
        Ok(address) => Err(Refused::NotLoopback(address)),
        Err(_) => Err(Refused::NotListening),
    }
}

/// Whether a socket is the door that is wanted.
pub(super) fn fits(listener: &TcpListener, wanted: Option<SocketAddr>) -> Result<(), Refused> {
    let handed = listener.local_addr().map_err(|_| Refused::NotListening)?;
    match wanted {
        None => Err(Refused::NotWanted(handed)),
        // Port 0 is any.
        Some(wanted) if wanted == handed || (wanted.port() == 0 && wanted.ip() == handed.ip()) => {
            Ok(())
        }
        Some(wanted) => Err(Refused::Elsewhere { handed, wanted }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_serves_only_as_the_door_that_is_wanted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let handed = listener.local_addr().unwrap();
        assert_eq!(fits(&listener, Some(handed)), Ok(()));
        assert_eq!(fits(&listener, "127.0.0.1:0".parse().ok()), Ok(()));
        assert_eq!(fits(&listener, None), Err(Refused::NotWanted(handed)));
        for other in ["[::1]:0", "127.0.0.2:0", "127.0.0.1:1"] {
            let wanted: SocketAddr = other.parse().unwrap();
            let refused = fits(&listener, Some(wanted)).unwrap_err();
            assert_eq!(refused, Refused::Elsewhere { handed, wanted });
        }
    }

    #[test]
    fn one_that_others_can_reach_is_no_loopback_door() {
        for open in ["0.0.0.0:0", "[::]:0"] {
            let listener = TcpListener::bind(open).unwrap();
            let address = listener.local_addr().unwrap();
            assert_eq!(
                loopback(listener).unwrap_err(),
                Refused::NotLoopback(address)
            );
        }
        assert!(loopback(TcpListener::bind("127.0.0.1:0").unwrap()).is_ok());
    }
}
