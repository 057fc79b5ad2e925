//! What the readers of requests share: the fields that decide, each read one way only.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::base::text::Text;
use crate::wire::{Rejection, json};

/// A model's name is a header, a column and a line of a log: it has a bound.
const MAX_MODEL: usize = 512;

/// A refusal of a request that can't be understood.
pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "invalid_request", message)
}

/// The refusal of a request that names no model. The caller is told which there are.
pub(super) fn no_model(message: &'static str) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, NO_MODEL, message)
}

/// The code of that refusal.
pub const NO_MODEL: &str = "model_required";

/// The code of a refusal of a response that a request goes on with: OpenAI's.
pub const NO_PREVIOUS_RESPONSE: &str = "previous_response_not_found";

/// The code of refusals of an item that the caller doesn't have at the provider.
pub const NO_ITEM: &str = "item_not_found";

/// The code of refusals of a conversation that the provider keeps.
pub const NO_CONVERSATION: &str = "conversation_not_found";

/// Scans a JSON body for the values of `keys`; see [`json::scan`] for what is refused.
pub(super) fn scan(body: &[u8], keys: &[&str]) -> Result<json::Fields, Rejection> {
    json::scan(body, keys)
        .map_err(|error| bad_request(format!("the request body is not acceptable: {error}")))
}

/// The place in a body of what stands at `at` in the value at `outer`.
pub(super) fn inside(outer: &Range<usize>, at: Range<usize>) -> Range<usize> {
    outer.start + at.start..outer.start + at.end
}

/// Whether a name can be a model's.
pub(super) fn is_model(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_MODEL && !name.chars().any(char::is_control)
}

/// The model that the value at `at` names.
pub(super) fn model(body: &[u8], at: Option<Range<usize>>) -> Result<Text, Rejection> {
    let at = at.filter(|at| &body[at.clone()] != b"null");
    let Some(at) = at else {
        return Err(no_model("the request has no `model`"));
    };
    let name = json::string(&body[at]);
    if name.as_ref().is_some_and(|name| name.trim().is_empty()) {
        return Err(no_model("`model` is empty"));
    }
    name.filter(|model| is_model(model))
        .map(Text::from)
        .ok_or_else(|| bad_request("`model` must be the name of a model"))
}

/// A JSON body that names this model, if it can be read as an object.
pub(super) fn with_model(body: &Bytes, model: &str) -> Option<Bytes> {
    let fields = scan(body, &["model"]).ok()?;
    let literal = serde_json::Value::from(model).to_string();
    let (at, text) = if let Some(at) = fields.get(0) {
        (at, literal)
    } else {
        let comma = if fields.members.is_empty() { "" } else { "," };
        let member = format!(r#""model":{literal}{comma}"#);
        (fields.open..fields.open, member)
    };
    Some(
        [&body[..at.start], text.as_bytes(), &body[at.end..]]
            .concat()
            .into(),
    )
}

/// A flag that is absent, `null`, `true` or `false`.
pub(super) fn flag(
    body: &[u8],
    at: Option<Range<usize>>,
    name: &'static str,
) -> Result<bool, Rejection> {
    match at.map(|at| &body[at]) {
        None | Some(b"false" | b"null") => Ok(false),
        Some(b"true") => Ok(true),
        Some(_) => Err(bad_request(format!("`{name}` must be true or false"))),
    }
}

/// A count, where there is one that can be read. `100.0`, `1e2` and `"100"` are a hundred too,
/// because there are servers that take them for that. More than 64 bits hold is the most that they
/// do.
pub(super) fn count(literal: Option<&[u8]>) -> Option<u64> {
    let literal = literal?;
    let text = match literal.first()? {
        b'"' => json::string(literal)?,
        _ => std::str::from_utf8(literal).ok()?.into(),
    };
    if let Ok(count) = text.parse() {
        return Some(count);
    }
    let number: f64 = text.trim().parse().ok()?;
    let counts = number.is_finite() && number >= 0.0;
    counts.then(|| {
        let whole = format!("{:.0}", number.ceil().abs());
        whole.parse().unwrap_or(u64::MAX)
    })
}

/// The bound on a response: the larger of two, for as many responses as are wanted.
pub(super) fn answer_limit(limits: [Option<&[u8]>; 2], answers: Option<&[u8]>) -> Option<u64> {
    let limit = limits.into_iter().filter_map(count).max()?;
    Some(limit.saturating_mul(count(answers).unwrap_or(1).max(1)))
}

/// The one of a format's paths that a caller means, who may leave out the version.
pub(super) fn target(paths: &[&'static str], path: &str) -> Option<&'static str> {
    let is_meant = |known: &&str| *known == path || known.strip_prefix("/v1") == Some(path);
    paths.iter().copied().find(is_meant)
}

/// What a segment of a path may hold as it is (RFC 3986, section 3.3), but for the characters
/// that some servers read as more than themselves.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'@');

/// A model's name as one segment of a path.
pub(super) fn path_segment(model: &str) -> Cow<'_, str> {
    utf8_percent_encode(model, SEGMENT).into()
}

/// A model's name from a path: decoded once, and then of characters that stand for themselves.
/// A name may hold slashes, because that of a provider can stand before it.
///
/// # Errors
/// A 400 for one that servers could take for another name or path.
pub(super) fn model_in_path(raw: &str) -> Result<String, Rejection> {
    let odd =
        || bad_request("the path does not name a model in a way that can be read one way only");
    let name = percent_decode_str(raw).decode_utf8().map_err(|_| odd())?;
    let plain = name.bytes().all(|byte| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'@' | b'/' | b':' | b'+')
    });
    let whole = name
        .split('/')
        .all(|segment| !matches!(segment, "" | "." | ".."));
    if plain && whole && is_model(&name) {
        Ok(name.into_owned())
    } else {
        Err(odd())
    }
}

/// Whether a resource's name is that of `model`.
pub(super) fn names(resource: &str, model: &str) -> bool {
    prefix(resource, model).is_some()
}

/// What stands before the model in a resource's name: nothing, `models/`, or the publisher with
/// or without project and location. `None` if it names another model.
pub(super) fn prefix<'r>(resource: &'r str, model: &str) -> Option<&'r str> {
    let before = resource.strip_suffix(model)?;
    let known = before.is_empty()
        || before == "models/"
        || before == "publishers/google/models/"
        || (before.starts_with("projects/") && before.ends_with("/publishers/google/models/"));
    known.then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_what_the_most_lenient_server_takes_it_for() {
        for (text, expected) in [
            ("100", Some(100)),
            ("-0", Some(0)),
            ("100.0", Some(100)),
            ("99.5", Some(100)),
            ("1e2", Some(100)),
            (r#""100""#, Some(100)),
            (r#""1\u00300""#, Some(100)),
            ("18446744073709551616", Some(u64::MAX)),
            ("1e300", Some(u64::MAX)),
            ("-1", None),
            ("null", None),
            (r#""""#, None),
            (r#""inf""#, None),
            ("[100]", None),
        ] {
            assert_eq!(count(Some(text.as_bytes())), expected, "{text}");
        }
    }
}
