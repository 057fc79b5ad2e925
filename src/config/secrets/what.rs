//! What in a document is secret. Rather too much than too little: what is hidden without need
//! comes back as it was, and what is shown does not.

use std::borrow::Cow;

use super::PLACEHOLDER;
use super::likely::{has_opaque_word, is_known};
use super::urls::{Part, unreadable_url, url};
use crate::config::declare::Holds;
use crate::config::expand::{references, replaced};
use crate::config::hujson::{Node, Value};
use crate::config::within::{Within, is_credential};

/// The text of a value that is neither an object nor a list.
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
        Value::String(text) if within.holds == Holds::Headers && text.contains(':') => header(text),
        Value::String(text) if within.is_header && has_opaque_word(text) => whole(text),
        Value::String(text) if text.contains("://") => url(text, within.holds),
        Value::String(text) if within.holds.is_url() => unreadable_url(text, within.holds),
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
    let rest = replaced(text, references(text).into_iter().map(|range| (range, "")));
    rest.split(|char: char| !char.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .all(|word| ["bearer", "basic", "splunk", "token"].contains(&&*word.to_ascii_lowercase()))
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

/// A value's text with the placeholder for each of its secret parts.
pub(super) fn shown(text: &str, parts: &[Part]) -> String {
    replaced(
        text,
        parts.iter().map(|part| (part.range.clone(), PLACEHOLDER)),
    )
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
        let within = Within::default().member(parent).member(key);
        shown(text, &parts(&node, within))
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
