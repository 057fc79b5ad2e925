//! What a connection was used for. A provider may close one that is kept, just as a request goes out on
//! it: whether it may be sent again depends on whether the connection was used before, and on
//! whether anything of a response has come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

/// Bytes that are read at once, so that a quick provider and a slow caller don't fill memory. Just
/// below a power of two: hyper takes a read that fills a buffer as a wish for twice as much.
const READ: u64 = (32 << 10) - 1;

/// What a connection was used for so far. Clones are about the same connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Used(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// A response has begun on it.
    has_responded: AtomicBool,
    /// Something has come since something was last sent.
    has_read: AtomicBool,
}

impl Used {
    /// Notes that a response has begun.
    pub(super) fn responded(&self) {
        self.0.has_responded.store(true, Ordering::Relaxed);
    }

    /// Whether an earlier response has begun on it.
    pub(super) fn is_reused(&self) -> bool {
        self.0.has_responded.load(Ordering::Relaxed)
    }

    /// Whether anything has come since something was last sent.
    pub(super) fn has_read(&self) -> bool {
        self.0.has_read.load(Ordering::Relaxed)
    }
}

/// A connection that notes what it is used for.
pub(super) struct Watched<S> {
    io: Take<S>,
    used: Used,
}

impl<S: AsyncRead> Watched<S> {
    pub(super) fn new(io: S, used: Used) -> Self {
        Self {
            io: io.take(READ),
            used,
        }
    }

    /// Something is sent. Also where that fails: what was read before belongs to an earlier
    /// exchange.
    fn sends(&self) {
        self.used.0.has_read.store(false, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        self.io.set_limit(READ);
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.used.0.has_read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sends();
        Pin::new(self.io.get_mut()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sends();
        Pin::new(self.io.get_mut()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.io.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.io.get_mut()).poll_shutdown(cx)
    }
}
