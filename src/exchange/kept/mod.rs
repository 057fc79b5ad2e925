//! What is kept of responses that are given again to the same request.
//!
//! A request is the same if provider, model, format and body are: the body as JSON, whatever the order of
//! its keys, without those that say how the response is delivered. Unless the grant shares them, each
//! caller has their own responses. What could make a difference and isn't in the body keeps a request out
//! of the cache: tools, state at the provider, a credential of the caller's.

mod key;
mod response;
mod store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

pub(super) use self::key::Question;
pub(super) use self::response::Kept;
pub use self::store::Store;
use super::context::{Asked, head_of};
use crate::base::clock;
use crate::config::AuthMode;
use crate::exchange::rules::Terms;
use crate::formats::translate::{self, Inbound};
use crate::policy::access::CacheGrant;
use crate::policy::route::Route;
use crate::records::Entry;

/// The longest request and the longest response that are kept, in bytes.
pub(super) const LONGEST: usize = 1 << 20;

/// What becomes of a response that may be kept.
pub(super) struct Keeping {
    pub(super) store: Arc<Store>,
    pub(super) question: Question,
    /// How long captures are kept, and so the longest time for a response.
    pub(super) longest: Option<Duration>,
    /// What all kept responses may take on disk, in bytes.
    pub(super) limit: u64,
}

/// Whether what a provider answers may be kept, and how.
pub(super) fn allowed(route: &Route, terms: &Terms) -> Option<CacheGrant> {
    // With a caller's own credential, another caller's response may be another.
    let is_shared = route.provider.auth_mode != AuthMode::Passthrough;
    terms.cache.filter(|_| is_shared)
}

impl Keeping {
    /// Keeps the response of a provider, with which an exchange has come to its end.
    pub(super) fn keep(self, entry: &Entry, route: &Route, terms: &Terms, body: &Bytes) {
        let is_whole = entry.status == StatusCode::OK.as_u16()
            && entry.tool_calls == 0
            && !body.is_empty()
            && body.len() <= LONGEST;
        let Some(grant) = allowed(route, terms).filter(|_| is_whole) else {
            return;
        };
        let key = self.question.key(route, terms, grant);
        let kept = Kept::new(
            body.clone(),
            clock::unix_ms(),
            grant.within(self.longest).lasts,
        );
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
