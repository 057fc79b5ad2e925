//! Connections that the embedded node has accepted, as `go/accept.go` announces them: one message each,
//! with a descriptor and both addresses, so that no connection can be taken for another's.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio_util::either::Either;

use super::{ffi, unix_stream};
use crate::net::tailnet::Accepted;
use crate::net::tailnet::stream::{Accept, canonical};

/// The socket on which the node announces the connections to one port.
#[derive(Debug)]
pub(super) struct Announced(AsyncFd<OwnedFd>);

impl Announced {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(ffi::register(socket)?))
    }
}

impl Accept for Announced {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let mut message = [0; ANNOUNCEMENT];
            match ready.try_io(|socket| ffi::receive(socket.as_fd(), &mut message)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(received) => {
                    let (count, socket) = received?;
                    return Poll::Ready(accepted(&message[..count], socket));
                }
                Err(_would_block) => {}
            }
        }
    }
}

/// The size of one announcement; its layout is described in `go/accept.go`.
const ANNOUNCEMENT: usize = 36;

fn accepted(message: &[u8], socket: Option<OwnedFd>) -> io::Result<Accepted> {
    if message.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (source, destination) = message
        .split_at_checked(ANNOUNCEMENT / 2)
        .and_then(|(source, destination)| Some((address(source)?, address(destination)?)))
        .ok_or_else(|| io::Error::other("an announcement of the wrong size"))?;
    let socket = socket.ok_or_else(|| io::Error::other("an announcement with no connection"))?;
    Ok(Accepted {
        stream: Either::Left(unix_stream(socket)?),
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as StdStream;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::net::tailnet::Listener;

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
        let mut listener = Listener::new(Announced::new(rust.into()).unwrap());
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
        let mut listener = Listener::new(Announced::new(rust.into()).unwrap());
        io::Write::write_all(&mut &go, &[1; ANNOUNCEMENT]).unwrap();
        assert_eq!(
            listener.accept().await.unwrap_err().kind(),
            io::ErrorKind::Other
        );
    }
}
