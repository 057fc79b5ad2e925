//! One attempt at a provider over HTTP: what is sent, once more if that helps, and what the response
//! says about the provider.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;

use super::hold;
use crate::base::clock::within;
use crate::base::panics;
use crate::base::reasons::Reason;
use crate::exchange::Gateway;
use crate::exchange::attempts::{Ask, Outcome};
use crate::exchange::failure::Failure;
use crate::exchange::fund::Funded;
use crate::exchange::relay::{Begun, framing};
use crate::exchange::upstream::asked_wait;
use crate::net::client::{Received, Reuse};
use crate::policy::route::Scope;
use crate::wire::decode::Decoding;
use crate::wire::{Mask, headers};

/// Bytes of a refusal that are read to find out what it is about.
const REFUSAL: usize = 64 << 10;

/// What is wrong with a response that another provider's may not have.
enum Flaw {
    /// The provider says that it can't.
    Broken,
    /// It takes no requests for a while; for how long, if it says so.
    Limited(Option<Duration>),
}

/// Providers are asked over HTTP.
pub(in crate::exchange) struct OverHttp<'g>(pub(in crate::exchange) &'g Gateway);

impl Ask for OverHttp<'_> {
    type Response = Response<Begun>;

    async fn attempt(
        &mut self,
        mut funded: Funded<'_>,
        may_go_on: bool,
    ) -> Outcome<Response<Begun>> {
        let gateway = self.0;
        let routing = funded.rules.file.routing;
        funded.attempt.ask();
        panics::point("upstream");
        let mut response = match gateway.exchange(&mut funded, may_go_on).await {
            Ok(response) => response,
            Err(failure) => {
                funded.attempt.fail(&failure, &routing);
                return Outcome::failed(&failure, &funded.route().provider.id);
            }
        };
        panics::point("answered");
        let is_success = response.status().is_success();
        if is_success && let Err(failure) = gateway.translate(&mut funded, &mut response).await {
            funded.attempt.fail(&failure, &routing);
            return Outcome::failed(&failure, &funded.route().provider.id);
        }
        let translated = funded.attempt.translated.as_ref();
        let failure = translated.and_then(|translated| translated.failure.as_ref());
        let status = failure.map_or(response.status(), hold::status);
        let flaw = match flaw(status, response.headers()) {
            // All of its keys are limited: one of them is the first that isn't.
            Some(Flaw::Limited(wait)) => {
                let soonest = gateway.traffic.soonest_key(&funded.route().provider);
                Some(Flaw::Limited(soonest.or(wait)))
            }
            flaw => flaw,
        };
        let why = match (&flaw, failure) {
            (None, _) => String::new(),
            (Some(_), None) => format!("it answered {}", response.status()),
            (Some(_), Some(failure)) => {
                format!("it answered {} with an error: {failure}", response.status())
            }
        };
        let is_shared = funded.attempt.is_shared();
        if let Some(request) = funded.attempt.in_flight() {
            match &flaw {
                Some(Flaw::Broken) => request.failed(&why, Scope::Model, &routing),
                Some(Flaw::Limited(wait)) if is_shared => request.limited(&why, *wait),
                // How the response goes on is known at its end.
                _ if is_success => request.answering(&routing),
                _ => request.succeeded(),
            }
        }
        let (format, _) = funded.served();
        if is_success
            && funded.attempt.translation.is_none()
            && let Some(remember) = gateway.remember(&funded, &funded.route().provider)
            && can_name_state(response.headers())
        {
            response.body_mut().remember(remember);
        }
        // Reports may be filtered by headers that the caller doesn't get.
        let named = funded.rules.filterable.of(response.headers());
        let named = named
            .filter(|(name, _)| headers::is_passable(name))
            .collect();
        funded.attempt.headers = named;
        funded.attempt.in_head = (format.counts_in_head)(response.headers());
        // Those that callers of their format know.
        let more = &funded.route().provider.pass_headers;
        headers::returned(response.headers_mut(), funded.format.known.response, more);
        funded.warn(response.headers_mut());
        match flaw {
            None => Outcome::Answered(response),
            Some(Flaw::Broken) => Outcome::Failed {
                why,
                is_unsent: false,
                instead: Ok(response),
            },
            Some(Flaw::Limited(wait)) => Outcome::Limited {
                why,
                wait,
                instead: Ok(response),
            },
        }
    }
}

impl Gateway {
    /// Translates a successful response that isn't a stream, if it has to be.
    async fn translate(
        &self,
        funded: &mut Funded<'_>,
        response: &mut Response<Begun>,
    ) -> Result<(), Failure> {
        let Some(mut translation) = funded.attempt.translation.take() else {
            return Ok(());
        };
        let translated = if translation.is_count() {
            Ok(None)
        } else {
            // Boxed, because few requests are translated, and all would have room for it.
            Box::pin(self.translated(funded, &mut translation, response)).await
        };
        funded.attempt.translation = Some(translation);
        funded.attempt.translated = translated?.map(Box::new);
        Ok(())
    }

    /// Sends a request to a provider, once more where that helps: on a new connection, if the
    /// provider has closed the kept one; without what the gateway has added, if it refuses that.
    async fn exchange(
        &self,
        funded: &mut Funded<'_>,
        may_go_on: bool,
    ) -> Result<Response<Begun>, Failure> {
        let began = funded.attempt.before_ms;
        let mut response = self.with_a_key(funded, began, may_go_on).await?;
        let provider = &funded.route().provider;
        let is_added = funded.served().1.splice.hide_usage && provider.stream_options.is_none();
        if !is_added || self.traffic.refuses_stream_options(provider) {
            return Ok(response);
        }
        let limit = self.upstream.timeouts().first_byte;
        if !names_stream_options(&mut response, limit).await || !funded.without_usage_asked() {
            return Ok(response);
        }
        funded.reason(Reason::WithoutStreamOptions {
            provider: funded.route().provider.id.clone(),
            ms: funded.elapsed_ms() - began,
            status: response.status().to_string().into(),
        });
        // The connection is free again once the refusal is read, or closed.
        drop(response);
        let began = funded.elapsed_ms();
        let again = self.with_a_key(funded, began, may_go_on).await?;
        // A caller can have the provider quote the words, but not have it succeed without them.
        if again.status().is_success() {
            let provider = &funded.route().provider;
            tracing::info!(
                provider = provider.id.as_str(),
                "refuses stream_options: it gets none from now on"
            );
            self.traffic.learn_no_stream_options(provider);
        }
        Ok(again)
    }

    /// Sends a request, and again with another key for each that the provider refuses.
    async fn with_a_key(
        &self,
        funded: &mut Funded<'_>,
        mut began: f64,
        may_go_on: bool,
    ) -> Result<Response<Begun>, Failure> {
        loop {
            let mut response = self.send_twice(funded, began, may_go_on).await?;
            let status = self.status(funded, &mut response).await;
            let wait = || asked_wait(response.headers(), Timestamp::now());
            if !self.has_other_key(funded, status, wait) {
                return Ok(response);
            }
            began = funded.elapsed_ms();
        }
    }

    /// The status of a response: 401 if it refuses the key with another one.
    async fn status(&self, funded: &Funded<'_>, response: &mut Response<Begun>) -> StatusCode {
        let status = response.status();
        let is_hidden = status == StatusCode::BAD_REQUEST;
        if !is_hidden || funded.route().provider.apikeys.len() < 2 {
            return status;
        }
        let limit = self.upstream.timeouts().first_byte;
        let format = funded.served().0;
        match within(limit, response.body_mut().peek(REFUSAL)).await {
            Ok(text) if (format.refuses_key)(text) => StatusCode::UNAUTHORIZED,
            _ => status,
        }
    }

    /// Sends a request, and once more on a new connection if the provider has closed the kept one. It is sent
    /// `began` milliseconds after the request came.
    async fn send_twice(
        &self,
        funded: &mut Funded<'_>,
        began: f64,
        may_go_on: bool,
    ) -> Result<Response<Begun>, Failure> {
        let failure = match self.send(funded, Reuse::Kept, may_go_on).await {
            Err(failure @ Failure::Closed(_)) => failure,
            // If there is another provider, that one is more likely to answer.
            Err(failure @ Failure::Lost(_)) if !may_go_on => failure,
            sent => return sent,
        };
        let provider = funded.route().provider.id.clone();
        funded.reason(Reason::NewConnection {
            why: failure.of(&provider).into(),
            provider,
            ms: funded.elapsed_ms() - began,
        });
        self.send(funded, Reuse::Never, may_go_on).await
    }

    /// Sends a request, and waits for the first bytes of a body where another provider could
    /// still be asked.
    async fn send(
        &self,
        funded: &Funded<'_>,
        reuse: Reuse,
        may_go_on: bool,
    ) -> Result<Response<Begun>, Failure> {
        // Boxed, because what opens a connection takes room, and the stages around it are moved once each.
        let sent = Box::pin(self.upstream.send(funded, reuse));
        let (response, mask) = sent.await?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            return Ok(Box::pin(self.refusal(head, body, mask)).await);
        }
        // Nothing of it is read that would tell an error.
        if funded.place().is_some() {
            return Ok(Response::from_parts(head, Begun::from(body).masked(mask)));
        }
        if !may_go_on {
            return Ok(Response::from_parts(head, Begun::from(body).success(mask)));
        }
        let broke_off = |why| Failure::Unreachable { why, sent: true };
        let limit = self.upstream.timeouts().first_byte;
        let begun = within(limit, Begun::begin(body)).await;
        let begun = begun.map_err(|_| Failure::TimedOut(limit))?;
        let begun = begun.map_err(|error| broke_off(error.to_string()))?;
        if begun.is_empty() && framing(&head.headers, funded.served().0).is_some() {
            return Err(broke_off("its stream ended before it began".to_owned()));
        }
        Ok(Response::from_parts(head, begun.success(mask)))
    }

    /// A provider's error without the credentials that it quotes. A compressed one is
    /// decompressed for that, as far as it is of use.
    async fn refusal(
        &self,
        mut head: http::response::Parts,
        body: Received,
        mask: Mask,
    ) -> Response<Begun> {
        let mut whole = Begun::from(body);
        let Some(mut decoding) = Decoding::of(&head.headers) else {
            return Response::from_parts(head, whole.masked(mask));
        };
        head.headers.remove(header::CONTENT_ENCODING);
        head.headers.remove(header::CONTENT_LENGTH);
        let limit = self.upstream.timeouts().first_byte;
        let packed = within(limit, whole.peek(REFUSAL)).await.unwrap_or_default();
        let plain = mask.whole(decoding.feed(packed).into());
        Response::from_parts(head, Begun::from(plain))
    }
}

/// What is wrong with a response by its status: a provider says that it can't, not that it won't.
/// 508 is a gateway's that leads back here, 529 Anthropic's for being overloaded.
fn flaw(status: StatusCode, headers: &HeaderMap) -> Option<Flaw> {
    let wait = || asked_wait(headers, Timestamp::now());
    match status.as_u16() {
        429 => Some(Flaw::Limited(wait())),
        503 | 529 => Some(wait().map_or(Flaw::Broken, |wait| Flaw::Limited(Some(wait)))),
        500 | 502 | 504 | 508 => Some(Flaw::Broken),
        _ => None,
    }
}

/// Whether a response may hold JSON that can be read, alone or in events: no sound, no images,
/// nothing that is compressed.
fn can_name_state(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.map_or(&b""[..], HeaderValue::as_bytes);
    let of = |name: &str| {
        let start = kind.get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    };
    let kinds = ["application/", "text/"];
    let is_text = kind.is_empty() || kinds.iter().any(|name| of(name));
    let is_plain = headers
        .get(header::CONTENT_ENCODING)
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    is_text && is_plain && !of("application/octet-stream")
}

/// Whether a response refuses a request for its `stream_options`.
async fn names_stream_options(response: &mut Response<Begun>, limit: Duration) -> bool {
    let status = response.status();
    if status != StatusCode::BAD_REQUEST && status != StatusCode::UNPROCESSABLE_ENTITY {
        return false;
    }
    let Ok(text) = within(limit, response.body_mut().peek(REFUSAL)).await else {
        return false;
    };
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    ["stream_options", "streamoptions", "include_usage"]
        .iter()
        .any(|name| text.contains(name))
}
