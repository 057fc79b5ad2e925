//! Counts of tokens where the provider has none: many local servers know the format and not this
//! route, and agents ask it often. They get an estimate that says so, and the provider is not
//! asked again for a while.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Collected, Limited};
use memchr::memmem;
use serde_json::Value;

use crate::base::clock::within;
use crate::base::lock::lock;
use crate::base::reasons::Reason;
use crate::exchange::Gateway;
use crate::exchange::clear::Cleared;
use crate::exchange::relay::Begun;
use crate::exchange::translation;
use crate::formats::Format;
use crate::policy::route::Provider;

/// Marks an estimate in a response.
const ESTIMATED: &str = "x-iris-estimated";
/// For so long a provider without counts is not asked for one.
const REMEMBERED: Duration = Duration::from_hours(1);
/// A longer response isn't a count.
const LONGEST: usize = 64 << 10;
/// For the rest of an answer whose head has come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Providers that have no counts of tokens in a format.
#[derive(Default)]
pub struct Uncounted(Mutex<HashMap<(String, &'static str), Seen>>);

/// What was seen of a provider's counts, and under which configuration.
struct Seen {
    at: Instant,
    generation: u64,
    /// It has counted: whatever it refuses later, the route is there.
    counts: bool,
}

impl Uncounted {
    /// Notes whether a provider counts. What has counted once does.
    fn note(&self, provider: &str, format: &'static str, generation: u64, counts: bool) {
        let at = Instant::now();
        let mut known = lock(&self.0);
        // What another configuration called so is forgotten, so there are never more than providers.
        known.retain(|_, seen| seen.generation == generation);
        let seen = known.entry((provider.to_owned(), format)).or_insert(Seen {
            at,
            generation,
            counts,
        });
        seen.at = at;
        seen.counts |= counts;
    }

    /// Whether a provider has counted under this configuration.
    fn counts(&self, provider: &str, format: &'static str, generation: u64) -> bool {
        let known = lock(&self.0);
        let seen = known.get(&(provider.to_owned(), format));
        seen.is_some_and(|seen| seen.generation == generation && seen.counts)
    }

    fn has(&self, provider: &str, format: &'static str, generation: u64) -> bool {
        let known = lock(&self.0);
        let seen = known.get(&(provider.to_owned(), format));
        seen.is_some_and(|seen| {
            let is_fresh = seen.generation == generation && seen.at.elapsed() < REMEMBERED;
            is_fresh && !seen.counts
        })
    }
}

impl Gateway {
    /// The estimate for a request whose provider is known to have no counts.
    pub(super) fn estimated(
        &self,
        count: &Value,
        cleared: &mut Cleared,
    ) -> Option<Response<Begun>> {
        let next = cleared.choices.front()?;
        let asked = cleared.asked();
        let provider = &next.route.provider;
        let counts = counting(provider, asked.format);
        let is_known = |format| {
            self.uncounted
                .has(&provider.id, format, asked.rules.generation)
        };
        if counts.is_some_and(|format| !is_known(format)) {
            return None;
        }
        let candidate = cleared.choices.pop_front()?;
        explain(&candidate.route.provider.id, cleared);
        let (asked, draft) = cleared.split();
        draft.choose(asked, candidate, None);
        Some(response(count))
    }

    /// A provider's response to a request for a count, or an estimate if it has no count.
    pub(super) async fn counted(
        &self,
        answered: Response<Begun>,
        count: &Value,
        cleared: &mut Cleared,
    ) -> Response<Begun> {
        let (mut head, body) = answered.into_parts();
        let may_be_none =
            head.status.is_success() || matches!(head.status.as_u16(), 404 | 405 | 501);
        if !may_be_none {
            return Response::from_parts(head, body);
        }
        let read = within(PATIENCE, Limited::new(body, LONGEST).collect()).await;
        let body = read.ok().and_then(Result::ok).map(Collected::to_bytes);
        let is_packed = head.headers.contains_key(header::CONTENT_ENCODING);
        let last = cleared.draft.attempts.last();
        let Some(route) = last.map(|attempt| attempt.route.clone()) else {
            return response(count);
        };
        let (call, generation) = (&cleared.asked().call, cleared.asked().rules.generation);
        let names_model = |body: &[u8]| {
            let names = [call.model.as_str(), &route.model];
            let mut names = names.iter().filter(|name| !name.is_empty());
            names.any(|name| memmem::find(body, name.as_bytes()).is_some())
        };
        let caller = cleared.asked().format;
        let (provider, format) = (&route.provider.id, caller.name);
        let format = counting(&route.provider, caller).unwrap_or(format);
        let translation = last.and_then(|attempt| attempt.translation.as_deref());
        if let Some(translation) = translation.filter(|_| head.status.is_success()) {
            let counted = body.as_deref().and_then(|body| translation.counted(body));
            self.uncounted
                .note(provider, format, generation, counted.is_some());
            let written = caller.count_response.zip(counted);
            let written = written.map(|(write, count)| write(count));
            let response = if let Some(count) = written {
                json(&count)
            } else {
                explain(provider, cleared);
                response(count)
            };
            forget_request(cleared);
            return response;
        }
        let has_counted = self.uncounted.counts(provider, format, generation);
        let is_answer = match &body {
            None => false,
            Some(body) if head.status.is_success() => is_packed || is_more_than_error(body, count),
            // An unknown model is an answer; an unknown route is not. Where there have been counts,
            // the route is known.
            Some(body) => has_counted || head.status == StatusCode::NOT_FOUND && names_model(body),
        };
        // Without a body nothing is known of the route, and neither is by an error in the words of
        // the format: it may be about something that the caller named.
        let tells = body.as_ref().is_some_and(|body| !is_envelope(body));
        if is_answer {
            if head.status.is_success() {
                self.uncounted.note(provider, format, generation, true);
            }
            head.headers.remove(header::TRANSFER_ENCODING);
            return Response::from_parts(head, Begun::from(body.unwrap_or_default()));
        }
        if tells {
            self.uncounted.note(provider, format, generation, false);
        }
        explain(provider, cleared);
        forget_request(cleared);
        response(count)
    }
}

/// The name of the format in which a provider can be asked what a caller asks for in another; `None` if it
/// can't count.
fn counting(provider: &Provider, caller: &Format) -> Option<&'static str> {
    if provider.speaks(caller) {
        return Some(caller.name);
    }
    let (format, _) = translation::counts(provider, caller)?;
    Some(format.name)
}

/// The response is not the provider's, so that it isn't translated.
fn forget_request(cleared: &mut Cleared) {
    if let Some(attempt) = cleared.draft.attempt() {
        attempt.forget_request();
    }
}

fn explain(provider: &str, cleared: &mut Cleared) {
    let provider = provider.into();
    cleared.draft.reason(Reason::EstimatedCount { provider });
}

/// An estimate.
fn response(count: &Value) -> Response<Begun> {
    let mut response = json(count);
    let headers = response.headers_mut();
    headers.insert(ESTIMATED, HeaderValue::from_static("true"));
    response
}

fn json(count: &Value) -> Response<Begun> {
    let mut response = Response::new(Begun::from(Bytes::from(count.to_string())));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Whether a body with the status of success is more than an error. There are servers that answer
/// every route with success.
fn is_more_than_error(body: &[u8], like: &Value) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let counts = like.as_object().into_iter().flatten();
    let mut counts = counts.filter(|(_, value)| value.is_number());
    body["error"].is_null() || counts.all(|(key, _)| body[key].is_number())
}

/// Whether a body is an error as Anthropic or Google writes it. Servers that only follow a format
/// rarely do for routes that they don't have.
fn is_envelope(body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["type"] == "error" || body["error"]["status"].is_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_count_is_told_from_what_only_says_success() {
        let like = json!({ "object": "response.input_tokens", "input_tokens": 3 });
        for count in [
            r#"{"input_tokens":14}"#,
            r#"{"error":null,"tokens":14}"#,
            "[]",
        ] {
            assert!(is_more_than_error(count.as_bytes(), &like), "{count}");
        }
        let error = br#"{"error":"Unexpected endpoint or method"}"#;
        assert!(!is_more_than_error(error, &like));
    }

    #[test]
    fn a_provider_is_remembered_under_its_configuration() {
        let known = Uncounted::default();
        let kind = "anthropic_messages";
        known.note("p", kind, 1, false);
        assert!(known.has("p", kind, 1));
        assert!(!known.has("p", kind, 2) && !known.has("q", kind, 1));
        assert!(!known.has("p", "openai_responses", 1));
        known.note("q", kind, 2, false);
        assert!(!known.has("p", kind, 1));
        known.note("q", kind, 2, true);
        assert!(known.counts("q", kind, 2) && !known.has("q", kind, 2));
        known.note("q", kind, 2, false);
        assert!(!known.has("q", kind, 2), "one odd answer changes nothing");
        assert!(!known.counts("q", kind, 3));
    }
}
