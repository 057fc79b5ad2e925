//! The body of a relayed answer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Recording;
use crate::api::{Api, Meter, Pass};
use crate::ledger::Outcome;
use crate::wire::body::BodyError;
use crate::wire::{Rejection, sse};

/// An answer that is no stream is held for its meter up to here, by reference to the bytes
/// that pass; a longer one is relayed all the same, and not counted.
const MAX_METERED: usize = 16 * 1024 * 1024;
/// An event that may have to be hidden is held back up to here; a longer one is no usage.
const MAX_HELD: usize = 256 * 1024;

/// The connection breaks this long after the event that says why: hyper throws away what it
/// has not yet written when a body fails.
const LINGER: Duration = Duration::from_millis(200);

/// Tells a running answer that its caller may no longer have it: resolves to the reason.
pub type Watch = Pin<Box<dyn Future<Output = Rejection> + Send>>;

/// How the body is understood.
enum Shape {
    /// Server-sent events, metered one by one.
    Events(sse::Decoder),
    /// Events of which one may have to be kept from the caller: `held` is the part of the
    /// stream since the last complete event.
    Filtered {
        decoder: sse::Decoder,
        held: BytesMut,
    },
    /// Metered at its end.
    Whole { parts: Vec<Bytes>, length: usize },
    /// A provider's error: relayed, not metered.
    Unmetered,
}

/// Relays a provider's answer. Dropping it cancels the answer at the provider.
pub struct RelayBody {
    upstream: Incoming,
    shape: Shape,
    api: &'static dyn Api,
    meter: Box<dyn Meter>,
    recording: Recording,
    revoked: Watch,
    idle: Duration,
    idle_at: Pin<Box<Sleep>>,
    total_at: Option<Pin<Box<Sleep>>>,
    /// Set once the event that tells of a failure is given: when the connection breaks.
    breaks_at: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl RelayBody {
    /// Relays `upstream`, whose head has arrived.
    pub fn new(
        upstream: Incoming,
        api: &'static dyn Api,
        meter: Box<dyn Meter>,
        recording: Recording,
        revoked: Watch,
        form: Form,
    ) -> Self {
        let shape = match form {
            Form { is_error: true, .. } => Shape::Unmetered,
            Form {
                is_stream: true,
                hides: true,
                ..
            } => Shape::Filtered {
                decoder: sse::Decoder::default(),
                held: BytesMut::new(),
            },
            Form {
                is_stream: true, ..
            } => Shape::Events(sse::Decoder::default()),
            Form { .. } => Shape::Whole {
                parts: Vec::new(),
                length: 0,
            },
        };
        let now = Instant::now();
        Self {
            upstream,
            shape,
            api,
            meter,
            recording,
            revoked,
            idle: form.idle,
            idle_at: Box::pin(sleep_until(now + form.idle)),
            total_at: (!form.total.is_zero()).then(|| Box::pin(sleep_until(now + form.total))),
            breaks_at: None,
            ended: false,
        }
    }

    fn is_stream(&self) -> bool {
        matches!(self.shape, Shape::Events(_) | Shape::Filtered { .. })
    }

    /// Meters a piece and returns what the caller gets of it.
    fn pass(&mut self, piece: Bytes) -> Bytes {
        let had_output = self.meter.has_output();
        let meter = &mut self.meter;
        let out = match &mut self.shape {
            Shape::Unmetered => piece,
            Shape::Whole { parts, length } => {
                *length += piece.len();
                if *length <= MAX_METERED {
                    parts.push(piece.clone());
                } else {
                    *parts = Vec::new();
                }
                piece
            }
            Shape::Events(decoder) => {
                decoder.feed(&piece, |event| {
                    meter.event(&event);
                });
                piece
            }
            Shape::Filtered { decoder, held } => filter(decoder, held, meter.as_mut(), &piece),
        };
        let elapsed = self.recording.elapsed_ms();
        let says = !had_output && self.meter.has_output();
        let sent = out.len() as u64;
        self.recording.note(|entry| {
            entry.response_bytes += sent;
            if says {
                entry.first_token_ms = Some(elapsed);
            }
        });
        out
    }

    fn end(&mut self, outcome: Outcome, error: Option<String>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Shape::Whole { parts, length } = &mut self.shape
            && *length <= MAX_METERED
        {
            match parts.as_slice() {
                [] => {}
                [only] => self.meter.body(only),
                several => self.meter.body(&several.concat()),
            }
        }
        let reading = self.meter.finish();
        self.recording.end(outcome, reading, error);
    }

    /// Ends a stream that went wrong: its caller is told in the format's own way, and then
    /// the connection breaks, so that nobody takes the answer for whole.
    fn fail(
        &mut self,
        outcome: Outcome,
        rejection: &Rejection,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.end(outcome, Some(rejection.message.to_string()));
        if self.is_stream() {
            self.breaks_at = Some(Box::pin(sleep_until(Instant::now() + LINGER)));
            return Poll::Ready(Some(Ok(Frame::data(self.api.stream_error(rejection)))));
        }
        Poll::Ready(Some(Err(rejection.message.to_string().into())))
    }
}

/// What is known of an answer from its head, and the bounds on it.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Its status is an error's.
    pub is_error: bool,
    /// It is a stream of events.
    pub is_stream: bool,
    /// One of the events may be for the gateway alone.
    pub hides: bool,
    /// Longest wait between two pieces; zero waits without end.
    pub idle: Duration,
    /// Longest time for the whole; zero for no bound.
    pub total: Duration,
}

/// Passes complete events and leaves out the hidden ones; the rest waits for its end.
fn filter(
    decoder: &mut sse::Decoder,
    held: &mut BytesMut,
    meter: &mut dyn Meter,
    piece: &[u8],
) -> Bytes {
    let mut out = BytesMut::new();
    let mut rest = piece;
    while !rest.is_empty() {
        // An event ends with a line's end: fed up to each, the decoder says if one did.
        let upto = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(upto);
        rest = after;
        let mut pass = None;
        decoder.feed(line, |event| pass = Some(meter.event(&event)));
        held.extend_from_slice(line);
        match pass {
            Some(Pass::Hidden) => held.clear(),
            Some(Pass::Through) => out.extend_from_slice(&held.split()),
            None if held.len() > MAX_HELD => out.extend_from_slice(&held.split()),
            None => {}
        }
    }
    out.freeze()
}

impl Body for RelayBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(at) = &mut this.breaks_at {
            ready!(at.as_mut().poll(cx));
            this.breaks_at = None;
            return Poll::Ready(Some(Err("the stream was broken off".into())));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        // An answer that is no stream was made whole while the grant still held.
        if this.is_stream()
            && let Poll::Ready(rejection) = this.revoked.as_mut().poll(cx)
        {
            return this.fail(Outcome::Refused, &rejection);
        }
        loop {
            match Pin::new(&mut this.upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if !this.idle.is_zero() {
                        this.idle_at.as_mut().reset(Instant::now() + this.idle);
                    }
                    // Trailers would need a promise in the head that was not made.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    let out = this.pass(data);
                    // With a declared length nobody asks for more than the last byte.
                    if !this.is_stream() && this.upstream.is_end_stream() {
                        this.end(Outcome::Complete, None);
                    }
                    if !out.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(out))));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let rejection = Rejection::new(
                        http::StatusCode::BAD_GATEWAY,
                        "provider_broke_off",
                        "the provider broke off its answer",
                    );
                    tracing::warn!(%error, "a provider broke off its answer");
                    return this.fail(Outcome::UpstreamError, &rejection);
                }
                Poll::Ready(None) => {
                    if let Shape::Filtered { held, .. } = &mut this.shape
                        && !held.is_empty()
                    {
                        let rest = held.split().freeze();
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                    let cut = this.is_stream() && !this.meter.is_complete();
                    if cut {
                        let rejection = Rejection::new(
                            http::StatusCode::BAD_GATEWAY,
                            "provider_broke_off",
                            "the provider's stream ended before its end",
                        );
                        return this.fail(Outcome::UpstreamError, &rejection);
                    }
                    this.end(Outcome::Complete, None);
                    return Poll::Ready(None);
                }
                Poll::Pending => break,
            }
        }
        let idle = !this.idle.is_zero() && this.idle_at.as_mut().poll(cx).is_ready();
        let total = this
            .total_at
            .as_mut()
            .is_some_and(|at| at.as_mut().poll(cx).is_ready());
        if idle || total {
            let rejection = Rejection::new(
                http::StatusCode::GATEWAY_TIMEOUT,
                "provider_timeout",
                if idle {
                    "the provider fell silent in the middle of its answer"
                } else {
                    "the answer took longer than this gateway allows"
                },
            );
            return this.fail(Outcome::TimedOut, &rejection);
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.breaks_at.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for RelayBody {
    fn drop(&mut self) {
        self.end(Outcome::ClientClosed, None);
    }
}
