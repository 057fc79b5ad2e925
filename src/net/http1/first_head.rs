//! The first head of a connection, read before anything is set up to serve it, so that a client that
//! sends one slowly costs little more than the bytes that have come. hyper would have its buffers by
//! then, and would wait without end for a client that sends too little to tell its version of HTTP.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::reader::PREFACE;
use crate::net::pass_writes::pass_writes;

/// Bytes that are read at once: a usual head with a short body.
const PIECE: usize = 4 << 10;

/// Waits for the first head of a connection, and reads it with what has come behind it. A head that is
/// longer than `most` bytes, or ends early, is left for the parser to refuse.
///
/// # Errors
/// When the connection breaks.
pub(in crate::net) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    most: usize,
) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let seen = head.len();
        let more = std::future::poll_fn(|cx| poll_piece(stream, &mut head, cx)).await?;
        if !more || head.len() >= most || is_whole(&head, seen) {
            return Ok(head);
        }
    }
}

/// Appends what has come; false at the end of the stream.
fn poll_piece<S: AsyncRead + Unpin>(
    stream: &mut S,
    head: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    // On the stack, and not in what is kept while nothing comes.
    let mut room = [MaybeUninit::uninit(); PIECE];
    let mut piece = ReadBuf::uninit(&mut room);
    ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
    head.extend_from_slice(piece.filled());
    Poll::Ready(Ok(!piece.filled().is_empty()))
}

/// Whether a preface has come, or an empty line, of which the first `seen` bytes have no part but its
/// beginning. A parser may take a line feed alone for the end of a line.
fn is_whole(head: &[u8], seen: usize) -> bool {
    // The first request of HTTP/2 comes behind it.
    if PREFACE.starts_with(head) {
        return head.len() == PREFACE.len();
    }
    let new = &head[seen.saturating_sub(3)..];
    let ends = |end: &[u8]| new.windows(end.len()).any(|window| window == end);
    ends(b"\n\r\n") || ends(b"\n\n")
}

/// A stream from which the first head can be read again.
pub struct Rewind<S> {
    inner: S,
    head: Vec<u8>,
    given: usize,
}

impl<S> Rewind<S> {
    /// Gives `head` before what is still to come from `inner`.
    pub(in crate::net) fn new(inner: S, head: Vec<u8>) -> Self {
        Self {
            inner,
            head,
            given: 0,
        }
    }

    /// Whether what follows is HTTP/2, before any of it is read again.
    pub(in crate::net) fn is_http2(&self) -> bool {
        self.head.starts_with(PREFACE)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.head.len() - self.given;
        if left == 0 {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let now = left.min(buf.remaining());
        buf.put_slice(&self.head[self.given..self.given + now]);
        self.given += now;
        if now == left {
            (self.head, self.given) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

pass_writes!(Rewind);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Whether so much is waited for no longer.
    async fn ends(bytes: &[u8], most: usize) -> bool {
        let (mut client, mut server) = tokio::io::duplex(64);
        let reads = tokio::spawn(async move {
            let head = read(&mut server, most).await.unwrap();
            Rewind::new(server, head)
        });
        for &byte in bytes {
            client.write_all(&[byte]).await.unwrap();
        }
        let waited = tokio::time::timeout(Duration::from_secs(5), reads).await;
        let Ok(rewind) = waited else {
            return false;
        };
        let mut rewind = rewind.unwrap();
        drop(client);
        let mut whole = Vec::new();
        rewind.read_to_end(&mut whole).await.unwrap();
        assert_eq!(whole, bytes, "nothing is lost, and nothing comes twice");
        true
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_whole_at_its_empty_line() {
        for whole in [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\n\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        ] {
            assert!(ends(whole.as_bytes(), 1 << 10).await, "{whole:?}");
        }
        for part in [
            "",
            "\r\n",
            "PRI * HTTP/2.0\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n\r",
        ] {
            assert!(!ends(part.as_bytes(), 1 << 10).await, "{part:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_without_end_is_not_collected() {
        assert!(ends(&[b'x'; 100], 100).await);
        assert!(!ends(&[b'x'; 99], 100).await);
    }

    #[tokio::test]
    async fn what_ends_early_is_passed_on() {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(b"GET /").await.unwrap();
        drop(client);
        assert_eq!(read(&mut server, 1 << 10).await.unwrap(), b"GET /");
    }
}
