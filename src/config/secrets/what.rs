//! What in a document is secret. Rather too much than too little: what is hidden without need
//! comes back as it was, and what is shown does not.

use std::borrow::Cow;
use std::ops::Range;

use super::PLACEHOLDER;
use crate::config::hujson::{Node, Value};

/// Names of fields that hold a secret, in lower case and with `_` for `-`.
const SECRET: [&str; 9] = [
    "apikey",
    "access_key_id",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "token",
];

/// Ends of such names.
const SECRET_END: [&str; 6] = [
    "_apikey",
    "_key",
    "_password",
    "_secret",
    "_token",
    "_credentials",
];

/// Parts of a header's or a query parameter's name that tell of a credential in its value.
const CREDENTIAL: [&str; 12] = [
    "auth",
    "cookie",
    "credential",
    "dsn",
    "honeycomb-team",
    "jwt",
    "key",
    "passw",
    "secret",
    "session",
    "signature",
    "token",
];

/// Keys whose value is a URL.
const URLS: [&str; 5] = ["url", "baseurl", "endpoint", "control_url", "proxy"];
/// Those whose path can be a key, as for webhooks.
const WEBHOOKS: [&str; 2] = ["url", "endpoint"];

/// How credentials of well-known kinds begin, wherever they stand.
const KNOWN: [&str; 19] = [
    "-----BEGIN ",
    "AIza",
    "AKIA",
    "ASIA",
    "eyJ",
    "gho_",
    "ghp_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "gsk_",
    "hf_",
    "keyfile::",
    "pplx-",
    "sk-",
    "tskey-",
    "xai-",
    "xoxb-",
    "xoxp-",
];

/// Shorter strings are none of these.
const KNOWN_LENGTH: usize = 16;

/// The keys around a value that decide whether it is secret.
#[derive(Clone, Copy, Default)]
pub(super) struct Within<'a> {
    /// The nearest key; that of the list for the items of a list.
    pub key: &'a str,
    /// The key of the object that has it.
    parent: &'a str,
}

impl<'a> Within<'a> {
    pub(super) fn member(self, key: &'a str) -> Self {
        Self {
            key,
            parent: self.key,
        }
    }

    /// Whether the field itself is for a secret.
    pub(super) fn is_secret(self) -> bool {
        let key = self.key.to_ascii_lowercase().replace('-', "_");
        // Names that people choose, of groups and models, are no fields.
        let is_field = !key.contains([':', '/', ' ', '.']);
        let named = SECRET.contains(&&*key) || SECRET_END.iter().any(|end| key.ends_with(end));
        (is_field && named)
            // A map of headers, whose keys are their names; and variables of an environment.
            || (self.parent == "headers" && is_credential(self.key))
            || self.parent == "env"
    }

    /// Whether it is a header, in a list or in a map.
    pub(super) fn is_header(self) -> bool {
        self.key.ends_with("headers") || self.parent == "headers"
    }
}

/// A part of a value that is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Which part it is, when a value is compared with another.
    pub name: String,
    /// Where in the value's text.
    pub range: Range<usize>,
}

/// The text of a value that is no object and no list.
pub(super) fn text(node: &Node) -> Option<Cow<'_, str>> {
    match &node.value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// The parts of a value that are secret, in their order.
pub(super) fn parts(node: &Node, within: Within<'_>) -> Vec<Part> {
    let whole = |text: &str| {
        vec![Part {
            name: String::new(),
            range: 0..text.len(),
        }]
    };
    let mut parts = match &node.value {
        // The quotes were forgotten.
        Value::Number(number) if within.is_secret() => whole(&number.to_string()),
        Value::String(text) if within.is_secret() || is_known(text) => whole(text),
        Value::String(text) if within.key.ends_with("headers") && text.contains(':') => {
            header(text)
        }
        Value::String(text) if within.parent == "headers" && has_opaque_word(text) => whole(text),
        Value::String(text) if text.contains("://") => url(text, within.key),
        Value::String(text) if URLS.contains(&within.key) => unreadable_url(text, within.key),
        _ => Vec::new(),
    };
    if let Value::String(text) = &node.value {
        parts.retain(|part| !says_nothing(&text[part.range.clone()]));
    }
    parts
}

/// Whether nothing is left of a value without its references, or no more than the words around a
/// credential.
fn says_nothing(text: &str) -> bool {
    let mut rest = String::new();
    let mut from = 0;
    for range in references(text) {
        rest.push_str(&text[from..range.start]);
        from = range.end;
    }
    rest.push_str(&text[from..]);
    rest.split(|char: char| !char.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .all(|word| ["bearer", "basic", "splunk", "token"].contains(&&*word.to_ascii_lowercase()))
}

/// Where references such as `${NAME}` stand; `$${` does not begin one.
pub(in crate::config) fn references(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("${").map(|start| at + start) {
        if text[at..start].ends_with('$') {
            at = start + 2;
            continue;
        }
        let Some(end) = text[start..].find('}').map(|end| start + end + 1) else {
            break;
        };
        found.push(start..end);
        at = end;
    }
    found
}

/// Whether the name of a header says that it holds a credential.
pub(in crate::config) fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    CREDENTIAL.iter().any(|part| name.contains(part))
}

fn is_known(text: &str) -> bool {
    text.len() >= KNOWN_LENGTH
        && KNOWN.iter().any(|start| text.starts_with(start))
        && !text.starts_with("-----BEGIN CERTIFICATE-----")
}

/// Whether a text of some length has parts that are no words and no numbers.
fn is_opaque(text: &str, shortest: usize) -> bool {
    let is_plain = |part: &str| {
        let letters = part.chars().all(char::is_alphabetic);
        let digits = part.chars().all(|char| char.is_ascii_digit());
        (letters && part.len() < 16) || (digits && part.len() <= 8)
    };
    text.len() >= shortest
        && !text
            .split(|char: char| !char.is_alphanumeric())
            .all(is_plain)
}

fn has_opaque_word(text: &str) -> bool {
    text.split_whitespace().any(|word| is_opaque(word, 12))
}

/// `Name: value`.
fn header(text: &str) -> Vec<Part> {
    let Some((name, value)) = text.split_once(':') else {
        return Vec::new();
    };
    let value = value.trim_start();
    if !is_credential(name) && !is_known(value) && !has_opaque_word(value) {
        return Vec::new();
    }
    vec![Part {
        name: name.trim().to_ascii_lowercase(),
        range: text.len() - value.len()..text.len(),
    }]
}

/// The password of a URL, parts of its path that are a key, and the values of parameters that carry
/// a credential.
fn url(text: &str, key: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |name: &str, range: Range<usize>| {
        if !range.is_empty() {
            let name = name.to_owned();
            parts.push(Part { name, range });
        }
    };
    let start = text.find("://").map_or(0, |at| at + 3);
    let query = text[start..].find('?').map(|at| start + at + 1);
    // A password may hold a slash that nobody has escaped.
    let before_query = query.map_or(text.len(), |at| at - 1);
    let at = text[start..before_query].rfind('@');
    let mut query = query;
    let mut host = start;
    if let Some(at) = at.map(|at| start + at) {
        host = at;
        match text[start..at].find(':') {
            Some(colon) => {
                let (user, password) = (start..start + colon, start + colon + 1..at);
                // Some servers take a key as the name of a user.
                let user_is_key = password.is_empty() || is_opaque(&text[user.clone()], 12);
                if user_is_key && text.starts_with("http") {
                    add("user", user);
                }
                add("password", password);
            }
            // A token that stands alone in front of a host.
            None if text.starts_with("http") => add("user", start..at),
            None => {}
        }
    } else if let Some(at) = text[start..].rfind('@').map(|at| start + at)
        && let Some(colon) = text[start..at].find(':')
    {
        // A password may hold a question mark as well.
        add("password", start + colon + 1..at);
        query = text[at..].find('?').map(|question| at + question + 1);
        host = at;
    }
    let is_http = text.starts_with("http");
    let end = query.map_or(text.len(), |at| at - 1);
    if let Some(path) = text
        .get(host..end)
        .filter(|_| is_http)
        .and_then(|rest| rest.find('/'))
    {
        parts.extend(segments(text, host + path..end, key));
    }
    let Some(mut from) = query else {
        return parts;
    };
    let is_webhook = is_http && WEBHOOKS.contains(&key);
    for pair in text[from..].split(['&', '#']) {
        if let Some((name, value)) = pair.split_once('=')
            && (is_credential(name) || (is_webhook && is_opaque(value, 12)))
            && !value.is_empty()
        {
            let end = from + pair.len();
            let name = name.to_owned();
            parts.push(Part {
                name,
                range: end - value.len()..end,
            });
        }
        from += pair.len() + 1;
    }
    parts
}

/// Parts of a path that are a key.
fn segments(text: &str, path: Range<usize>, key: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut from = path.start;
    for (nth, segment) in text[path].split('/').enumerate() {
        let range = from..from + segment.len();
        from = range.end + 1;
        if is_known(segment) || (WEBHOOKS.contains(&key) && is_opaque(segment, 8)) {
            let name = format!("path {nth}");
            parts.push(Part { name, range });
        }
    }
    parts
}

/// What can be a secret in a text that should be a URL: all in front of an `@`, values that are
/// called a password, and parts that are a key in a path.
fn unreadable_url(text: &str, key: &str) -> Vec<Part> {
    if text.starts_with("sqlite:") {
        return Vec::new();
    }
    if let Some(at) = text.rfind('@') {
        let name = "user".to_owned();
        return vec![Part { name, range: 0..at }];
    }
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(equals) = text[from..].find('=').map(|at| from + at) {
        let name = text[from..equals]
            .trim()
            .rsplit(' ')
            .next()
            .unwrap_or_default();
        let rest = text[equals + 1..].trim_start();
        let start = text.len() - rest.len();
        let length = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.rfind('\'').map_or(rest.len(), |end| end + 2),
            None => rest.find(' ').unwrap_or(rest.len()),
        };
        let range = start..start + length;
        from = range.end;
        if is_credential(name) && !range.is_empty() {
            let name = name.to_owned();
            parts.push(Part { name, range });
        }
    }
    if parts.is_empty() {
        parts = segments(text, 0..text.len(), key);
    }
    parts
}

/// A value's text with the placeholder for each of its secret parts.
pub(super) fn shown(text: &str, parts: &[Part]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for part in parts {
        out.push_str(&text[from..part.range.start]);
        out.push_str(PLACEHOLDER);
        from = part.range.end;
    }
    out.push_str(&text[from..]);
    out
}

/// The same for two nodes that are shown alike.
pub(super) fn canonical(node: &Node, within: Within<'_>, out: &mut String) {
    match &node.value {
        Value::Object(members) => {
            out.push('{');
            for member in members {
                out.push_str(&quoted(&member.key));
                canonical(&member.node, within.member(&member.key), out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, within, out);
                out.push(',');
            }
            out.push(']');
        }
        other => match text(node) {
            Some(text) => out.push_str(&quoted(&shown(&text, &parts(node, within)))),
            None => out.push_str(&other.to_json().to_string()),
        },
    }
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::hujson;

    fn shown_as(key: &str, parent: &str, text: &str) -> String {
        let node = hujson::parse(&quoted(text)).unwrap();
        shown(text, &parts(&node, Within { key, parent }))
    }

    #[test]
    fn fields_that_hold_a_secret() {
        for key in [
            "apikey",
            "ApiKey",
            "client-secret",
            "my_token",
            "access_key_id",
        ] {
            assert_eq!(shown_as(key, "", "abc"), PLACEHOLDER, "{key}");
        }
        for key in [
            "authorization",
            "group:my_secret",
            "model",
            "keep",
            "tokens",
        ] {
            assert_eq!(shown_as(key, "", "abc"), "abc", "{key}");
        }
        assert_eq!(shown_as("GH_PAT", "env", "abc"), PLACEHOLDER);
        assert_eq!(shown_as("x-team", "headers", "abc"), "abc");
        assert_eq!(shown_as("authorization", "headers", "abc"), PLACEHOLDER);
        // Whatever the key is called.
        assert_eq!(shown_as("apikye", "", "sk-0123456789abcdef"), PLACEHOLDER);
    }

    #[test]
    fn references_are_shown_and_what_stands_beside_them_is_not() {
        for text in [
            "${KEY}",
            "Bearer ${KEY}",
            "${ID}:${SECRET}",
            "${file:/run/key}",
        ] {
            assert_eq!(shown_as("apikey", "", text), text);
        }
        for text in ["abc${KEY}", "$${KEY}", "${KEY", "${A}b"] {
            assert_eq!(shown_as("apikey", "", text), PLACEHOLDER, "{text}");
        }
    }

    #[test]
    fn headers_by_their_name_and_by_what_they_hold() {
        for (text, as_shown) in [
            ("X-Team: red", "X-Team: red"),
            ("Authorization: Bearer abc", "Authorization: [redacted]"),
            ("X-Api-Key:abc", "X-Api-Key:[redacted]"),
            ("X-Other: sk-0123456789abcdef", "X-Other: [redacted]"),
            ("X-Other: 0123456789abcdef01234567", "X-Other: [redacted]"),
            (
                "Authorization: Bearer ${KEY}",
                "Authorization: Bearer ${KEY}",
            ),
            (
                "User-Agent: a long name of an agent 1.0",
                "User-Agent: a long name of an agent 1.0",
            ),
        ] {
            assert_eq!(shown_as("add_headers", "", text), as_shown);
        }
    }

    #[test]
    fn urls_keep_all_but_their_credentials() {
        for (text, as_shown) in [
            ("http://ai:80/v1", "http://ai:80/v1"),
            ("postgres://iris@db/x", "postgres://iris@db/x"),
            (
                "postgres://iris:p@db/x?sslmode=require",
                "postgres://iris:[redacted]@db/x?sslmode=require",
            ),
            (
                "postgres://iris:a/b@c@db/x",
                "postgres://iris:[redacted]@db/x",
            ),
            (
                "postgres://iris:a?b@db/x",
                "postgres://iris:[redacted]@db/x",
            ),
            (
                "postgres://db/x?user=iris&password=p",
                "postgres://db/x?user=iris&password=[redacted]",
            ),
            ("https://tok@host/x", "https://[redacted]@host/x"),
            (
                "https://host/x?key=abc&alt=sse#f",
                "https://host/x?key=[redacted]&alt=sse#f",
            ),
            ("postgres://iris:${PW}@db/x", "postgres://iris:${PW}@db/x"),
            ("https://sk_live_1:@host/x", "https://[redacted]:@host/x"),
            (
                "https://0a1b2c3d4e5f:x@h/",
                "https://[redacted]:[redacted]@h/",
            ),
        ] {
            assert_eq!(shown_as("url", "", text), as_shown);
        }
    }

    #[test]
    fn paths_of_webhooks_that_are_a_key() {
        for (text, as_shown) in [
            (
                "https://hooks.slack.com/services/T0ABCDEF/B0ABCDEF/abcdefghijklmnopqrstuvwx",
                "https://hooks.slack.com/services/[redacted]/[redacted]/[redacted]",
            ),
            (
                "https://discord.com/api/webhooks/123456789012345678/aB-3_xyzaB3xyz",
                "https://discord.com/api/webhooks/[redacted]/[redacted]",
            ),
            (
                "https://api.telegram.org/bot123456:AAF0abc/sendMessage?chat_id=5",
                "https://api.telegram.org/[redacted]/sendMessage?chat_id=5",
            ),
            (
                "https://prod.logic.azure.com/workflows/run?api-version=2024-06-01&sig=aB3-xyzaB3xyz",
                "https://prod.logic.azure.com/workflows/run?api-version=2024-06-01&sig=[redacted]",
            ),
            (
                "http://judge:8080/v1/chat-guardrail/check",
                "http://judge:8080/v1/chat-guardrail/check",
            ),
            ("https://h/${PATH}/x", "https://h/${PATH}/x"),
        ] {
            assert_eq!(shown_as("url", "h", text), as_shown);
        }
        let azure = "https://x.openai.azure.com/openai/deployments/gpt-4o-2024-11-20a";
        assert_eq!(shown_as("baseurl", "p", azure), azure);
        let key = "https://proxy.test/sk-0123456789abcdef/v1";
        assert_eq!(
            shown_as("baseurl", "p", key),
            "https://proxy.test/[redacted]/v1"
        );
    }

    #[test]
    fn what_is_no_url_keeps_its_password_to_itself() {
        for (text, as_shown) in [
            ("iris:CANARY@db/x", "[redacted]@db/x"),
            ("postgres:/iris:CAN@ARY@db/x", "[redacted]@db/x"),
            (
                "host=db user=iris password=CANARY dbname=x",
                "host=db user=iris password=[redacted] dbname=x",
            ),
            ("password='CAN ARY' host=db", "password=[redacted] host=db"),
            (
                "hooks.slack.com/services/T0CANARY1",
                "hooks.slack.com/services/[redacted]",
            ),
            ("sqlite:records@home.db", "sqlite:records@home.db"),
            ("iris.db", "iris.db"),
        ] {
            assert_eq!(shown_as("url", "database", text), as_shown);
        }
    }

    #[test]
    fn values_in_maps_of_headers_by_what_they_look_like() {
        for (name, text, is_shown) in [
            ("x-honeycomb-team", "abc", false),
            ("x-other", "hcaik_01jcanary0123456789", false),
            ("x-other", "abcdefghijklmnopqrstuvwx", false),
            ("x-other", "Bearer abcdef0123456789", false),
            ("uptrace-dsn", "https://tok@uptrace.test/1", false),
            ("x-dataset", "iris-prod-2024", true),
            ("anthropic-beta", "prompt-caching-2024-07-31", true),
            ("x-scope-orgid", "tenant", true),
        ] {
            let as_shown = if is_shown { text } else { PLACEHOLDER };
            assert_eq!(shown_as(name, "headers", text), as_shown, "{name}");
        }
    }
}
