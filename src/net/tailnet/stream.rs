//! Connections and where they come from.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

/// A connection: to a node in this process, or of the host's network. Shutting it down closes the
/// writing half.
pub type Stream = Either<UnixStream, TcpStream>;

/// A connection of the host's network.
pub(super) fn over_tcp(stream: TcpStream) -> Stream {
    // Events are small and must not wait for one another.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    Either::Right(stream)
}

/// An accepted connection with both its addresses, IPv4 ones never mapped.
#[derive(Debug)]
pub struct Accepted {
    pub stream: Stream,
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// Accepts the connections of one port, as an implementation of the tailnet has them.
pub(super) trait Accept: std::fmt::Debug + Send {
    /// As [`Listener::accept`].
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>>;
}

/// Where connections to one port of the node arrive. Dropping it ends that.
#[derive(Debug)]
pub struct Listener(Box<dyn Accept>);

impl Listener {
    pub(super) fn new(accept: impl Accept + 'static) -> Self {
        Self(Box::new(accept))
    }

    /// The next connection. This may be cancelled without losing one. After
    /// an error of kind `UnexpectedEof` there will be no more.
    pub async fn accept(&mut self) -> io::Result<Accepted> {
        std::future::poll_fn(|cx| self.0.poll_accept(cx)).await
    }
}

/// An address that is never a mapped one.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
