//! Responses that are given again to the same request, where a grant says so: without a provider, and
//! for nothing.
//!
//! A request is the same if provider, model, format and body are: the body as JSON, whatever the order of
//! its keys, without those that say how the response is delivered. Unless the grant shares them, each
//! caller has their own responses. What could make a difference and isn't in the body keeps a request out
//! of the cache: tools, state at the provider, a credential of the caller's.

mod kept;
mod key;
mod store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use self::kept::Kept;
use self::key::Question;
use super::Gateway;
use super::clear::Cleared;
use super::context::{Asked, Candidate, head_of};
use super::facts::Facts;
use crate::base::clock;
use crate::base::reasons::Reason;
use crate::config::AuthMode;
use crate::exchange::relay::Begun;
use crate::formats::translate::{self, Inbound};
use crate::policy::access::CacheGrant;

pub use store::Store;

/// Says whether a response is one that was kept.
pub(super) const HEADER: &str = "x-iris-cache";
/// The longest request and the longest response that are kept, in bytes.
pub(super) const LONGEST: usize = 1 << 20;

/// What becomes of a response that may be kept.
pub(super) struct Keeping {
    store: Arc<Store>,
    question: Question,
    /// What all kept responses may take on disk, in bytes.
    limit: u64,
}

/// Whether a grant says that responses to a request are kept.
pub(super) fn may_be_kept(cleared: &Cleared) -> bool {
    cleared.choices.iter().any(|one| one.terms.cache.is_some())
}

impl Gateway {
    /// The response that was kept for a request. If there is none, the provider's may be kept when it ends.
    pub(super) async fn kept(&self, cleared: &mut Cleared) -> Option<Response<Begun>> {
        let asked = cleared.asked();
        let limit = asked.rules.file.limits.cache;
        // What was said may not be written anywhere if captures aren't.
        if limit == 0 || !self.ledger.policy().captures {
            return None;
        }
        let (question, request) = Question::of(asked)?;
        let now = clock::unix_ms();
        let mut found = None;
        for (nth, candidate) in cleared.choices.iter().enumerate() {
            let Some(key) = allowed(candidate)
                .map(|grant| question.key(&candidate.route, &candidate.terms, grant))
            else {
                continue;
            };
            if let Some(kept) = self.cache.get(key, now).await {
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

/// Whether what a provider answers may be kept, and how.
fn allowed(candidate: &Candidate) -> Option<CacheGrant> {
    // With a caller's own credential, another caller's response may be another.
    let is_shared = candidate.route.provider.auth_mode != AuthMode::Passthrough;
    candidate.terms.cache.filter(|_| is_shared)
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

impl Keeping {
    /// Keeps the response of an exchange that has come to its end.
    pub(super) fn keep(self, facts: &Facts, body: &Bytes) {
        let Some(attempt) = facts.attempts.last() else {
            return;
        };
        let Some(grant) = attempt.terms.cache else {
            return;
        };
        let is_whole = facts.entry.status == StatusCode::OK.as_u16()
            && facts.entry.tool_calls == 0
            && !body.is_empty()
            && body.len() <= LONGEST;
        if !is_whole || !attempt.is_shared() {
            return;
        }
        let key = self.question.key(&attempt.route, &attempt.terms, grant);
        let kept = Kept::new(body.clone(), clock::unix_ms(), grant.lasts);
        self.store.keep(key, kept, self.limit);
    }
}

/// How a request reads in the form that all formats are translated to, which tells whether it offers tools
/// and how its response is to be delivered.
fn read(asked: &Asked) -> Option<translate::Request> {
    let codec = asked.format.codec?;
    let head = head_of(&asked.head);
    let inbound = Inbound {
        path: head.path,
        query: head.query,
        model: &asked.call.model,
        is_streamed: asked.call.stream,
        body: &asked.call.body,
    };
    (codec.read_request)(&inbound).ok()
}
