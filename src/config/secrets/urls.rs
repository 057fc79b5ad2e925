//! The parts of a URL that are secret.

use std::ops::Range;

use super::likely::{is_known, is_opaque};
use crate::config::declare::Holds;
use crate::config::within::is_credential;

/// A part of a value that is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Which part it is, when a value is compared with another.
    pub name: String,
    /// Where in the value's text.
    pub range: Range<usize>,
}

/// The password of a URL, parts of its path that are a key, and the values of parameters that carry
/// a credential.
pub(super) fn url(text: &str, holds: Holds) -> Vec<Part> {
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
        parts.extend(segments(text, host + path..end, holds));
    }
    let Some(mut from) = query else {
        return parts;
    };
    let is_webhook = is_http && holds == Holds::Webhook;
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
fn segments(text: &str, path: Range<usize>, holds: Holds) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut from = path.start;
    for (nth, segment) in text[path].split('/').enumerate() {
        let range = from..from + segment.len();
        from = range.end + 1;
        if is_known(segment) || (holds == Holds::Webhook && is_opaque(segment, 8)) {
            let name = format!("path {nth}");
            parts.push(Part { name, range });
        }
    }
    parts
}

/// What can be a secret in a text that should be a URL: all in front of an `@`, values that are
/// called a password, and parts that are a key in a path.
pub(super) fn unreadable_url(text: &str, holds: Holds) -> Vec<Part> {
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
        parts = segments(text, 0..text.len(), holds);
    }
    parts
}
