//! A bound for the start of a connection. hyper's own head timeout begins once it knows the
//! version of HTTP; whoever sends too little for that would be waited for without end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

use super::passing::writes_pass;

/// Length of HTTP/2's preface. No HTTP/1.1 request with its Host is shorter.
const ENOUGH: usize = 24;

/// A stream whose first bytes must come in time.
pub(super) struct FirstBytes<S> {
    inner: S,
    waiting: Option<(usize, Pin<Box<Sleep>>)>,
}

impl<S> FirstBytes<S> {
    /// Wraps a stream; zero waits without end.
    pub(super) fn new(inner: S, within: Duration) -> Self {
        let waiting = (!within.is_zero()).then(|| (0, Box::pin(tokio::time::sleep(within))));
        Self { inner, waiting }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstBytes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        let Some((seen, sleep)) = &mut self.waiting else {
            return read;
        };
        if read.is_ready() {
            *seen += buf.filled().len() - before;
            if *seen >= ENOUGH {
                self.waiting = None;
            }
            return read;
        }
        match sleep.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

writes_pass!(FirstBytes);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_start_that_never_comes_is_given_up() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = FirstBytes::new(server, Duration::from_secs(5));
        client.write_all(b"PRI").await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(server.read(&mut buffer).await.unwrap(), 3);
        let error = server.read(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_start_one_may_be_silent() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = FirstBytes::new(server, Duration::from_secs(5));
        client.write_all(&[b'x'; ENOUGH]).await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(server.read(&mut buffer).await.unwrap(), ENOUGH);
        let silent = tokio::time::timeout(Duration::from_mins(1), server.read(&mut buffer));
        assert!(silent.await.is_err());
    }
}
