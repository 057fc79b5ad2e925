//! Which requests are the same.

use std::sync::Arc;

use http::request::Parts;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{LONGEST, read};
use crate::exchange::context::Asked;
use crate::exchange::lists;
use crate::exchange::rules::Terms;
use crate::formats::{Format, translate};
use crate::policy::access::CacheGrant;
use crate::policy::route::Route;

/// Stands for a request at a provider.
pub(in crate::exchange) type Key = [u8; 32];

/// Headers that pass and change nothing about a response.
const HARMLESS: [&str; 9] = [
    "accept",
    "accept-language",
    "content-length",
    "content-type",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-request-id",
];

/// What a request asks, whichever provider answers.
pub(in crate::exchange) struct Question {
    /// Of format, body and query.
    asked: Sha256,
    head: Arc<Parts>,
    caller: String,
    format: &'static Format,
}

impl Question {
    /// What is asked, if a kept response could answer it, and how the request reads.
    pub(in crate::exchange) fn of(asked: &Asked) -> Option<(Self, translate::Request)> {
        let (format, call) = (asked.format, &asked.call);
        let path = asked.head.uri.path();
        let is_plain = !asked.is_socket()
            && (format.translates)(path)
            && call.billed
            && !call.background
            && call.previous_response.is_none()
            && call.body.len() <= LONGEST;
        if !is_plain {
            return None;
        }
        let request = read(asked)?;
        if !request.tools.is_empty() {
            return None;
        }
        let body = canonical(&call.body, format.delivery_keys)?;
        let mut hash = Sha256::new();
        part(&mut hash, format.name.as_bytes());
        part(&mut hash, body.as_bytes());
        for parameter in asked.head.uri.query().unwrap_or_default().split('&') {
            // How a stream is written is part of the delivery.
            if !parameter.starts_with("alt=") && !parameter.starts_with("$alt=") {
                part(&mut hash, parameter.as_bytes());
            }
        }
        let question = Self {
            asked: hash,
            head: Arc::clone(&asked.head),
            caller: asked.asker.owner().key().to_owned(),
            format,
        };
        Some((question, request))
    }

    /// The key of the request at a provider, on these terms and by what a grant says.
    pub(in crate::exchange) fn key(&self, route: &Route, terms: &Terms, grant: CacheGrant) -> Key {
        let mut hash = self.asked.clone();
        let caller = if grant.is_shared { "" } else { &self.caller };
        part(&mut hash, caller.as_bytes());
        part(&mut hash, route.provider.id.as_bytes());
        part(&mut hash, route.provider.place().as_bytes());
        part(&mut hash, route.model.as_bytes());
        // Nothing is kept of providers that take callers' own credentials.
        let passed = lists::headers(self.format, &route.provider, &self.head.headers, false);
        let added = route.provider.add_headers.iter().chain(&terms.headers);
        let added = added.map(|(name, value)| (name, value));
        let mut headers: Vec<_> = passed.headers.iter().chain(added).collect();
        headers.sort_unstable_by_key(|(name, value)| (name.as_str(), value.as_bytes()));
        for (name, value) in headers {
            if !is_harmless(name.as_str()) {
                part(&mut hash, name.as_str().as_bytes());
                part(&mut hash, value.as_bytes());
            }
        }
        hash.finalize().into()
    }
}

fn is_harmless(header: &str) -> bool {
    HARMLESS.contains(&header) || header.starts_with("x-stainless-")
}

/// Adds a part to a hash, so that two parts can't be read as one.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

/// A body without the keys that name the model and say how the response is delivered, with the others in
/// their order.
fn canonical(body: &[u8], delivery_keys: &[&str]) -> Option<String> {
    let mut body: Map<String, Value> = serde_json::from_slice(body).ok()?;
    body.remove("model");
    for key in delivery_keys {
        body.remove(*key);
    }
    Some(sorted(Value::Object(body)).to_string())
}

/// The same with the keys of each object in their order, whichever kind of map holds them.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.into_iter().collect();
            members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            let members = members.into_iter();
            Value::Object(members.map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_same_whatever_the_order_of_its_keys_and_however_it_is_delivered() {
        let same = |body: &str| canonical(body.as_bytes(), &["stream", "stream_options"]);
        let one = same(r#"{"model":"m","a":{"x":1,"y":[{"b":2,"a":1}]},"stream":true}"#);
        assert!(one.is_some());
        let other = r#"{ "a": {"y":[{"a":1,"b":2}],"x":1}, "model":"p/m", "stream_options":{} }"#;
        assert_eq!(same(other), one);
        assert_ne!(same(r#"{"a":{"x":1,"y":[{"b":2,"a":2}]}}"#), one);
        assert_ne!(same(r#"{"a":{"x":1,"y":[{"b":2},{"a":1}]}}"#), one);
        assert_eq!(same("[]"), None);
        assert_eq!(same("not json"), None);
    }

    #[test]
    fn parts_can_not_be_read_as_one() {
        let hash = |parts: &[&str]| {
            let mut hash = Sha256::new();
            for one in parts {
                part(&mut hash, one.as_bytes());
            }
            hash.finalize()
        };
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a", ""]), hash(&["a"]));
    }
}
