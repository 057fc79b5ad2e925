//! Keeps requests that can be read in two ways from the parser of HTTP/1. In their place the parser
//! gets bytes that it refuses, so that the refusal comes after the responses that are still due, and
//! the connection ends with it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::reader::Reader;
use super::turn::Signals;
use crate::net::pass_writes::pass_writes;

/// No part of a request may begin with this, but for the extension of a chunk, in which the second
/// byte is refused. A parser that waits for the end of a head looks again at the rest.
const REFUSED: &[u8] = b"\0\n\r\n\r\n";

/// Set when a connection has become a WebSocket, whose bytes are no longer HTTP.
pub type Upgraded = Arc<AtomicBool>;

/// A stream whose requests can be read in one way only.
pub(in crate::net) struct StrictHttp1<S> {
    inner: S,
    source: SocketAddr,
    reader: Reader,
    upgraded: Upgraded,
    signals: Arc<Signals>,
    /// What is left to write in place of the request that was refused.
    instead: Option<&'static [u8]>,
}

impl<S> StrictHttp1<S> {
    /// Wraps a stream from its first byte on.
    pub(in crate::net) fn new(
        inner: S,
        source: SocketAddr,
        upgraded: Upgraded,
        signals: Arc<Signals>,
    ) -> Self {
        Self {
            inner,
            source,
            reader: Reader::default(),
            upgraded,
            signals,
            instead: None,
        }
    }

    fn check(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        if self.reader.is_open() {
            return;
        }
        if self.upgraded.load(Ordering::Acquire) {
            self.reader.open();
            return;
        }
        if let Err((at, fault)) = self.reader.read(&buf.filled()[before..]) {
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

impl<S: AsyncRead + Unpin> StrictHttp1<S> {
    /// Drops what still comes, until the caller is gone: there may be a response on its way, which
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

impl<S: AsyncRead + Unpin> AsyncRead for StrictHttp1<S> {
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
        let waits = read.is_pending() && self.reader.is_between();
        self.signals.read(waits);
        read
    }
}

impl<S> StrictHttp1<S> {
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut S, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = write(&mut self.inner, cx);
        self.signals.wrote(written.is_ready());
        written
    }
}

pass_writes!(StrictHttp1, write);
