//! HTTP/1.1 towards a server, without a task: the code that waits for a response drives its connection, from the
//! first byte of the request to the last byte of the response. So a request wakes no other task, a read
//! passes on all that it has brought as one piece, and a response that waits holds no buffer.

mod body;
mod framing;
mod head;
mod replay;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::connect::{Forward, Io};
use crate::net::http1::Rewind;

pub(super) use body::Body;
pub(super) use head::{HEAD_BYTES, HEAD_FIELDS};
pub use replay::{Replayed, replay};

/// A connection whose server has agreed to another protocol.
pub type Upgraded = Rewind<Box<dyn Io>>;

/// Bytes that are read at once while a head is waited for.
const HEAD_READ: usize = 8 << 10;
/// A body below this is written together with its head.
const SHORT_BODY: usize = 8 << 10;

/// Why a response, or a part of it, is missing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It ended while it was idle.
    #[error("connection closed")]
    Closed,
    /// It ended before the head of the response.
    #[error("connection closed before message completed")]
    Incomplete,
    /// It broke.
    #[error("connection error")]
    Io(#[source] io::Error),
    /// What has come isn't a head of HTTP/1.
    #[error("{0} parsed")]
    Invalid(&'static str),
    /// The head exceeds the bounds.
    #[error("message head is too large")]
    HeadTooLarge,
    /// The body ended early, or broke its framing.
    #[error("error reading a body from connection")]
    Body(#[source] io::Error),
}

/// What is known of a request that got no response.
pub(super) struct Broken {
    pub(super) error: Error,
    /// The server may have got some of it.
    pub(super) was_sent: bool,
    /// The connection had brought a response before.
    pub(super) is_reused: bool,
    /// Something has come since the request was sent.
    pub(super) has_read: bool,
}

/// An open connection, which one request at a time uses.
pub(super) struct Connection {
    io: Box<dyn Io>,
    /// What was read and not used yet. Empty and without room while nothing comes.
    ahead: BytesMut,
    /// What is left to send of the request: its head, and its body.
    unsent: (Bytes, Bytes),
    /// What was written may still stand in a buffer of TLS.
    is_unflushed: bool,
    has_responded: bool,
    has_read: bool,
    /// How much of what was read has been searched for the end of a head.
    seen: usize,
}

impl Connection {
    /// Boxed once, because each request moves it from the pool to its response, and back.
    #[expect(clippy::unnecessary_box_returns, reason = "it is used in a box alone")]
    pub(super) fn new(io: Box<dyn Io>) -> Box<Self> {
        Box::new(Self {
            io,
            ahead: BytesMut::new(),
            unsent: (Bytes::new(), Bytes::new()),
            is_unflushed: false,
            has_responded: false,
            has_read: false,
            seen: 0,
        })
    }

    /// Whether its server has closed it, or sends what nobody has asked for.
    pub(super) fn is_dead(&mut self) -> bool {
        let mut room = [0];
        let mut byte = ReadBuf::new(&mut room);
        let mut cx = Context::from_waker(Waker::noop());
        let read = poll_fn(|cx| Pin::new(&mut self.io).poll_read(cx, &mut byte));
        // A task that has done much in this turn would be told that nothing is there, whatever is.
        let read = pin!(tokio::task::unconstrained(read));
        read.poll(&mut cx).is_ready()
    }

    /// Sends a request, and waits for the head of its response. A proxy that forwards it gets the whole
    /// URL.
    pub(super) async fn exchange(
        mut self: Box<Self>,
        request: &Request<Bytes>,
        forward: Option<&Forward>,
    ) -> Result<Response<Body>, Broken> {
        let is_reused = self.has_responded;
        let mut broken = Broken {
            error: Error::Closed,
            was_sent: false,
            is_reused,
            has_read: false,
        };
        if self.is_dead() {
            return Err(broken);
        }
        self.unsent = head::written(request, forward);
        (self.has_read, self.seen) = (false, 0);
        let has_no_body = request.method() == http::Method::HEAD;
        match poll_fn(|cx| self.poll_head(cx)).await {
            Ok(head) => {
                self.has_responded = true;
                head.with_body(self, has_no_body).map_err(|error| Broken {
                    error,
                    was_sent: true,
                    is_reused,
                    has_read: true,
                })
            }
            Err(error) => {
                broken.error = error;
                broken.was_sent = true;
                broken.has_read = self.has_read;
                Err(broken)
            }
        }
    }

    /// The head of the response. A server may respond before it has read the request, and then close.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<head::Head, Error>> {
        let mut failed = match self.poll_send(cx) {
            // What the server sent before it closed is still to be read, and so is the end.
            Poll::Ready(Err(error)) if is_closed(&error) => None,
            Poll::Ready(Err(error)) => Some(error),
            _ => None,
        };
        loop {
            if let Some(head) = head::read(&mut self.ahead, self.seen)? {
                return Poll::Ready(Ok(head));
            }
            if self.ahead.len() >= HEAD_BYTES {
                return Poll::Ready(Err(Error::HeadTooLarge));
            }
            self.seen = self.ahead.len();
            let failure = match self.poll_fill(cx, HEAD_READ) {
                Poll::Ready(Ok(0)) => Error::Incomplete,
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(error)) => Error::Io(error),
                Poll::Pending if failed.is_none() => return Poll::Pending,
                Poll::Pending => Error::Incomplete,
            };
            return Poll::Ready(Err(failed.take().map_or(failure, Error::Io)));
        }
    }

    /// Sends what is left of the request.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (head, body) = &mut self.unsent;
        while head.has_remaining() || body.has_remaining() {
            let io = Pin::new(&mut self.io);
            let both = [io::IoSlice::new(head), io::IoSlice::new(body)];
            let written = ready!(match (head.is_empty(), body.is_empty()) {
                (false, false) => io.poll_write_vectored(cx, &both),
                (true, _) => io.poll_write(cx, body),
                (_, true) => io.poll_write(cx, head),
            })?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_unflushed = true;
            let of_head = written.min(head.len());
            head.advance(of_head);
            body.advance(written - of_head);
        }
        if self.is_unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.is_unflushed = false;
            // They share memory with the request.
            self.unsent = (Bytes::new(), Bytes::new());
        }
        Poll::Ready(Ok(()))
    }

    fn has_sent(&self) -> bool {
        self.unsent.0.is_empty() && self.unsent.1.is_empty() && !self.is_unflushed
    }

    /// Reads up to `room` bytes; zero at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        self.ahead.reserve(room);
        let mut limited = (&mut self.ahead).limit(room);
        let read = {
            let read = pin!(self.io.read_buf(&mut limited));
            read.poll(cx)
        };
        match read {
            Poll::Ready(Ok(read)) => {
                self.has_read |= read > 0;
                Poll::Ready(Ok(read))
            }
            Poll::Pending => {
                if self.ahead.is_empty() {
                    self.ahead = BytesMut::new();
                }
                Poll::Pending
            }
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}

/// Whether the other side has closed the connection.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    )
}

#[cfg(test)]
mod tests;
