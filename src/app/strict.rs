//! Keeps what can be read in two ways from the parser of HTTP/1. In its place the parser gets
//! what it refuses, so that the refusal comes after the answers that are still due, and the
//! connection ends with it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::passing::writes_pass;
use crate::net::listen::Strict;

/// No part of a request may begin with this, but for the extension of a chunk, in which the second
/// byte is refused. A parser that waits for the end of a head looks again at the rest.
const REFUSED: &[u8] = b"\0\n\r\n\r\n";

/// Tells the reader of a connection that it is no HTTP any more.
pub(super) type Upgraded = Arc<AtomicBool>;

/// A stream whose requests can be read one way only.
pub(super) struct OneReading<S> {
    inner: S,
    source: SocketAddr,
    strict: Strict,
    upgraded: Upgraded,
    /// What is left to say in place of what was found.
    instead: Option<&'static [u8]>,
}

impl<S> OneReading<S> {
    /// Wraps a stream from its first byte on.
    pub(super) fn new(inner: S, source: SocketAddr, upgraded: Upgraded) -> Self {
        Self {
            inner,
            source,
            strict: Strict::default(),
            upgraded,
            instead: None,
        }
    }

    fn check(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        if self.strict.is_open() {
            return;
        }
        if self.upgraded.load(Ordering::Acquire) {
            self.strict.open();
            return;
        }
        if let Err((at, fault)) = self.strict.read(&buf.filled()[before..]) {
            tracing::info!(source = %self.source.ip(), status = 400, code = "bad_http", "refused: {fault}");
            buf.set_filled(before + at);
            self.instead = Some(REFUSED);
            self.refuse(buf);
        }
    }

    fn refuse(&mut self, buf: &mut ReadBuf<'_>) {
        if let Some(instead) = &mut self.instead {
            let (now, later) = instead.split_at(buf.remaining().min(instead.len()));
            buf.put_slice(now);
            *instead = later;
        }
    }
}

impl<S: AsyncRead + Unpin> OneReading<S> {
    /// Drops what still comes, until the caller is gone: there may be an answer on its way, which
    /// ends early if this looks like the end.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = [0; 1024];
        loop {
            let mut rest = ReadBuf::new(&mut room);
            match Pin::new(&mut self.inner).poll_read(cx, &mut rest) {
                Poll::Ready(Ok(())) if !rest.filled().is_empty() => {}
                ended => return ended,
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for OneReading<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.instead {
            Some([]) => return self.poll_rest(cx),
            Some(_) => {
                self.refuse(buf);
                return Poll::Ready(Ok(()));
            }
            None => {}
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.check(buf, before);
        }
        read
    }
}

writes_pass!(OneReading);
