//! Ends the connection of a caller who has stopped reading. Nothing else would: while a connection
//! can't be written to, the response that waits isn't polled, and so neither are its time limits.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

use super::pass_writes::pass_writes;

/// A stream that fails when none of what is written has been taken for too long.
pub struct WriteTimeout<S> {
    inner: S,
    within: Duration,
    /// Set while the other side takes nothing.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeout<S> {
    /// Wraps a stream; zero waits without end.
    pub fn new(inner: S, within: Duration) -> Self {
        Self {
            inner,
            within,
            blocked: None,
        }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut S, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = write(&mut self.inner, cx);
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        if self.within.is_zero() {
            return Poll::Pending;
        }
        let within = self.within;
        let blocked = self
            .blocked
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        blocked
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

pass_writes!(WriteTimeout, write);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up() {
        let (_reader, writer) = tokio::io::duplex(64);
        let mut writer = WriteTimeout::new(writer, LIMIT);
        let error = writer.write_all(&[0; 65]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_is_waited_for() {
        let (mut reader, writer) = tokio::io::duplex(64);
        let mut writer = WriteTimeout::new(writer, LIMIT);
        let reads = tokio::spawn(async move {
            let mut piece = [0; 64];
            while reader.read(&mut piece).await.unwrap() > 0 {
                sleep(LIMIT * 4 / 5).await;
            }
        });
        writer.write_all(&[0; 640]).await.unwrap();
        drop(writer);
        reads.await.unwrap();
    }
}
