//! Headers in the document: those that are added to requests, and names of those that may pass.

use super::credential;
use super::declare::{Kind, Reader, Setting, TEXTS};
use super::table::Item;
use super::within::is_credential;
use crate::wire::headers::is_passable;

/// A list of `"Name: value"`.
pub(super) struct Headers;

impl Reader<Vec<(String, String)>> for Headers {
    fn kind(&self) -> Kind {
        TEXTS
    }

    fn read(&self, item: &Item<'_>) -> Option<Vec<(String, String)>> {
        let read = item.items()?.filter_map(|entry| {
            let text = entry.string()?;
            let header = header(text);
            if let Some(problem) = header_problem(text, header.as_ref()) {
                let message = format!("provider {}: {problem}", entry.owner);
                entry.warn(message);
            }
            header
        });
        Some(read.collect())
    }

    fn json(&self, headers: &Vec<(String, String)>) -> Option<serde_json::Value> {
        headers.is_empty().then(|| serde_json::json!([]))
    }
}

/// What is wrong with an entry of `add_headers`, of which `header` was made.
pub(super) fn header_problem(text: &str, header: Option<&(String, String)>) -> Option<String> {
    let name = name_only(text);
    let Some(header) = header else {
        return Some(if is_unsendable(text) {
            format!(
                "the value of the add_headers entry \"{name}\" holds a line break or another \
                 character that no header can carry"
            )
        } else {
            format!("add_headers entry \"{name}\" must be in \"Header-Name: value\" format")
        });
    };
    let problem = unlikely_credential(header)?;
    Some(format!(
        "the value of the add_headers entry \"{name}\" {problem}"
    ))
}

/// Why a header that is for a credential can't hold one.
fn unlikely_credential((name, value): &(String, String)) -> Option<std::borrow::Cow<'static, str>> {
    let is_credential = is_credential(name);
    is_credential
        .then(|| credential::header_problem(value))
        .flatten()
}

/// Headers that may pass; others are found and don't.
pub(super) struct PassHeaders;

impl Reader<Vec<String>> for PassHeaders {
    fn kind(&self) -> Kind {
        TEXTS
    }

    fn read(&self, item: &Item<'_>) -> Option<Vec<String>> {
        let mut names = item.strings()?;
        names.retain(|name| {
            let may_pass =
                http::HeaderName::from_bytes(name.as_bytes()).is_ok() && is_passable(name);
            if !may_pass {
                let message = format!(
                    "provider {}: pass_headers entry {name:?} never passes; expected the name of a \
                     header that carries no credential or identity and that Iris doesn't set: remove it",
                    item.owner
                );
                item.warn_of_parent(message);
            }
            may_pass
        });
        Some(names)
    }

    fn json(&self, names: &Vec<String>) -> Option<serde_json::Value> {
        names.json()
    }
}

/// A header from its text, if it is one.
pub(super) fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    let (name, value) = (name.trim(), value.trim());
    let valid = http::HeaderName::from_bytes(name.as_bytes()).is_ok()
        && http::HeaderValue::from_str(value).is_ok();
    valid.then(|| (name.to_owned(), value.to_owned()))
}

/// Whether a text would be a header but for characters of its value.
fn is_unsendable(text: &str) -> bool {
    text.split_once(':').is_some_and(|(name, value)| {
        http::HeaderName::from_bytes(name.trim().as_bytes()).is_ok()
            && http::HeaderValue::from_str(value.trim()).is_err()
    })
}

/// What of a malformed header may be shown: its value can be a credential.
fn name_only(text: &str) -> String {
    let name: String = text
        .split([':', '=', ' '])
        .next()
        .unwrap_or_default()
        .chars()
        .take(40)
        .collect();
    if name.len() < text.len() {
        format!("{name}…")
    } else {
        name
    }
}
