//! The body of a relayed response.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use super::live::Live;
use super::tee::Tee;
use super::{Begun, Form, Translating};
use crate::base::panics;
use crate::exchange::draft::Draft;
use crate::exchange::ending::{Ending, Stage};
use crate::formats::translate::Failure;
use crate::formats::{Format, Meter};
use crate::wire::body::BodyError;
use crate::wire::decode::Decoding;
use crate::wire::{Rejection, Revocation};

/// The connection breaks this long after the event that says why: hyper throws away what it
/// has not yet written when a body fails.
const LINGER: Duration = Duration::from_millis(200);

const TOO_LONG: &str = "the answer took longer than this gateway allows";

/// How a response is read, and how its caller is told that it failed.
pub(in crate::exchange) struct Reader {
    /// The caller's.
    pub(in crate::exchange) format: &'static Format,
    /// The longest event of a stream that is held for the meter, in bytes.
    pub(in crate::exchange) longest_event: usize,
    pub(in crate::exchange) meter: Box<dyn Meter>,
    /// Decompresses it for the meter, if it is compressed.
    pub(in crate::exchange) decoding: Option<Decoding>,
    /// Translates it, if the caller speaks another format.
    pub(in crate::exchange) translating: Option<Box<Translating>>,
}

/// Relays a provider's response. Dropping it cancels the response at the provider, unless nothing is
/// left to come but what tells its price.
pub(in crate::exchange) struct RelayBody {
    state: State,
    is_stream: bool,
    format: &'static Format,
    /// Of a stream alone: an unstreamed response was complete while the grant was valid.
    revoked: Option<Revocation>,
    idle: Duration,
    /// Set when the provider is first waited for: most unstreamed responses come at once.
    idle_at: Option<Pin<Box<Sleep>>>,
    /// The provider was asked for more and had none: only then is it silent, and not while its caller
    /// takes nothing.
    waits: bool,
    /// When it has taken too long as a whole.
    ends: Option<Instant>,
    /// Set like `idle_at`.
    ends_at: Option<Pin<Box<Sleep>>>,
}

/// What becomes of an answer.
#[expect(
    clippy::large_enum_variant,
    reason = "a body is boxed as a whole, and mostly runs"
)]
enum State {
    /// It passes.
    Running(Live),
    /// The error event is sent; then the connection breaks.
    Breaking(Pin<Box<Sleep>>),
    /// Its record is made.
    Ended,
}

type Next = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl RelayBody {
    /// Relays `upstream`, whose head has arrived.
    pub(in crate::exchange) fn new(
        mut upstream: Begun,
        reader: Reader,
        draft: Draft,
        revoked: Option<Revocation>,
        form: &Form,
    ) -> Self {
        let now = Instant::now();
        let longest = reader.longest_event;
        let mut live = Live {
            tee: Tee::new(reader.meter, reader.decoding, form, longest),
            mask: upstream.take_error_mask(),
            upstream,
            draft,
            is_success: !form.is_error,
            translating: reader.translating,
            may_fail: false,
            is_whole: false,
        };
        // Of a response without a body, the server asks for no piece.
        let state = if form.is_bodiless || live.upstream.is_end_stream() {
            live.finish();
            State::Ended
        } else {
            State::Running(live)
        };
        Self {
            state,
            is_stream: form.is_stream && !form.is_error,
            format: reader.format,
            revoked,
            idle: form.idle,
            idle_at: None,
            waits: false,
            ends: (!form.total.is_zero()).then(|| now + form.total),
            ends_at: None,
        }
    }

    /// Takes the answer, which ends now.
    fn take(&mut self) -> Option<Live> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Running(live) => Some(live),
            State::Breaking(_) | State::Ended => None,
        }
    }

    /// Ends a response that went wrong.
    fn fail(&mut self, ending: fn(String) -> Ending, rejection: &Rejection) -> Next {
        let Some(mut live) = self.take() else {
            return Poll::Ready(None);
        };
        let last = match live.translating {
            None => live.tee.last_event().unwrap_or_default(),
            Some(_) => Bytes::new(),
        };
        self.break_off(
            live,
            ending(rejection.message.to_string()),
            &last,
            rejection,
        )
    }

    /// Ends a response at which the gateway has panicked. What was read of it counts, as far as
    /// that can still be had.
    fn panicked(&mut self) -> Next {
        let rejection = Rejection::panicked();
        match self.take() {
            Some(live) => {
                let ending = Ending::of(Stage::Send, &rejection);
                self.break_off(live, ending, &[], &rejection)
            }
            None => Poll::Ready(Some(Err(rejection.message.into()))),
        }
    }

    /// The caller of a stream is told in the format's own way, behind what was held back, and then the
    /// connection breaks, so that nobody takes the response for whole.
    fn break_off(
        &mut self,
        mut live: Live,
        ending: Ending,
        held: &[u8],
        rejection: &Rejection,
    ) -> Next {
        let takes_events = match &live.translating {
            None => live.tee.takes_events(),
            Some(translating) => translating.takes_events(),
        };
        live.end(ending);
        let event = || self.format.stream_error(rejection);
        match panics::caught_now("a format", event) {
            Some(event) if takes_events && !event.is_empty() => {
                self.state = State::Breaking(Box::pin(sleep_until(Instant::now() + LINGER)));
                let event = Bytes::from([held, &event].concat());
                Poll::Ready(Some(Ok(Frame::data(event))))
            }
            _ => Poll::Ready(Some(Err(rejection.message.to_string().into()))),
        }
    }

    /// What comes next.
    fn next(&mut self, cx: &mut Context<'_>) -> Next {
        if let State::Breaking(at) = &mut self.state {
            ready!(at.as_mut().poll(cx));
            self.state = State::Ended;
            return Poll::Ready(Some(Err("the stream was broken off".into())));
        }
        if matches!(self.state, State::Ended) {
            return Poll::Ready(None);
        }
        panics::point("relay");
        if let Some(revoked) = &mut self.revoked
            && let Poll::Ready(rejection) = revoked.poll_unpin(cx)
        {
            return self.fail(Ending::Revoked, &rejection);
        }
        // A provider always has more for a caller who reads slowly.
        if self.is_over() {
            return self.time_out(Ending::TooLong, TOO_LONG);
        }
        loop {
            let State::Running(live) = &mut self.state else {
                return Poll::Ready(None);
            };
            match Pin::new(&mut live.upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.waits = false;
                    // Trailers would need a promise in the head that was not made.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    let mut out = live.pass(data);
                    // With a declared length nobody asks for more than the last byte.
                    let is_last = !self.is_stream && live.upstream.is_end_stream();
                    if is_last {
                        live.tee.end();
                        if let Some(rest) = live.rest() {
                            out = [out, rest].concat().into();
                        }
                    }
                    if let Some(translating) = &mut live.translating {
                        let failure;
                        (out, failure) = translating.pass(&out, is_last);
                        if let Some(failure) = failure {
                            return self.untranslated(&out, failure);
                        }
                    }
                    if is_last {
                        self.finish();
                    }
                    if !out.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(out))));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::warn!(%error, "a provider broke off its answer");
                    return self.cut("the provider broke off its answer");
                }
                Poll::Ready(None) => {
                    live.tee.end();
                    let translating = live.translating.as_ref();
                    let is_whole = translating.is_some_and(|translating| translating.is_whole());
                    let may_end = live.tee.may_end() && !live.tee.is_half();
                    if live.tee.has_events() && !may_end && !is_whole {
                        return self.cut("the provider's stream ended before its end");
                    }
                    return self.whole();
                }
                Poll::Pending => return self.overdue(cx),
            }
        }
    }

    /// The provider's answer has come to its end.
    fn finish(&mut self) {
        if let State::Running(live) = &mut self.state {
            live.finish();
        }
        self.state = State::Ended;
    }

    /// The provider has broken off. What had come to its own end before that is whole.
    fn cut(&mut self, why: &'static str) -> Next {
        if let State::Running(live) = &mut self.state
            && (live.tee.meter.has_failed()
                || (live.tee.is_complete() && live.tee.meter.is_counted()))
        {
            return self.whole();
        }
        let status = StatusCode::BAD_GATEWAY;
        let rejection = Rejection::new(status, "provider_broke_off", why);
        self.fail(Ending::ProviderCut, &rejection)
    }

    /// All has come but what was held back: the end of some streams lacks the line that would end its
    /// event.
    fn whole(&mut self) -> Next {
        let State::Running(live) = &mut self.state else {
            return Poll::Ready(None);
        };
        let mut rest = live.rest();
        if let Some(translating) = &mut live.translating {
            let (out, failure) = translating.pass(&rest.unwrap_or_default(), true);
            if let Some(failure) = failure {
                return self.untranslated(&out, failure);
            }
            rest = (!out.is_empty()).then_some(out);
        }
        self.finish();
        Poll::Ready(rest.map(|rest| Ok(Frame::data(rest))))
    }

    /// The provider reports an error, or what it sent can't be translated: the caller is told behind
    /// `out`.
    fn untranslated(&mut self, out: &[u8], failure: Failure) -> Next {
        let Some(mut live) = self.take() else {
            return Poll::Ready(None);
        };
        let translating = live.translating.as_ref();
        if translating.is_some_and(|translating| translating.has_told()) {
            live.end(Ending::ProviderFailed(failure.message));
            return Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(out)))));
        }
        let status = failure
            .status
            .and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
        let rejection = Rejection::new(status, "provider_error", failure.message);
        let ending = Ending::ProviderFailed(rejection.message.to_string());
        self.break_off(live, ending, out, &rejection)
    }

    fn is_over(&self) -> bool {
        self.ends.is_some_and(|end| end <= Instant::now())
    }

    /// While nothing comes: whether it has taken too long.
    fn overdue(&mut self, cx: &mut Context<'_>) -> Next {
        if !self.idle.is_zero() && !std::mem::replace(&mut self.waits, true) {
            let until = Instant::now() + self.idle;
            match &mut self.idle_at {
                Some(at) => at.as_mut().reset(until),
                None => self.idle_at = Some(Box::pin(sleep_until(until))),
            }
        }
        if let Some(at) = &mut self.idle_at
            && at.as_mut().poll(cx).is_ready()
        {
            let why = "the provider fell silent in the middle of its answer";
            return self.time_out(Ending::TimedOut, why);
        }
        if let Some(end) = self.ends {
            let at = self
                .ends_at
                .get_or_insert_with(|| Box::pin(sleep_until(end)));
            if at.as_mut().poll(cx).is_ready() {
                return self.time_out(Ending::TooLong, TOO_LONG);
            }
        }
        Poll::Pending
    }

    fn time_out(&mut self, ending: fn(String) -> Ending, why: &'static str) -> Next {
        let status = StatusCode::GATEWAY_TIMEOUT;
        let rejection = Rejection::new(status, "provider_timeout", why);
        self.fail(ending, &rejection)
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
        panics::caught_now("an answer", || this.next(cx)).unwrap_or_else(|| this.panicked())
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

impl Drop for RelayBody {
    /// Every other end is decided where it is seen: a server that drops an answer which still runs
    /// has lost its caller, unless it may no longer have it.
    fn drop(&mut self) {
        let revoked = self.revoked.as_ref().and_then(Revocation::peek);
        let revoked = revoked.map(|rejection| rejection.message.to_string());
        match (self.take(), revoked) {
            (Some(mut live), Some(why)) => live.end(Ending::Revoked(why)),
            (Some(live), None) => live.abandon(),
            (None, _) => {}
        }
    }
}
