//! The body of a relayed answer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::tee::{Taken, Tee};
use super::{Begun, Ended, Recording};
use crate::api::{Api, Call, Meter};
use crate::ledger::Outcome;
use crate::panics;
use crate::wire::body::BodyError;
use crate::wire::decode::Decoding;
use crate::wire::{Framing, Rejection};

/// The connection breaks this long after the event that says why: hyper throws away what it
/// has not yet written when a body fails.
const LINGER: Duration = Duration::from_millis(200);

const TOO_LONG: &str = "the answer took longer than this gateway allows";

/// Tells a running answer that its caller may no longer have it: resolves to the reason.
pub type Watch = Pin<Box<dyn Future<Output = Rejection> + Send>>;

/// What is known of an answer from its head, and the bounds on it.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Form {
    /// Its status is an error's.
    pub is_error: bool,
    /// It comes bit by bit, while the model works.
    pub is_stream: bool,
    /// How it is cut into events, if it is.
    pub framing: Option<Framing>,
    /// One of the events may be for the gateway alone.
    pub hides: bool,
    /// Bytes of it that may be kept for a capture.
    pub room: usize,
    /// Whether the capture has the bytes as they came, besides.
    pub raw: bool,
    /// Longest wait between two pieces; zero waits without end.
    pub idle: Duration,
    /// Longest time for the whole; zero for no bound.
    pub total: Duration,
}

/// How an answer is read, and told that it failed.
pub struct Reader {
    /// Its format.
    pub api: &'static dyn Api,
    /// What it answers.
    pub call: Call,
    /// Reads it.
    pub meter: Box<dyn Meter>,
    /// Opens it for the meter, if it is compressed.
    pub decoding: Option<Decoding>,
}

/// Relays a provider's answer. Dropping it cancels the answer at the provider.
pub struct RelayBody {
    upstream: Begun,
    tee: Tee,
    is_stream: bool,
    api: &'static dyn Api,
    call: Call,
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
        upstream: Begun,
        reader: Reader,
        recording: Recording,
        revoked: Watch,
        form: &Form,
    ) -> Self {
        let now = Instant::now();
        let mut call = reader.call;
        // What was asked is not needed any more, and may be large.
        call.body = Bytes::new();
        Self {
            upstream,
            tee: Tee::new(
                reader.meter,
                reader.decoding,
                form,
                reader.api.longest_event(),
            ),
            is_stream: form.is_stream && !form.is_error,
            api: reader.api,
            call,
            recording,
            revoked,
            idle: form.idle,
            idle_at: Box::pin(sleep_until(now + form.idle)),
            total_at: (!form.total.is_zero()).then(|| Box::pin(sleep_until(now + form.total))),
            breaks_at: None,
            ended: false,
        }
    }

    /// Meters a piece and returns what the caller gets of it.
    fn pass(&mut self, piece: Bytes) -> Bytes {
        let had_output = self.tee.has_output();
        panics::point("meter");
        let out = self.tee.pass(piece);
        let says = !had_output && self.tee.has_output();
        let elapsed = self.recording.elapsed_ms();
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
        let taken = self.tee.finish();
        self.record(taken, outcome, error);
    }

    fn record(&mut self, taken: Taken, outcome: Outcome, error: Option<String>) {
        self.recording.end(Ended {
            reading: taken.reading,
            body: taken.body,
            raw: taken.raw,
            truncated: taken.truncated,
            ..Ended::new(outcome, error)
        });
    }

    /// Ends an answer that went wrong. The caller of a stream is told in the format's own way,
    /// and then the connection breaks, so that nobody takes the answer for whole.
    fn fail(
        &mut self,
        outcome: Outcome,
        rejection: &Rejection,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.end(outcome, Some(rejection.message.to_string()));
        if self.tee.takes_events() {
            let event = self.api.stream_error(&self.call, rejection);
            if !event.is_empty() {
                let last = self.tee.last_event().unwrap_or_default();
                let event = Bytes::from([last, event].concat());
                self.breaks_at = Some(Box::pin(sleep_until(Instant::now() + LINGER)));
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
        }
        Poll::Ready(Some(Err(rejection.message.to_string().into())))
    }

    /// What comes next.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(at) = &mut self.breaks_at {
            ready!(at.as_mut().poll(cx));
            self.breaks_at = None;
            return Poll::Ready(Some(Err("the stream was broken off".into())));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        panics::point("relay");
        // An answer that is no stream was made whole while the grant still held.
        if self.is_stream
            && let Poll::Ready(rejection) = self.revoked.as_mut().poll(cx)
        {
            return self.fail(Outcome::Refused, &rejection);
        }
        // A provider always has more for a caller who reads slowly.
        if self.is_over() {
            return self.time_out(TOO_LONG);
        }
        loop {
            match Pin::new(&mut self.upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if !self.idle.is_zero() {
                        self.idle_at.as_mut().reset(Instant::now() + self.idle);
                    }
                    // Trailers would need a promise in the head that was not made.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    let out = self.pass(data);
                    // With a declared length nobody asks for more than the last byte.
                    if !self.is_stream && self.upstream.is_end_stream() {
                        self.end(Outcome::Complete, None);
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
                    return self.fail(Outcome::UpstreamError, &rejection);
                }
                Poll::Ready(None) => {
                    self.tee.end();
                    if self.tee.has_events() && !self.tee.may_end() {
                        let rejection = Rejection::new(
                            http::StatusCode::BAD_GATEWAY,
                            "provider_broke_off",
                            "the provider's stream ended before its end",
                        );
                        return self.fail(Outcome::UpstreamError, &rejection);
                    }
                    // The end of some streams lacks the line that would end its event.
                    let rest = self.tee.rest();
                    let sent = rest.as_ref().map_or(0, Bytes::len) as u64;
                    self.recording.note(|entry| entry.response_bytes += sent);
                    self.end(Outcome::Complete, None);
                    return Poll::Ready(rest.map(|rest| Ok(Frame::data(rest))));
                }
                Poll::Pending => return self.overdue(cx),
            }
        }
    }

    fn is_over(&self) -> bool {
        let end = self.total_at.as_ref().map(|at| at.deadline());
        end.is_some_and(|end| end <= Instant::now())
    }

    /// While nothing comes: whether it has taken too long.
    fn overdue(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.idle.is_zero() && self.idle_at.as_mut().poll(cx).is_ready() {
            return self.time_out("the provider fell silent in the middle of its answer");
        }
        if let Some(at) = &mut self.total_at
            && at.as_mut().poll(cx).is_ready()
        {
            return self.time_out(TOO_LONG);
        }
        Poll::Pending
    }

    fn time_out(&mut self, why: &'static str) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let status = http::StatusCode::GATEWAY_TIMEOUT;
        self.fail(
            Outcome::TimedOut,
            &Rejection::new(status, "provider_timeout", why),
        )
    }

    /// Ends an answer at which the gateway has panicked. What was read of it counts, as far as
    /// that can still be had.
    fn broken(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let rejection = Rejection::panicked();
        self.breaks_at = None;
        self.ended = true;
        let taken = panics::caught_now("a meter", || self.tee.finish()).unwrap_or_default();
        let why = rejection.message.to_string();
        // Nothing happens where the record is made already.
        self.record(taken, Outcome::Failed, Some(why));
        panics::caught_now("a format", || self.fail(Outcome::Failed, &rejection))
            .unwrap_or_else(|| Poll::Ready(Some(Err(rejection.message.to_string().into()))))
    }
}

impl Body for RelayBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        panics::caught_now("an answer", || this.next(cx)).unwrap_or_else(|| this.broken())
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
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        // Some clients leave with the event that ends the answer, before its stream has ended.
        let is_whole = self.tee.has_events() && self.tee.is_complete();
        let taken = panics::caught_now("a meter", || self.tee.finish()).unwrap_or_default();
        let outcome = if is_whole && taken.reading.tokens.output.is_some() {
            Outcome::Complete
        } else {
            Outcome::ClientClosed
        };
        self.record(taken, outcome, None);
    }
}
