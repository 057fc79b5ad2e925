//! Which headers cross the gateway, and in which direction.

mod kind;

use std::borrow::Cow;

use http::header::{self, GetAll, HeaderMap, HeaderName, HeaderValue};

use super::HeaderList;
use kind::Kind;

/// Headers that belong to one connection (RFC 9110, section 7.6.1), with those that the
/// old proxies left behind.
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Request headers in which clients carry a credential. They are meant for the gateway,
/// which needs none, so they never travel on unless a provider is set to pass them through.
pub const CREDENTIALS: [&str; 6] = [
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "cf-aig-authorization",
    "x-amz-security-token",
];

/// Request headers that the gateway answers for itself, or that name an identity that
/// only the tailnet may name.
const NOT_FORWARDED: [&str; 14] = [
    "host",
    "content-length",
    "accept-encoding",
    "expect",
    "cookie",
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "origin",
    "referer",
];

/// Prefixes of headers that claim an identity or a path: dropped whole. The names are
/// compared with `_` read as `-`, because some servers do the same. A server behind the gateway
/// may trust what proxies with sign-in tell of a user, and take it from the gateway.
const CLAIMED_PREFIXES: [&str; 17] = [
    "tailscale-",
    "x-tailscale-",
    "x-forwarded-",
    "x-original-",
    "x-webauth-",
    "remote-",
    "x-remote-",
    "x-auth-request-",
    "x-authenticated-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-amzn-oidc-",
    "x-ssl-client-",
    "cf-access-",
    "proxy-",
    "sec-",
];

/// Removes what belongs to the connection that the message came over, including the
/// headers that its `Connection` header names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let hops = headers.get_all(header::CONNECTION);
    let is_hop = |name: &&HeaderName| Kind::of(name).is_hop || is_named(&hops, name);
    let names: Vec<HeaderName> = headers.keys().filter(is_hop).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Whether the `Connection` headers `hops` name a header.
fn is_named(hops: &GetAll<'_, HeaderValue>, name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let is_it = |one: &[u8]| one.trim_ascii().eq_ignore_ascii_case(name);
    hops.iter().any(|value| {
        let value = value.as_bytes();
        value.len() >= name.len() && value.split(|byte| *byte == b',').any(is_it)
    })
}

/// Headers of a caller that a provider may get.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// Those of the request.
    pub headers: HeaderMap,
    /// The gateways that it has passed, for `Via`.
    pub via: Option<HeaderValue>,
}

/// The headers of a format that go along with a caller's own credential, and never without one.
#[derive(Debug)]
pub struct OwnHeaders {
    /// Those in which it is carried.
    pub credentials: &'static [&'static str],
    /// Those that choose an account or depend on it.
    pub account: &'static [&'static str],
}

impl OwnHeaders {
    /// Whether a caller has sent a credential, and not something in its place.
    #[must_use]
    pub fn has_credential(&self, headers: &HeaderMap) -> bool {
        let mut names = self.credentials.iter();
        names.any(|name| headers.get_all(*name).iter().any(is_credential))
    }

    fn passes(&self, name: &str, value: &HeaderValue) -> bool {
        self.account.contains(&name) || (self.credentials.contains(&name) && is_credential(value))
    }
}

/// Whether the value of a header that carries credentials is one: clients that insist on a key are
/// given `-`, `not-needed` or `not-required`.
fn is_credential(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else {
        return true;
    };
    let text = text.trim();
    let key = match text.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
        _ if text.eq_ignore_ascii_case("bearer") => "",
        _ => text,
    };
    !matches!(key, "" | "-" | "not-needed" | "not-required")
}

/// Lists of headers of a format.
pub type Lists = &'static [&'static [&'static str]];

/// Whether a list names a header; what ends in `*` is a prefix.
fn is_listed(name: &str, lists: Lists) -> bool {
    /// What reveals the account behind a key, whatever it begins with.
    const OF_THE_ACCOUNT: [&str; 6] = [
        "account",
        "balance",
        "credits",
        "organization",
        "project",
        "tenant",
    ];
    let mut all = lists.iter().flat_map(|list| list.iter());
    let name_bytes = name.as_bytes();
    all.any(|known| {
        let known = known.as_bytes();
        // Nearly all differ in their first letter or in their length.
        known.first() == name_bytes.first()
            && match known {
                [prefix @ .., b'*'] => {
                    name_bytes.starts_with(prefix)
                        && !OF_THE_ACCOUNT.iter().any(|word| name.contains(word))
                }
                exact => name_bytes == exact,
            }
    })
}

/// The request headers that go on to a provider: those that `known` lists, those of `more`, and the
/// caller's `own` if the provider gets their credential.
#[must_use]
pub fn forwarded(
    headers: &HeaderMap,
    known: Lists,
    more: &[HeaderName],
    own: Option<&OwnHeaders>,
) -> Passed {
    // Room for what is added too.
    let mut out = HeaderMap::with_capacity(headers.len() + 2);
    let hops = headers.get_all(header::CONNECTION);
    for (name, value) in headers {
        let kind = Kind::of(name);
        // A type that was judged by is one for the provider too.
        let is_hop = name != header::CONTENT_TYPE && is_named(&hops, name);
        if is_hop || !kind.travels {
            continue;
        }
        let is_own = || own.is_some_and(|own| own.passes(name.as_str(), value));
        let is_listed = || kind::is_listed(name, known) || more.contains(name);
        if !(!kind.hides && is_listed() || is_own()) {
            continue;
        }
        let value = if name == header::ACCEPT && !more.contains(name) {
            countable(value)
        } else {
            Some(Cow::Borrowed(value))
        };
        if let Some(value) = value {
            out.append(name, value.into_owned());
        }
    }
    Passed {
        headers: out,
        via: super::hops::onward(headers),
    }
}

/// What a caller accepts, if those are types whose usage can be read, or that have none: Google's
/// servers answer in Protocol Buffers where they are asked to. Of parameters, which can choose the
/// form of a response, only weights stay.
fn countable(accepted: &HeaderValue) -> Option<Cow<'_, HeaderValue>> {
    const TYPES: [&str; 11] = [
        "*/*",
        "application/*",
        "application/json",
        "application/octet-stream",
        "application/vnd.amazon.eventstream",
        "application/x-ndjson",
        "application/zip",
        "text/*",
        "text/event-stream",
        "text/plain",
        "text/vtt",
    ];
    let text = accepted.to_str().unwrap_or_default();
    let mut kept = Vec::new();
    for one in text.split(',') {
        let mut parts = one.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        if !(TYPES.contains(&&*kind) || kind.starts_with("audio/") || kind.starts_with("image/")) {
            return None;
        }
        let weight = parts.find(|part| part.starts_with("q=") || part.starts_with("Q="));
        let weight = weight
            .map(|weight| format!(";{weight}"))
            .unwrap_or_default();
        kept.push(format!("{kind}{weight}"));
    }
    if text.contains(';') {
        return kept.join(", ").parse().ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(accepted))
}

/// Has a proxy in front pass a response on as it comes, if it is a stream by its type: nginx keeps
/// responses back until they end or its buffers are full.
pub fn unbuffer(headers: &mut HeaderMap) {
    const TYPES: [&str; 7] = [
        "text/event-stream",
        "application/vnd.amazon.eventstream",
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/jsonlines",
        "application/json-seq",
    ];
    let kind = headers.get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind == "application/json") {
        return;
    }
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if TYPES.iter().any(|one| kind.eq_ignore_ascii_case(one)) {
        unbuffered(headers);
    }
}

/// The same for a response that is known to be a stream.
pub fn unbuffered(headers: &mut HeaderMap) {
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
}

/// Whether a provider's `pass_headers` may name a header: none that Iris sets or answers for
/// itself, that belongs to a connection, or that carries a credential or an identity.
#[must_use]
pub fn is_passable(name: &str) -> bool {
    const CREDENTIAL_WORDS: [&str; 9] = [
        "authorization",
        "api-key",
        "apikey",
        "auth-token",
        "access-token",
        "api-token",
        "private-token",
        "password",
        "secret",
    ];
    let name = name.to_ascii_lowercase().replace('_', "-");
    travels(&name)
        && !hides(&name)
        && !name.starts_with("x-iris-")
        && !name.starts_with("access-control-")
        && !matches!(
            &*name,
            "clear-site-data" | "set-cookie2" | "x-goog-fieldmask"
        )
        && !NOT_RETURNED.iter().any(|header| *header == *name)
        && !CREDENTIAL_WORDS.iter().any(|word| name.contains(word))
}

/// A name with `_` read as `-`.
fn dashed(name: &str) -> Cow<'_, str> {
    if name.contains('_') {
        name.replace('_', "-").into()
    } else {
        name.into()
    }
}

/// Whether some server takes a header for one with a credential.
fn hides(name: &str) -> bool {
    CREDENTIALS.contains(&&*dashed(name))
}

/// Whether a caller's header may be passed on, unless it is a credential.
fn travels(name: &str) -> bool {
    let name = &*dashed(name);
    !NOT_FORWARDED.contains(&name)
        && !HOP_BY_HOP.iter().any(|hop| hop == name)
        && !CLAIMED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// The subprotocol that is taken of those that the request for a WebSocket offers, the first: what
/// it means is between the caller and the provider. Some clients in browsers hide a key or an
/// account among them instead of a protocol.
#[must_use]
pub fn subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .find(|name| !name.is_empty() && !hides_credential(name))
        .and_then(|name| name.parse().ok())
}

/// Whether a subprotocol is a key or an account in truth.
fn hides_credential(protocol: &str) -> bool {
    const WORDS: [&str; 6] = [
        "api-key",
        "auth",
        "bearer",
        "organization",
        "project",
        "token",
    ];
    let protocol = protocol.to_ascii_lowercase();
    WORDS.iter().any(|word| protocol.contains(word))
}

/// Response headers that are for the gateway alone: they set state in a browser, or lead
/// elsewhere.
static NOT_RETURNED: [HeaderName; 6] = [
    header::SET_COOKIE,
    header::WWW_AUTHENTICATE,
    header::ALT_SVC,
    header::STRICT_TRANSPORT_SECURITY,
    header::LOCATION,
    header::REFRESH,
];

/// Prepares a provider's response headers for the caller: those that `known` lists and those of
/// `more` stay. Among the others are some that set state in a browser for the gateway's own name,
/// that reveal an account, or that look like the gateway's.
pub fn returned(headers: &mut HeaderMap, known: Lists, more: &[HeaderName]) {
    let hops = headers.get_all(header::CONNECTION);
    let dropped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            Kind::of(name).is_hop
                || is_named(&hops, name)
                || !(kind::is_listed(name, known)
                    || (more.contains(name) && is_passable(name.as_str())))
        })
        .cloned()
        .collect();
    for name in dropped {
        headers.remove(name);
    }
    if is_page(headers.get(header::CONTENT_TYPE)) {
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("sandbox; default-src 'none'"),
        );
    }
}

/// Whether a browser could show a response as a page, which would act under the gateway's name.
fn is_page(kind: Option<&HeaderValue>) -> bool {
    const OTHERS: [&str; 7] = [
        "application/json",
        "application/octet-stream",
        "application/vnd.amazon.eventstream",
        "application/x-ndjson",
        "audio/",
        "image/",
        "text/event-stream",
    ];
    let kind = kind.map(HeaderValue::as_bytes).unwrap_or_default();
    if kind == b"application/json" || kind == b"text/event-stream" {
        return false;
    }
    let kind = String::from_utf8_lossy(kind).to_ascii_lowercase();
    let is_other = OTHERS.iter().any(|other| kind.starts_with(other));
    // A second type behind a comma is the one that some browsers take.
    !is_other
        || ["html", "svg", "xml"]
            .iter()
            .any(|word| kind.contains(word))
}

/// Stands for a value that must not be seen.
const REDACTED: &str = "[redacted]";
/// Words in the names of headers that hold secrets, besides [`CREDENTIALS`].
const SECRET_WORDS: [&str; 7] = [
    "account-id",
    "auth",
    "cookie",
    "key",
    "password",
    "secret",
    "token",
];

/// Whether a value could be a credential.
fn is_secret(name: &HeaderName, value: &HeaderValue) -> bool {
    let is_hidden = || {
        let protocols = value.to_str().unwrap_or_default();
        name == header::SEC_WEBSOCKET_PROTOCOL && hides_credential(protocols)
    };
    value.is_sensitive() || Kind::of(name).is_secret || is_hidden()
}

/// The values that could be a credential.
pub(super) fn secrets(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let secret = headers
        .iter()
        .filter(|(name, value)| is_secret(name, value));
    secret.map(|(_, value)| value.as_bytes())
}

/// Headers as text that may be kept and shown: values that could be a credential are left out.
#[must_use]
pub fn redacted(headers: &HeaderMap) -> HeaderList {
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 2);
    let mut list = HeaderList::with_capacity(sizes.sum());
    for (name, value) in headers {
        if is_secret(name, value) {
            list.push(name.as_str(), REDACTED);
        } else if let Ok(value) = str::from_utf8(value.as_bytes()) {
            list.push(name.as_str(), value);
        } else {
            list.push(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
        }
    }
    list
}

#[cfg(test)]
mod tests;
