//! What a connection was used for. A provider may close one that is kept, just as a request goes out on
//! it: whether it may be sent again depends on whether the connection was used before, and on
//! whether anything of a response has come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::net::pass_writes::pass_writes;

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
    pub(super) inner: S,
    pub(super) used: Used,
}

impl<S> Watched<S> {
    /// Writes, and notes that something was sent, even if that fails: what was read before belongs to an earlier
    /// exchange.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut S, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.used.0.has_read.store(false, Ordering::Relaxed);
        write(&mut self.inner, cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut (&mut self.inner).take(READ)).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.used.0.has_read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(read)
    }
}

pass_writes!(Watched, write);
