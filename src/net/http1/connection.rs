//! A connection of HTTP/1, which the parser serves while there is something to parse. A response in chunks that
//! waits for its next piece is taken from it, and the parser goes; a new one serves the next request.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::chunks::Chunks;
use super::first_head::Rewind;
use super::response::ResponseBody;
use super::turn::{Signals, Turn};
use crate::wire::body::BodyError;

/// A connection, and who answers its requests.
pub(super) struct Connection<S, V: HttpService<Incoming>> {
    state: State<S, V>,
    builder: Builder,
    turn: Arc<Turn>,
    signals: Arc<Signals>,
    /// It serves no request behind the one that it is at.
    is_last: bool,
}

/// What a connection is at.
enum State<S, V: HttpService<Incoming>> {
    /// Boxed, so that a response that waits has no room for it.
    Parsed(Box<UpgradeableConnection<TokioIo<Rewind<S>>, V>>),
    Waits {
        chunks: Chunks<Rewind<S>>,
        service: V,
    },
    Closes(Rewind<S>),
    /// It has ended, or is another protocol's.
    Gone,
}

impl<S, V> Connection<S, V>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible> + Unpin,
{
    pub(super) fn new(
        stream: Rewind<S>,
        builder: Builder,
        service: V,
        turn: Arc<Turn>,
        signals: Arc<Signals>,
    ) -> Self {
        Self {
            state: parsed(&builder, stream, service),
            builder,
            turn,
            signals,
            is_last: false,
        }
    }

    /// Ends it behind the response that is sent, or now.
    pub(super) fn shut_down(self: Pin<&mut Self>) {
        let this = self.get_mut();
        this.is_last = true;
        if let State::Parsed(parser) = &mut this.state {
            Pin::new(&mut **parser).graceful_shutdown();
        }
    }

    /// Takes a response that waits from the parser. Whether there was one.
    fn leave(&mut self) -> bool {
        if !matches!(self.state, State::Parsed(_)) || !self.signals.is_idle() {
            return false;
        }
        let Some(sent) = self.turn.take_waiting() else {
            return false;
        };
        let State::Parsed(parser) = std::mem::replace(&mut self.state, State::Gone) else {
            return false;
        };
        // A parser has none once it has ended, and is polled no more then.
        let Some(parts) = parser.into_parts() else {
            return true;
        };
        self.is_last |= !sent.keep_alive;
        let stream = parts.io.into_inner().before(&parts.read_buf);
        self.state = State::Waits {
            chunks: Chunks::new(stream, sent.body),
            service: parts.service,
        };
        true
    }

    /// Goes on behind a response that was sent without the parser.
    fn sent(&mut self) {
        let State::Waits { chunks, service } = std::mem::replace(&mut self.state, State::Gone)
        else {
            return;
        };
        let (stream, ahead) = chunks.into_stream();
        self.turn.served.sent.end();
        self.turn.served.pace.give();
        self.state = if self.is_last {
            State::Closes(stream)
        } else {
            parsed(&self.builder, stream.before(&ahead), service)
        };
    }
}

fn parsed<S, V>(builder: &Builder, stream: Rewind<S>, service: V) -> State<S, V>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible>,
{
    let parser = builder.serve_connection(TokioIo::new(stream), service);
    State::Parsed(Box::new(parser.with_upgrades()))
}

impl<S, V> Future for Connection<S, V>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible> + Unpin,
{
    type Output = Result<(), BodyError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Parsed(parser) => {
                    let ended = Pin::new(&mut **parser).poll(cx);
                    if ended.is_ready() {
                        return ended.map_err(Into::into);
                    }
                    if !this.leave() {
                        return Poll::Pending;
                    }
                }
                State::Waits { chunks, .. } => {
                    ready!(chunks.poll_sent(cx, &this.turn.served.sent))?;
                    this.sent();
                }
                State::Closes(stream) => {
                    return Pin::new(stream).poll_shutdown(cx).map_err(Into::into);
                }
                State::Gone => return Poll::Ready(Ok(())),
            }
        }
    }
}
