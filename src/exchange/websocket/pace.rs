//! Holds a caller's WebSocket messages to the pace of request bodies. What is half sent is held in memory,
//! and the library that reads it waits for the rest without end: for a frame, and for a message
//! of many frames, between which others may come that mean nothing.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

use crate::base::memory::Hold;
use crate::wire::body::patience;

/// The longest head of a frame: two bytes, a length of eight, and a mask of four.
const LONGEST_HEAD: usize = 14;

/// A caller's connection. A read fails with [`io::ErrorKind::TimedOut`] once a message takes too
/// long to arrive.
pub(in crate::exchange) struct Paced<S> {
    io: S,
    /// Longest wait for the next piece of a message; zero waits without end.
    idle: Duration,
    message: Message,
    /// How long this message was waited for.
    waited: Duration,
    /// The same since a piece of it came.
    since_piece: Duration,
    waiting: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// What is half sent counts as memory.
    hold: Hold,
}

/// Bytes of a message that are not counted, and that are counted at a time.
const STEP: usize = 64 << 10;

impl<S> Paced<S> {
    pub(super) fn new(io: S, idle: Duration) -> Self {
        Self {
            io,
            idle,
            message: Message::default(),
            waited: Duration::ZERO,
            since_piece: Duration::ZERO,
            waiting: None,
            timer: Box::pin(sleep_until(Instant::now())),
            hold: Hold::default(),
        }
    }

    /// Counts the bytes of a message so far; false if there is no room for them.
    fn is_counted(&mut self) -> bool {
        if !self.message.is_partial() {
            self.hold.shrink(0);
            return true;
        }
        let held = self.message.held;
        held <= STEP || self.hold.try_reserve(held.next_multiple_of(STEP))
    }

    /// Notes what has come. Time in which nothing was read counts for nobody: it was the
    /// gateway that had something else to do.
    fn took(&mut self, bytes: &[u8]) {
        let waited = self.waiting.take().map(|at| at.elapsed());
        let waited = waited.unwrap_or_default();
        self.waited += waited;
        self.since_piece += waited;
        let held = self.message.held;
        let begun = self.message.begun;
        self.message.follow(bytes);
        if self.message.begun != begun || !self.message.is_partial() {
            self.waited = Duration::ZERO;
            self.since_piece = Duration::ZERO;
        } else if self.message.held > held {
            self.since_piece = Duration::ZERO;
        }
    }

    /// How long the next piece may take; `None` if there is no bound.
    fn left(&self) -> Option<Duration> {
        if self.idle.is_zero() || !self.message.is_partial() {
            return None;
        }
        let left = patience(self.idle, self.message.held, self.waited).unwrap_or_default();
        Some(left.min(self.idle.saturating_sub(self.since_piece)))
    }
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "a message stalled")
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, buf) {
            this.took(&buf.filled()[before..]);
            if !this.is_counted() {
                let full = io::Error::new(io::ErrorKind::OutOfMemory, "no room for a message");
                return Poll::Ready(Err(full));
            }
            return Poll::Ready(match this.left() {
                Some(Duration::ZERO) => Err(stalled()),
                _ => read,
            });
        }
        let since = *this.waiting.get_or_insert_with(Instant::now);
        if let Some(left) = this.left() {
            this.timer.as_mut().reset(since + left);
            if this.timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(stalled()));
            }
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Follows frames by their heads (RFC 6455, section 5.2).
#[derive(Debug, Default)]
struct Message {
    head: [u8; LONGEST_HEAD],
    /// Bytes of the head that are there.
    has: usize,
    /// Bytes of the frame that are missing.
    missing: u64,
    /// The frame is part of a message, not one of those that may come in between.
    is_data: bool,
    /// A message has begun of which another frame must come.
    is_open: bool,
    /// Bytes of the message that have come.
    held: usize,
    /// Counts messages.
    begun: u64,
}

impl Message {
    fn is_partial(&self) -> bool {
        self.is_open || self.has > 0
    }

    fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.missing > 0 {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let taken = usize::try_from(self.missing.min(length)).unwrap_or(bytes.len());
                if self.is_data {
                    self.held += taken;
                }
                self.missing -= taken as u64;
                bytes = &bytes[taken..];
            } else {
                if self.has == 0 && !self.is_open {
                    self.begun += 1;
                    self.held = 0;
                }
                self.head[self.has] = *first;
                self.has += 1;
                bytes = rest;
                let Some(missing) = self.length() else {
                    continue;
                };
                self.missing = missing;
                self.is_data = self.head[0] & 0x08 == 0;
            }
            if self.missing == 0 {
                self.has = 0;
                if self.is_data {
                    self.is_open = self.head[0] & 0x80 == 0;
                }
            }
        }
    }

    /// The length of the frame behind its head, once the head is whole.
    fn length(&self) -> Option<u64> {
        let mut head = Cursor::new(&self.head[..self.has]);
        match FrameHeader::parse(&mut head) {
            Ok(parsed) => parsed.map(|(_, length)| length),
            // The library ends the connection at a head that isn't valid.
            Err(_) => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match length {
            0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
            126..65_536 => {
                frame.push(0xfe);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(0xff);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.extend(std::iter::repeat_n(b'x', length));
        frame
    }

    #[test]
    fn frames_are_followed_wherever_they_are_cut() {
        let stream = [
            frame(0x81, 5),
            frame(0x81, 0),
            frame(0x89, 3),
            frame(0x01, 300),
            frame(0x89, 125),
            frame(0x00, 70_000),
            frame(0x80, 1),
            frame(0x88, 2),
        ];
        let partial = [false, false, false, true, true, true, false, false];
        let whole = stream.concat();
        for step in [1, 2, 3, 7, 1_000, whole.len()] {
            let mut message = Message::default();
            let mut ends = Vec::new();
            for (frame, partial) in stream.iter().zip(partial) {
                for piece in frame.chunks(step) {
                    message.follow(piece);
                }
                ends.push(message.is_partial() == partial);
            }
            assert_eq!(ends, [true; 8], "{step}");
        }
        let mut message = Message::default();
        message.follow(&whole);
        assert!(!message.is_partial());
        message.follow(&[0x81]);
        assert!(message.is_partial());
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_frame_ends_the_connection_and_a_quiet_one_does_not() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let idle = Duration::from_secs(30);
        let (mut caller, ours) = tokio::io::duplex(1 << 20);
        let mut paced = Paced::new(ours, idle);
        let mut buf = [0; 4_096];
        caller.write_all(&frame(0x81, 9)).await.unwrap();
        assert_eq!(paced.read(&mut buf).await.unwrap(), 15);
        // Between messages a caller may be silent for as long as it likes.
        let silent = tokio::time::timeout(20 * idle, paced.read(&mut buf)).await;
        assert!(silent.is_err());
        // Pings in the middle of a message don't keep it open.
        caller.write_all(&frame(0x01, 9)).await.unwrap();
        assert_eq!(paced.read(&mut buf).await.unwrap(), 15);
        let began = Instant::now();
        let error = loop {
            let next = tokio::time::timeout(idle / 3, paced.read(&mut buf)).await;
            match next {
                Ok(Err(error)) => break error,
                Ok(Ok(_)) => {}
                Err(_) => caller.write_all(&frame(0x89, 1)).await.unwrap(),
            }
            assert!(began.elapsed() < 3 * idle);
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
