//! Which headers cross the gateway, and in which direction.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

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
    for name in named_hops(headers) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The headers that the `Connection` header names.
fn named_hops(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect()
}

/// The request headers that go on to a provider; credentials only where `passthrough`.
#[must_use]
pub fn forwarded(headers: &HeaderMap, passthrough: bool) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if travels(name.as_str(), passthrough) {
            out.append(name, value.clone());
        }
    }
    // A type that was judged by is one for the provider too.
    for name in named_hops(headers) {
        if name != header::CONTENT_TYPE {
            out.remove(name);
        }
    }
    out
}

fn travels(name: &str, passthrough: bool) -> bool {
    let mut name = Cow::Borrowed(name);
    if name.contains('_') {
        name = name.replace('_', "-").into();
    }
    let name = &*name;
    !NOT_FORWARDED.contains(&name)
        && !HOP_BY_HOP.iter().any(|hop| hop == name)
        && !CLAIMED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
        && (passthrough || !CREDENTIALS.contains(&name))
}

/// The subprotocol that is taken of those that the request for a WebSocket offers, the first: what
/// it means is between the caller and the provider. Some browsers' clients hide a key among them,
/// which is no protocol.
#[must_use]
pub fn subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .find(|name| !name.is_empty() && !name.contains("api-key"))
        .and_then(|name| name.parse().ok())
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

/// Prepares a provider's response headers for the caller: what belongs to the upstream
/// connection, what sets state in a browser and what could reveal a credential is removed.
pub fn returned(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in &NOT_RETURNED {
        headers.remove(name);
    }
    let credentials: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            CREDENTIALS.contains(&name.as_str())
                || name.as_str().starts_with("access-control-")
                || name.as_str().starts_with("tailscale-")
        })
        .cloned()
        .collect();
    for name in credentials {
        headers.remove(name);
    }
}

/// Stands for a value that nobody may see.
const REDACTED: &str = "[redacted]";
/// Words in the names of headers that hold secrets, besides [`CREDENTIALS`].
const SECRET_WORDS: [&str; 6] = ["auth", "cookie", "key", "password", "secret", "token"];

/// Names without such a word that nearly every message has: they need no search.
const HARMLESS: [&str; 8] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "date",
    "host",
    "user-agent",
];

/// Whether a value could be a credential.
fn is_secret(name: &HeaderName, value: &HeaderValue) -> bool {
    let name = name.as_str();
    value.is_sensitive()
        || (!HARMLESS.contains(&name)
            && (CREDENTIALS.contains(&name) || SECRET_WORDS.iter().any(|word| name.contains(word))))
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
pub fn redacted(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let shown = if is_secret(name, value) {
                REDACTED.to_owned()
            } else {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            };
            (name.to_string(), shown)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        map
    }

    #[test]
    fn identity_and_credentials_stay_here() {
        let given = map(&[
            ("tailscale-user-login", "root"),
            ("tailscale_user_login", "root"),
            ("x-forwarded-for", "100.64.0.9"),
            ("x-webauth-user", "root"),
            ("authorization", "Bearer mine"),
            ("x-api-key", "mine"),
            ("cookie", "a=b"),
            ("connection", "x-secret-hop, close"),
            ("x-secret-hop", "1"),
            ("openai-organization", "acme"),
            ("x-session-id", "s1"),
            ("user-agent", "curl/8"),
        ]);
        let out = forwarded(&given, false);
        let names: Vec<&str> = out.keys().map(HeaderName::as_str).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        for name in ["openai-organization", "x-session-id", "user-agent"] {
            assert!(out.contains_key(name), "{name} should travel on");
        }
    }

    #[test]
    fn the_first_subprotocol_that_is_no_key_is_taken() {
        let offered = |value: &str| subprotocol(&map(&[("sec-websocket-protocol", value)]));
        assert_eq!(offered("a.v1, b").unwrap(), "a.v1");
        assert_eq!(
            offered("openai-insecure-api-key.k,realtime").unwrap(),
            "realtime"
        );
        assert_eq!(offered("openai-insecure-api-key.k"), None);
        assert_eq!(subprotocol(&HeaderMap::new()), None);
    }

    #[test]
    fn passthrough_keeps_the_callers_credential_only() {
        let given = map(&[("authorization", "Bearer mine"), ("cookie", "a=b")]);
        let out = forwarded(&given, true);
        assert_eq!(out.get("authorization").unwrap(), "Bearer mine");
        assert!(!out.contains_key("cookie"));
    }

    #[test]
    fn what_is_kept_shows_no_credential() {
        let shown = redacted(&map(&[
            ("authorization", "Bearer s3cret"),
            ("x-goog-api-key", "s3cret"),
            ("x-amz-security-token", "s3cret"),
            ("x-my-password", "s3cret"),
            ("user-agent", "curl"),
        ]));
        assert!(!format!("{shown:?}").contains("s3cret"), "{shown:?}");
        assert_eq!(shown[4].1, "curl");
    }

    #[test]
    fn responses_set_no_state_and_reveal_no_key() {
        let mut given = map(&[
            ("set-cookie", "a=b"),
            ("location", "http://elsewhere/?key=k"),
            ("authorization", "Bearer k"),
            ("transfer-encoding", "chunked"),
            ("access-control-allow-origin", "*"),
            ("tailscale-user-login", "root"),
            ("content-type", "application/json"),
            ("x-request-id", "r"),
        ]);
        returned(&mut given);
        let names: Vec<&str> = given.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "x-request-id"]);
    }
}
