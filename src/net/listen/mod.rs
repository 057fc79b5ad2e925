//! The doors: loopback sockets and the tailnet node's ports, behind one type.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_util::either::Either;

use crate::net::socket;
use crate::net::tailnet::{self, Accepted};

/// Where connections come from.
pub enum Listener {
    /// A port of the tailnet node.
    Tailnet(tailnet::Listener),
    /// A port of this machine's loopback interface.
    Loopback(TcpListener),
}

impl Listener {
    /// Listens on a loopback address; any other is refused, because without a tailnet there
    /// is nobody to say who calls.
    ///
    /// # Errors
    /// When the address is not a loopback one or is in use.
    pub fn loopback(address: SocketAddr) -> io::Result<Self> {
        must_be_loopback(address)?;
        Ok(Self::Loopback(socket::listen(address)?))
    }

    /// Serves on a loopback socket that was handed over; any other is refused.
    ///
    /// # Errors
    /// When its address is not a loopback one, or it can't be used.
    pub fn adopted(listener: std::net::TcpListener) -> io::Result<Self> {
        must_be_loopback(listener.local_addr()?)?;
        Ok(Self::Loopback(socket::adopt(listener)?))
    }

    /// The loopback address in use, where there is one.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tailnet(_) => None,
            Self::Loopback(listener) => listener.local_addr().ok(),
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// Whatever accepting gives; the listener stays usable.
    pub async fn accept(&mut self) -> io::Result<Accepted> {
        let listener = match self {
            Self::Tailnet(listener) => return listener.accept().await,
            Self::Loopback(listener) => listener,
        };
        let (stream, source) = listener.accept().await?;
        // An event must not wait for the acknowledgement of the one before it.
        stream.set_nodelay(true)?;
        let destination = stream.local_addr()?;
        Ok(Accepted {
            stream: Either::Right(stream),
            source,
            destination,
        })
    }
}

fn must_be_loopback(address: SocketAddr) -> io::Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{address} is no loopback address"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loopback_is_listened_on_and_nothing_else() {
        let refused = Listener::loopback("0.0.0.0:0".parse().unwrap()).err();
        assert_eq!(refused.unwrap().kind(), io::ErrorKind::InvalidInput);
        let mut listener = Listener::loopback("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local().unwrap();
        let client = tokio::net::TcpStream::connect(address).await.unwrap();
        let accepted = listener.accept().await.unwrap();
        assert_eq!(accepted.destination, address);
        assert_eq!(accepted.source, client.local_addr().unwrap());
    }
}
