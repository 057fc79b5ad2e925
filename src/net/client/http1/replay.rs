//! A response from bytes that are there already, for those who try what the reader makes of them.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Connection, Error};

/// What a response came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Replayed {
    pub status: u16,
    pub fields: usize,
    pub data: Vec<u8>,
    /// Why it broke off, if it did.
    pub broken: Option<String>,
}

/// Reads a response that comes in pieces of `size` bytes, as the answer to `method`.
///
/// # Errors
/// When its head isn't one.
pub fn replay(bytes: &[u8], size: usize, method: http::Method) -> Result<Replayed, Error> {
    let server = Server {
        left: Bytes::copy_from_slice(bytes),
        size: size.max(1),
        is_asked: false,
    };
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = method;
    now(async {
        let sent = Connection::new(Box::new(server)).exchange(&request, None);
        let (head, mut body) = sent.await.map_err(|broken| broken.error)?.into_parts();
        let mut replayed = Replayed {
            status: head.status.as_u16(),
            fields: head.headers.len(),
            data: Vec::new(),
            broken: None,
        };
        while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await {
            match piece {
                Ok(piece) => replayed.data.extend_from_slice(&piece),
                Err(why) => replayed.broken = Some(format!("{why:?}")),
            }
        }
        Ok(replayed)
    })
}

/// Runs a future that waits for nothing but itself.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return output;
        }
    }
}

/// The server's end: it takes any request, and responds once it has one.
struct Server {
    left: Bytes,
    size: usize,
    is_asked: bool,
}

impl AsyncRead for Server {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_asked {
            return Poll::Pending;
        }
        let next = self.size.min(self.left.len()).min(buf.remaining());
        buf.put_slice(&self.left.split_to(next));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
