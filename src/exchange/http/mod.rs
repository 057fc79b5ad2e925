//! Model requests over HTTP: each is one exchange, from the verified caller to the relayed response.

mod acknowledged;
mod attempt;
mod count;
mod hold;
mod idle;
mod place;
mod told;

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header, response};
use http_body_util::BodyExt;

pub(in crate::exchange) use self::attempt::OverHttp;
use super::admit::Admitted;
use super::attempt::Attempt;
use super::attempts::Tries;
use super::cache;
use super::clear::Cleared;
use super::context::Surface;
use super::ending::Stage;
use super::entry::Ticket;
use super::kept;
use super::refusal::Refused;
use super::served::served;
use super::{Gateway, Routed, Verified, route};
use crate::base::memory;
use crate::exchange::relay::{Begun, Form, Reader, RelayBody, Translating, framing};
use crate::formats::Format;
use crate::wire::decode::Decoding;
use crate::wire::{Body, Framing, Rejection, headers};

pub use count::Uncounted;

impl Gateway {
    /// Handles one request of a format. Refusals are responses in the format's own shape.
    pub async fn handle<B>(
        &self,
        format: &'static Format,
        who: Verified,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let is_admitted = AtomicBool::new(false);
        let admitted = &is_admitted;
        let served = served(
            format,
            |_| true,
            |ticket| async move {
                // Boxed, because few requests are for what stands at one provider.
                if format.recognises_place(request.method(), request.uri().path()) {
                    let served = self.serve_place(ticket, format, who, request, admitted);
                    Box::pin(served).await
                } else {
                    self.serve(ticket, format, who, request, admitted).await
                }
            },
        );
        let mut response = served.await;
        // A refusal before that has no record to wait for.
        if is_admitted.into_inner() && self.ledger.acknowledges() {
            response = acknowledged::acknowledged(response, self.ledger.clone()).await;
        }
        response
    }

    async fn serve<B>(
        &self,
        ticket: Ticket,
        format: &'static Format,
        who: Verified,
        request: Request<B>,
        is_admitted: &AtomicBool,
    ) -> Result<Response<Body>, Rejection>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let (mut head, incoming) = request.into_parts();
        let identified = self.identify(&who, &head.headers).await?;
        let admitted = self
            .admit(ticket, who, identified, &head, Surface::Http, format)
            .await?;
        is_admitted.store(true, Ordering::Relaxed);
        let read = match route::body(admitted.context(), &mut head, incoming).await {
            Ok(body) => self.attached(admitted.context(), body).await,
            Err(rejection) => Err(rejection),
        };
        let answered = match read {
            // Boxed, so that a body that comes slowly takes no room for what follows it.
            Ok(body) => self.answer(admitted, head, body).boxed().await,
            Err(rejection) => Err(Refused::new(admitted.draft, Stage::Route, rejection)),
        };
        answered.map_err(Refused::record)
    }

    /// Answers a request whose body is whole.
    async fn answer(
        &self,
        admitted: Admitted,
        head: Parts,
        body: Bytes,
    ) -> Result<Response<Body>, Refused> {
        let routed = self.route(admitted, Arc::new(head), body)?;
        self.respond(routed).await
    }

    /// Answers a request whose providers are known.
    async fn respond(&self, routed: Routed) -> Result<Response<Body>, Refused> {
        let mut cleared = self.clear(routed).await?;
        let response = if cleared.asked().call.background {
            let format = cleared.asked().format;
            // Boxed, because few responses are made in the background.
            match self.begin_apart(cleared).boxed().await {
                Some((begun, response)) => {
                    cleared = begun;
                    response
                }
                // Its record is made.
                None => return Ok(format.refuse(&Rejection::panicked())),
            }
        } else {
            self.response(&mut cleared).await
        };
        match response {
            Ok(response) => {
                let response = self.told(&mut cleared, response).await;
                Ok(self.relay(cleared, response))
            }
            Err(rejection) => Err(Refused::new(cleared.draft, Stage::Send, rejection)),
        }
    }

    /// The response to a request: that of a provider, one that was kept, or the gateway's own where none has
    /// to be asked.
    pub(in crate::exchange) async fn response(
        &self,
        cleared: &mut Cleared,
    ) -> Result<Response<Begun>, Rejection> {
        Self::check_background(cleared)?;
        if let Some(response) = Self::idle(cleared) {
            return Ok(response);
        }
        let asked = cleared.asked();
        let is_place = asked.place().is_some();
        let Some(count) = asked.format.estimated_count(&asked.call) else {
            // Boxed, because few grants keep responses, and all requests would have room for one.
            if cache::may_be_kept(cleared)
                && let Some(response) = Box::pin(self.kept(cleared)).await
            {
                return Ok(response);
            }
            let response = self.ask_providers(cleared).await?;
            return if is_place {
                place::checked(response)
            } else {
                Ok(response)
            };
        };
        if let Some(response) = self.estimated(&count, cleared) {
            return Ok(response);
        }
        let response = self.ask_providers(cleared).await?;
        Ok(Box::pin(self.counted(response, &count, cleared)).await)
    }

    /// A provider's error in the caller's format; any other response as it is.
    async fn told(&self, cleared: &mut Cleared, response: Response<Begun>) -> Response<Begun> {
        let (asked, draft) = cleared.split();
        let is_translated = draft
            .attempt()
            .is_some_and(|last| last.translation.is_some());
        if response.status().is_success() || !is_translated {
            return response;
        }
        let limit = self.upstream.timeouts().first_byte;
        Box::pin(told::error(response, asked.format, limit)).await
    }

    /// Relays the response to a frame of a WebSocket whose provider was asked over HTTP.
    pub(in crate::exchange) async fn relay_frames(
        &self,
        mut cleared: Cleared,
        response: Response<Begun>,
    ) -> Response<Body> {
        let response = self.told(&mut cleared, response).await;
        let response = self.relay(cleared, response);
        if !self.ledger.acknowledges() {
            return response;
        }
        acknowledged::acknowledged(response, self.ledger.clone()).await
    }

    async fn ask_providers(&self, cleared: &mut Cleared) -> Result<Response<Begun>, Rejection> {
        let mut tries = Tries::new();
        let (mut response, soonest) = self.ask(&mut OverHttp(self), &mut tries, cleared).await;
        if let (Ok(response), Some(soonest)) = (&mut response, soonest) {
            let seconds = soonest.as_secs() + u64::from(soonest.subsec_nanos() > 0);
            let headers = response.headers_mut();
            headers.remove("retry-after-ms");
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// Relays a response, which ends the exchange when it ends.
    fn relay(&self, mut cleared: Cleared, response: Response<Begun>) -> Response<Body> {
        let (mut head, upstream) = response.into_parts();
        let decoding = Decoding::of(&head.headers);
        let (asked, draft) = cleared.split();
        let facts = &mut **draft;
        let last = facts.attempts.last();
        let (served, _) = last.map_or((asked.format, &asked.call), |last| last.served(asked));
        let framing = framing(&head.headers, served);
        facts.entry.first_byte_ms = Some(facts.elapsed_ms());
        let keep = self.ledger.policy();
        let mut raw = keep.captures && keep.raws;
        let timeouts = self.upstream.timeouts();
        let room = facts.room();
        let is_error = !head.status.is_success();
        let mut translating = None;
        if let Some(attempt) = facts.attempts.last_mut() {
            facts.entry.overhead_ms = Some(attempt.before_ms);
            let translation = attempt.translation.as_ref().filter(|_| !is_error);
            if let Some(after) = &mut attempt.after {
                match translation {
                    Some(translation) => after.answered(translation.framing(), None),
                    None => after.answered(framing, Decoding::of(&head.headers)),
                }
                raw |= after.wants_raw();
            }
            let of = (asked.format, framing, room);
            translating = translates(attempt, &mut head, of);
        }
        if let (Some(translating), true) = (&mut translating, raw) {
            translating.keep_raw(room);
        }
        facts.entry.status = head.status.as_u16();
        let form = Form {
            is_error,
            is_bodiless: is_bodiless(head.status),
            is_stream: asked.call.stream || framing.is_some(),
            framing,
            hides: translating.is_none() && asked.call.splice.hide_usage,
            room,
            raw: raw && translating.is_none(),
            idle: timeouts.idle,
            total: timeouts.total,
        };
        let may_be_kept = facts.kept.cache.is_some() && head.status == StatusCode::OK;
        let last = facts.attempts.last();
        let may_be_kept = may_be_kept
            && last.is_some_and(|last| kept::allowed(&last.route, &last.terms).is_some());
        if may_be_kept {
            let miss = HeaderValue::from_static("miss");
            head.headers.insert(cache::HEADER, miss);
        }
        if form.is_stream {
            head.headers.remove(header::CONTENT_LENGTH);
            headers::unbuffered(&mut head.headers);
        }
        if let Some(capture) = &mut facts.kept.capture {
            capture.response_headers = headers::redacted(&head.headers);
        }
        let last = facts.attempts.last();
        let (served, call) = match last {
            Some(attempt) => attempt.served(asked),
            None => (asked.format, &asked.call),
        };
        let reader = Reader {
            format: asked.format,
            longest_event: served.longest_event,
            meter: served.meter(&call.metered(form.room)),
            decoding,
            translating,
        };
        if let Some(attempt) = facts.attempts.last_mut() {
            attempt.forget_request();
        }
        let is_revocable = form.is_stream && !form.is_error;
        let revoked = is_revocable.then(|| self.watch(&cleared));
        if let Some(revoked) = &revoked {
            head.extensions.insert(revoked.clone());
        }
        let relayed = RelayBody::new(upstream, reader, cleared.draft, revoked, &form);
        Response::from_parts(head, relayed.boxed_unsync())
    }
}

/// What translates a response, whose head becomes that of the caller's format; `None` if it isn't translated.
/// `framing` is the provider's, and up to `room` bytes are kept.
fn translates(
    attempt: &mut Attempt,
    head: &mut response::Parts,
    (format, framing, room): (&'static Format, Option<Framing>, usize),
) -> Option<Box<Translating>> {
    let translation = attempt.translation.as_mut()?;
    let decoding = Decoding::of(&head.headers);
    if !head.status.is_success() {
        return None;
    }
    translation.dress(&mut head.headers);
    head.headers.remove(header::CONTENT_ENCODING);
    Some(Box::new(match attempt.translated.take() {
        Some(translated) => {
            if let Some(failure) = &translated.failure {
                hold::fail(head, format, failure);
            }
            Translating::whole(*translated)
        }
        None => Translating::new(
            translation.translator(framing, room),
            decoding,
            memory::all(),
        ),
    }))
}

/// Whether a status says that no body follows, so that a server asks for none.
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status.as_u16(), 100..=199 | 204 | 205 | 304)
}
