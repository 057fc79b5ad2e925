//! Connections and where they come from.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::ffi;

/// A connection over the tailnet. Shutting it down closes the writing half.
#[derive(Debug)]
pub struct Stream(Socket);

#[derive(Debug)]
enum Socket {
    /// The other end belongs to the embedded node.
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self(Socket::Unix(stream))
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        // Events are small and must not wait for one another.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        Self(Socket::Tcp(stream))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// An accepted connection with both its addresses, IPv4 ones never mapped.
#[derive(Debug)]
pub struct Accepted {
    pub stream: Stream,
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// Where connections to one port of the node arrive. Dropping it ends that.
#[derive(Debug)]
pub struct Listener(Source);

#[derive(Debug)]
enum Source {
    Announced(AsyncFd<OwnedFd>),
    Bound {
        listeners: Vec<TcpListener>,
        first: usize,
    },
}

impl Listener {
    /// Reads what `go/accept.go` announces.
    pub(super) fn announced(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(Source::Announced(ffi::register(socket)?)))
    }

    pub(super) fn bound(listeners: Vec<TcpListener>) -> Self {
        Self(Source::Bound {
            listeners,
            first: 0,
        })
    }

    /// The next connection. This may be cancelled without losing one. After
    /// an error of kind `UnexpectedEof` there will be no more.
    pub async fn accept(&mut self) -> io::Result<Accepted> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match &mut self.0 {
            Source::Announced(socket) => loop {
                let mut ready = ready!(socket.poll_read_ready(cx))?;
                let mut message = [0; ANNOUNCEMENT];
                match ready.try_io(|socket| ffi::receive(socket.as_fd(), &mut message)) {
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(received) => {
                        let (count, socket) = received?;
                        return Poll::Ready(announced(&message[..count], socket));
                    }
                    Err(_would_block) => {}
                }
            },
            Source::Bound { listeners, first } => {
                // Start at another one each time, so that none is starved.
                *first = (*first + 1) % listeners.len().max(1);
                for index in 0..listeners.len() {
                    let listener = &listeners[(*first + index) % listeners.len()];
                    if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                        let (stream, source) = accepted?;
                        let destination = canonical(stream.local_addr()?);
                        return Poll::Ready(Ok(Accepted {
                            stream: stream.into(),
                            source: canonical(source),
                            destination,
                        }));
                    }
                }
                Poll::Pending
            }
        }
    }
}

/// The size of one announcement; its layout is told in `go/accept.go`.
const ANNOUNCEMENT: usize = 36;

fn announced(message: &[u8], socket: Option<OwnedFd>) -> io::Result<Accepted> {
    if message.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (source, destination) = message
        .split_at_checked(ANNOUNCEMENT / 2)
        .and_then(|(source, destination)| Some((address(source)?, address(destination)?)))
        .ok_or_else(|| io::Error::other("an announcement of the wrong size"))?;
    let socket = socket.ok_or_else(|| io::Error::other("an announcement with no connection"))?;
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true)?;
    Ok(Accepted {
        stream: UnixStream::from_std(stream)?.into(),
        source,
        destination,
    })
}

fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let bytes: &[u8; ANNOUNCEMENT / 2] = bytes.try_into().ok()?;
    let (ip, port) = bytes.split_first_chunk::<16>()?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(canonical(SocketAddr::new(
        IpAddr::V6(Ipv6Addr::from(*ip)),
        port,
    )))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as StdStream;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn announcement(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
        let mut message = Vec::new();
        for address in [source, destination] {
            let ip = match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            message.extend(ip.octets());
            message.extend(address.port().to_be_bytes());
        }
        message
    }

    #[tokio::test]
    async fn each_connection_comes_with_its_own_addresses() {
        let (go, rust) = StdStream::pair().unwrap();
        rust.set_nonblocking(true).unwrap();
        let mut listener = Listener::announced(rust.into()).unwrap();
        let destination: SocketAddr = "[fd7a:115c:a1e0::1]:80".parse().unwrap();
        // All are queued before the first is accepted.
        let mut peers = Vec::new();
        for port in 1..=20_u16 {
            let (ours, theirs) = StdStream::pair().unwrap();
            let source = SocketAddr::new([100, 64, 0, 7].into(), port);
            ffi::send(
                go.as_fd(),
                &announcement(source, destination),
                theirs.as_fd(),
            )
            .unwrap();
            ours.set_nonblocking(true).unwrap();
            peers.push((source, UnixStream::from_std(ours).unwrap()));
        }
        for (source, mut peer) in peers {
            let mut accepted = listener.accept().await.unwrap();
            assert_eq!(
                (accepted.source, accepted.destination),
                (source, destination)
            );
            accepted
                .stream
                .write_all(&source.port().to_be_bytes())
                .await
                .unwrap();
            accepted.stream.shutdown().await.unwrap();
            let mut text = Vec::new();
            peer.read_to_end(&mut text).await.unwrap();
            assert_eq!(text, source.port().to_be_bytes());
        }
        drop(go);
        let end = listener.accept().await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_message_without_a_connection_is_an_error() {
        let (go, rust) = StdStream::pair().unwrap();
        rust.set_nonblocking(true).unwrap();
        let mut listener = Listener::announced(rust.into()).unwrap();
        io::Write::write_all(&mut &go, &[1; ANNOUNCEMENT]).unwrap();
        assert_eq!(
            listener.accept().await.unwrap_err().kind(),
            io::ErrorKind::Other
        );
    }
}
