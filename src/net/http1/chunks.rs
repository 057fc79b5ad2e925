//! A response in chunks that waits for its next piece. It needs none of the parser's buffers, which are most
//! of what an open stream would hold otherwise.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::sent::Sent;
use crate::wire::Body;
use crate::wire::body::BodyError;

/// What ends a chunk, the last chunk, and both.
const END: &[u8] = b"\r\n";
const LAST: &[u8] = b"0\r\n\r\n";
const END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";
/// The size of a chunk, with its line's end.
const SIZE: usize = 18;
/// Bytes that a caller may send ahead and that are read to see whether it is there.
const AHEAD: usize = 1 << 10;

/// Sends what is left of a response.
pub(super) struct Chunks<S> {
    stream: S,
    body: Body,
    /// What the caller has sent ahead. Once there is some, it is not looked at.
    ahead: Vec<u8>,
    piece: Piece,
    is_last: bool,
}

/// What is left to write of a chunk.
#[derive(Default)]
struct Piece {
    size: [u8; SIZE],
    /// The part of it that isn't written.
    from: usize,
    to: usize,
    data: Bytes,
    end: &'static [u8],
}

impl Piece {
    fn of(data: Bytes, is_last: bool) -> Self {
        let mut size = [0; SIZE];
        let mut left = &mut size[..];
        // There is room for any length.
        let _ = write!(left, "{:x}\r\n", data.len());
        let to = SIZE - left.len();
        let end = if is_last { END_AND_LAST } else { END };
        Self {
            size,
            from: 0,
            to,
            data,
            end,
        }
    }

    fn last() -> Self {
        Self {
            end: LAST,
            ..Self::default()
        }
    }

    fn is_written(&self) -> bool {
        self.end.is_empty()
    }

    fn written(&mut self, count: usize) {
        let of_size = count.min(self.to - self.from);
        self.from += of_size;
        let of_data = (count - of_size).min(self.data.len());
        self.data.advance(of_data);
        self.end = &self.end[count - of_size - of_data..];
        if self.data.is_empty() {
            // It may be a slice of more.
            self.data = Bytes::new();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Chunks<S> {
    pub(super) fn new(stream: S, body: Body) -> Self {
        Self {
            stream,
            body,
            ahead: Vec::new(),
            piece: Piece::default(),
            is_last: false,
        }
    }

    /// The stream behind the last chunk, and what the caller has sent ahead.
    pub(super) fn into_stream(self) -> (S, Vec<u8>) {
        (self.stream, self.ahead)
    }

    /// Sends the response to its end.
    pub(super) fn poll_sent(
        &mut self,
        cx: &mut Context<'_>,
        sent: &Sent,
    ) -> Poll<Result<(), BodyError>> {
        self.stay(cx)?;
        loop {
            ready!(self.poll_write(cx))?;
            if self.is_last {
                return Pin::new(&mut self.stream)
                    .poll_flush(cx)
                    .map_err(Into::into);
            }
            let next = Pin::new(&mut self.body).poll_frame(cx);
            sent.asked(&next);
            // What is still to be taken belongs to a response that is whole.
            if matches!(next, Poll::Ready(None)) || self.body.is_end_stream() {
                sent.end();
            }
            match next {
                Poll::Ready(Some(frame)) => {
                    // Trailers would need a promise in the head.
                    let data = frame?.into_data().unwrap_or_default();
                    self.is_last = self.body.is_end_stream();
                    if !data.is_empty() {
                        self.piece = Piece::of(data, self.is_last);
                    } else if self.is_last {
                        self.piece = Piece::last();
                    }
                }
                Poll::Ready(None) => {
                    self.is_last = true;
                    self.piece = Piece::last();
                }
                Poll::Pending => {
                    ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.piece.is_written() {
            let piece = &self.piece;
            let parts = [
                IoSlice::new(&piece.size[piece.from..piece.to]),
                IoSlice::new(&piece.data),
                IoSlice::new(piece.end),
            ];
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &parts))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.piece.written(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Fails once the caller has left.
    fn stay(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut room = [MaybeUninit::uninit(); AHEAD];
        while self.ahead.is_empty() {
            let mut read = ReadBuf::uninit(&mut room);
            match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                Poll::Pending => break,
                Poll::Ready(read) => read?,
            }
            if read.filled().is_empty() {
                let why = "the caller has closed the connection";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            self.ahead.extend_from_slice(read.filled());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::Frame;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn body(pieces: &'static [&'static str]) -> Body {
        let pieces = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from(*piece))));
        let body = StreamBody::new(stream::iter(pieces));
        body.map_err(|never: Infallible| match never {})
            .boxed_unsync()
    }

    #[tokio::test]
    async fn each_piece_is_a_chunk_however_little_is_taken_at_a_time() {
        for room in [1, 2, 3, 7, 64] {
            let (mut caller, server) = tokio::io::duplex(room);
            let sends = tokio::spawn(async move {
                let mut chunks =
                    Chunks::new(server, body(&["one", "", "a longer one, of 27 bytes..."]));
                std::future::poll_fn(|cx| chunks.poll_sent(cx, &Sent::default()))
                    .await
                    .unwrap();
                chunks.into_stream().1
            });
            let expected = b"3\r\none\r\n1c\r\na longer one, of 27 bytes...\r\n0\r\n\r\n";
            let mut got = vec![0; expected.len()];
            caller.read_exact(&mut got).await.unwrap();
            assert_eq!(got, expected, "{room}");
            assert_eq!(sends.await.unwrap(), b"");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_has_no_last_chunk() {
        let (mut caller, server) = tokio::io::duplex(64);
        let pieces: [Result<Frame<Bytes>, BodyError>; 2] =
            [Ok(Frame::data(Bytes::from("one"))), Err("it breaks".into())];
        let body = StreamBody::new(stream::iter(pieces)).boxed_unsync();
        let mut chunks = Chunks::new(server, body);
        let sent = std::future::poll_fn(|cx| chunks.poll_sent(cx, &Sent::default())).await;
        assert!(sent.is_err());
        drop(chunks);
        let mut got = String::new();
        caller.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "3\r\none\r\n");
    }

    #[tokio::test]
    async fn a_request_that_is_sent_ahead_is_kept() {
        let (mut caller, server) = tokio::io::duplex(64);
        caller.write_all(b"GET / ").await.unwrap();
        let mut chunks = Chunks::new(server, body(&["one"]));
        std::future::poll_fn(|cx| chunks.poll_sent(cx, &Sent::default()))
            .await
            .unwrap();
        assert_eq!(chunks.into_stream().1, b"GET / ");
    }

    #[tokio::test]
    async fn a_caller_who_leaves_ends_it() {
        let (caller, server) = tokio::io::duplex(64);
        let nothing = StreamBody::new(stream::pending::<Result<Frame<Bytes>, BodyError>>());
        let mut chunks = Chunks::new(server, nothing.boxed_unsync());
        let ended = tokio::spawn(async move {
            std::future::poll_fn(|cx| chunks.poll_sent(cx, &Sent::default())).await
        });
        tokio::task::yield_now().await;
        drop(caller);
        assert!(ended.await.unwrap().is_err());
    }
}
