//! What in a document is secret. Rather too much than too little: what is hidden without need
//! comes back as it was, and what is shown does not.

use std::borrow::Cow;
use std::ops::Range;

use super::PLACEHOLDER;
use crate::config::hujson::{Node, Value};

/// Names of fields that hold a secret, in lower case and with `_` for `-`.
const SECRET: [&str; 15] = [
    "apikey",
    "api_key",
    "access_key",
    "access_key_id",
    "access_secret",
    "auth_key",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "secret",
    "secret_key",
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
const CREDENTIAL: [&str; 9] = [
    "auth",
    "cookie",
    "credential",
    "key",
    "passw",
    "secret",
    "session",
    "signature",
    "token",
];

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
        // Somebody forgot the quotes.
        Value::Number(number) if within.is_secret() => whole(&number.to_string()),
        Value::String(text) if within.is_secret() || is_known(text) => whole(text),
        Value::String(text) if within.key.ends_with("headers") && text.contains(':') => {
            header(text)
        }
        Value::String(text) if text.contains("://") => url(text),
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

/// Where references such as `${NAME}` stand; `$${` is none.
pub(super) fn references(text: &str) -> Vec<Range<usize>> {
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

fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    CREDENTIAL.iter().any(|part| name.contains(part))
}

fn is_known(text: &str) -> bool {
    text.len() >= KNOWN_LENGTH && KNOWN.iter().any(|start| text.starts_with(start))
}

/// Letters and digits without a space, and many of them.
fn is_random(text: &str) -> bool {
    text.len() >= 24
        && !text.contains([' ', '/', '.'])
        && text.contains(|char: char| char.is_ascii_digit())
        && text.contains(|char: char| char.is_ascii_alphabetic())
}

/// `Name: value`.
fn header(text: &str) -> Vec<Part> {
    let Some((name, value)) = text.split_once(':') else {
        return Vec::new();
    };
    let value = value.trim_start();
    if !is_credential(name) && !is_known(value) && !is_random(value) {
        return Vec::new();
    }
    vec![Part {
        name: name.trim().to_ascii_lowercase(),
        range: text.len() - value.len()..text.len(),
    }]
}

/// The password of a URL, and the values of parameters that carry a credential.
fn url(text: &str) -> Vec<Part> {
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
    if let Some(at) = at.map(|at| start + at) {
        match text[start..at].find(':') {
            Some(colon) => add("password", start + colon + 1..at),
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
    }
    let Some(mut from) = query else {
        return parts;
    };
    for pair in text[from..].split(['&', '#']) {
        if let Some((name, value)) = pair.split_once('=')
            && is_credential(name)
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
        ] {
            assert_eq!(shown_as("url", "", text), as_shown);
        }
    }
}
