//! Sockets on the host's network. The kernel would let each of them hold megabytes for a peer that
//! reads slowly, beside whatever the process holds; these have a bound.

mod alive;
mod dial;
mod names;

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

pub use alive::Alive;
pub use dial::connect;
pub use names::resolve;

/// Bytes on their way to a caller. The kernel doubles the number, for its own needs.
const SEND: u32 = 64 << 10;

/// Bytes of one response that have arrived and not been read.
pub const RECEIVE: u32 = 64 << 10;

/// The same where many responses may share a connection, from far away.
pub const RECEIVE_SHARED: u32 = 512 << 10;

/// Connections that wait to be accepted; the kernel may allow fewer.
const WAITING: u32 = 1_024;

fn of(address: SocketAddr) -> io::Result<TcpSocket> {
    match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

/// Listens; what is accepted has the bound too.
///
/// # Errors
/// When the address is in use, or not this machine's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = of(address)?;
    // After a restart the port may still have connections that are being closed.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// Serves on a socket that another process has opened; what is accepted has the bound too.
///
/// # Errors
/// When it can't be used without waiting.
pub fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    rustix::net::sockopt::set_socket_send_buffer_size(&listener, SEND as usize)?;
    TcpListener::from_std(listener)
}
