//! The body of a response, which drives its connection.

use std::io;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http_body::SizeHint;

use super::framing::Framing;
use super::{Connection, Error, Upgraded};

/// Bytes of a body that are read at once, so that a quick provider and a slow caller don't fill memory.
const READ: usize = 32 << 10;
/// The same where nothing says how many will come.
const READ_UNKNOWN: usize = 16 << 10;

/// The rest of a response.
pub(in crate::net::client) struct Body {
    /// Gone when the body has ended or broken off.
    connection: Option<Box<Connection>>,
    framing: Framing,
    /// The connection can serve another request afterwards.
    keep_alive: bool,
    /// It has become another protocol's.
    is_upgraded: bool,
    /// Why it broke off, until that is passed on.
    failed: Option<Error>,
}

impl Body {
    pub(super) fn new(connection: Box<Connection>, framing: Framing, keep_alive: bool) -> Self {
        Self {
            connection: Some(connection),
            framing,
            keep_alive,
            is_upgraded: false,
            failed: None,
        }
    }

    pub(super) fn upgraded(connection: Box<Connection>) -> Self {
        Self {
            is_upgraded: true,
            ..Self::new(connection, Framing::Length(0), false)
        }
    }

    /// Whether there is nothing more to come.
    pub(in crate::net::client) fn is_ended(&self) -> bool {
        self.framing.is_ended() || (self.connection.is_none() && self.failed.is_none())
    }

    pub(in crate::net::client) fn size_hint(&self) -> SizeHint {
        match (&self.framing, self.framing.left()) {
            (_, Some(left)) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }

    /// The connection, once the body has ended and if another request can use it.
    pub(in crate::net::client) fn take_free(&mut self) -> Option<Box<Connection>> {
        if !self.framing.is_ended() || self.is_upgraded {
            return None;
        }
        let mut connection = self.connection.take()?;
        let is_free = self.keep_alive && connection.ahead.is_empty() && connection.has_sent();
        // While it is idle it needs no room.
        connection.ahead = BytesMut::new();
        is_free.then_some(connection)
    }

    /// The connection, if the server has agreed to another protocol.
    pub(in crate::net::client) fn take_upgraded(&mut self) -> Option<Upgraded> {
        let connection = self.connection.take_if(|_| self.is_upgraded)?;
        Some(Upgraded::new(connection.io, connection.ahead.to_vec()))
    }

    /// The next piece: all that a read has brought.
    pub(in crate::net::client) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(connection) = self
            .connection
            .as_mut()
            .filter(|_| !self.framing.is_ended())
        else {
            return Poll::Ready(None);
        };
        // The response has begun before all of the request was sent. A server that reads no more of it can
        // go on with its response all the same.
        if !connection.has_sent() && matches!(connection.poll_send(cx), Poll::Ready(Err(_))) {
            (connection.unsent, connection.is_unflushed) = (Default::default(), false);
            self.keep_alive = false;
        }
        loop {
            if !connection.ahead.is_empty() {
                match self.framing.read(&mut connection.ahead) {
                    Ok((0, used)) => connection.ahead.advance(used),
                    Ok((data, used)) => {
                        return Poll::Ready(Some(Ok(piece(&mut connection.ahead, data, used))));
                    }
                    Err(why) => {
                        let error = io::Error::new(io::ErrorKind::InvalidInput, why);
                        return self.broken(cx, error);
                    }
                }
                if self.framing.is_ended() {
                    return Poll::Ready(None);
                }
            }
            let room = match self.framing.left() {
                Some(left) => usize::try_from(left).map_or(READ, |left| left.min(READ)),
                None => READ_UNKNOWN,
            };
            match connection.poll_fill(cx, room) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    if matches!(self.framing, Framing::UntilEnd) {
                        self.connection = None;
                        return Poll::Ready(None);
                    }
                    let why = "end of file before message length reached";
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, why);
                    return self.broken(cx, error);
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return self.broken(cx, error),
            }
        }
    }

    /// Fails with the next poll: a server of HTTP throws away what it hasn't written when a body fails, and
    /// until then it can write what has come before.
    fn broken(
        &mut self,
        cx: &mut Context<'_>,
        error: io::Error,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        self.connection = None;
        self.failed = Some(Error::Body(error));
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads what has come already, if nobody is interested in it any more.
    pub(in crate::net::client) fn skip(&mut self) {
        if let Some(connection) = &mut self.connection
            && let Ok((_, used)) = self.framing.read(&mut connection.ahead)
        {
            connection.ahead.advance(used);
        }
    }
}

/// Takes the first `data` bytes of a buffer, of which `used` are read. A few bytes are copied, because a
/// piece that is kept would otherwise keep the whole buffer.
fn piece(ahead: &mut BytesMut, data: usize, used: usize) -> Bytes {
    if used == ahead.len() && data > ahead.capacity() / 2 {
        let mut whole = std::mem::take(ahead);
        whole.truncate(data);
        return whole.freeze();
    }
    let piece = Bytes::copy_from_slice(&ahead[..data]);
    if used == ahead.len() {
        ahead.clear();
    } else {
        ahead.advance(used);
    }
    piece
}
