//! Responses that are given again to the same request, where a grant says so: without a provider, and
//! for nothing.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, header};

use super::Gateway;
use super::clear::Cleared;
use super::context::Asked;
use super::kept::{Keeping, Kept, Question, allowed};
use crate::base::clock;
use crate::base::reasons::Reason;
use crate::exchange::relay::Begun;
use crate::formats::translate;

/// Says whether a response is one that was kept.
pub(super) const HEADER: &str = "x-iris-cache";
/// Whether a grant says that responses to a request are kept.
pub(super) fn may_be_kept(cleared: &Cleared) -> bool {
    let mut choices = cleared.choices.iter();
    choices.any(|one| allowed(&one.route, &one.terms).is_some())
}

impl Gateway {
    /// The response that was kept for a request. Without one, the provider's may be kept when it ends.
    pub(super) async fn kept(&self, cleared: &mut Cleared) -> Option<Response<Begun>> {
        let asked = cleared.asked();
        let limit = asked.rules.file.limits.cache;
        let longest = asked.rules.file.database.retention.of_captures();
        // What was said may not be written anywhere if captures aren't.
        if limit == 0 || !self.ledger.policy().captures {
            return None;
        }
        let (question, request) = Question::of(asked)?;
        let now = clock::unix_ms();
        let mut found = None;
        for (nth, candidate) in cleared.choices.iter().enumerate() {
            let (route, terms) = (&candidate.route, &candidate.terms);
            let Some(grant) = allowed(route, terms) else {
                continue;
            };
            let key = question.key(route, terms, grant);
            let lasts = grant.within(longest).lasts;
            if let Some(kept) = self.cache.get(key, now, lasts).await {
                found = Some((nth, kept));
                break;
            }
        }
        let again =
            found.and_then(|(nth, kept)| Some((nth, response(asked, &request, &kept, now)?)));
        let Some((nth, response)) = again else {
            cleared.draft.kept.cache = Some(Keeping {
                store: Arc::clone(&self.cache),
                question,
                longest,
                limit,
            });
            return None;
        };
        let candidate = cleared.choices.remove(nth)?;
        let (asked, draft) = cleared.split();
        draft.reason(Reason::Cached {
            provider: candidate.route.provider.id.clone(),
        });
        draft.choose(asked, candidate, None);
        Some(response)
    }
}

/// A kept response for a caller, as they want it delivered.
fn response(
    asked: &Asked,
    request: &translate::Request,
    kept: &Kept,
    now: i64,
) -> Option<Response<Begun>> {
    let codec = asked.format.codec?;
    let (kind, body) = if request.is_streamed() {
        let kind = (codec.stream_type)(request);
        (kind, kept.as_stream(codec, request)?)
    } else {
        ("application/json", kept.body.clone())
    };
    let mut response = Response::new(Begun::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(HEADER, HeaderValue::from_static("hit"));
    let age = Duration::from_millis(now.saturating_sub(kept.made).unsigned_abs());
    headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    Some(response)
}
