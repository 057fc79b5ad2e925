//! Headers in the document: those that are added to requests, and names of those that may pass.

use super::credential;
use super::declare::{Setting, TEXTS, Way};
use super::within::is_credential;
use crate::wire::headers::is_passable;

/// A list of `"Name: value"`.
pub(super) const HEADERS: Way<Vec<(String, String)>> = Way::new(TEXTS, |item| {
    let read = item.items()?.filter_map(|entry| {
        let text = entry.string()?;
        let header = header(text);
        if let Some(problem) = header_problem(text, header.as_ref()) {
            entry.warn(format!("provider {}: {problem}", entry.owner));
        }
        header
    });
    Some(read.collect())
})
.json(|headers| headers.is_empty().then(|| serde_json::json!([])));

/// What is wrong with an entry of `add_headers`, of which `header` was made.
pub(super) fn header_problem(text: &str, header: Option<&(String, String)>) -> Option<String> {
    let name = name_only(text);
    let Some((header, value)) = header else {
        return Some(if is_unsendable(text) {
            format!(
                "the value of the add_headers entry \"{name}\" holds a line break or another \
                 character that no header can carry"
            )
        } else {
            format!("add_headers entry \"{name}\" must be in \"Header-Name: value\" format")
        });
    };
    let value = Some(value).filter(|_| is_credential(header));
    let problem = credential::header_problem(value?)?;
    Some(format!(
        "the value of the add_headers entry \"{name}\" {problem}"
    ))
}

/// Headers that may pass; others are found and don't.
pub(super) const PASS_HEADERS: Way<Vec<String>> = Way::new(TEXTS, |item| {
    let mut names = item.strings()?;
    names.retain(|name| {
        let may_pass = http::HeaderName::from_bytes(name.as_bytes()).is_ok() && is_passable(name);
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
})
.json(Setting::json);

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
