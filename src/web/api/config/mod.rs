//! The configuration through the API: shown without its secrets, checked, replaced, and taken
//! back. Aperture's routes, its older ones, and ours.

mod check;
pub(super) mod current;
pub(super) mod dry_run;
pub(in crate::web) mod history;
pub(super) mod older;
mod probe;
pub(super) mod rollback;
mod save;
pub(super) mod validate;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Deserialize;

use super::endpoint::Endpoint;
use super::refusal::{Detail, Details};
use crate::base::clock;
use crate::config::{self, Finding};
use crate::records::{EntryId, Version};
use crate::web::engines::hash;
use crate::web::reader::Reader;
use crate::wire::{Body, Rejection};
pub(super) use save::{How, save};

/// What endpoints have in common that change the configuration.
const CHANGE: Endpoint = Endpoint {
    refusals: &[
        ("412", "The configuration has changed since it was read."),
        ("422", "It is not taken; `errors` says why and where."),
    ],
    ..Endpoint::GET
};

/// The same for those that learn from `If-Match` which version was changed.
pub(super) const CHANGE_BY_TAG: Endpoint = Endpoint {
    if_match: Some((true, "The `ETag` of the configuration that was changed.")),
    refusals: &[
        ("412", "The configuration has changed since it was read."),
        ("422", "It is not taken; `errors` says why and where."),
        ("428", "`If-Match` is missing."),
    ],
    ..Endpoint::GET
};

/// A configuration that is proposed; its schema is that of what is shown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposed {
    config: String,
    /// What an answer has beside the text, for tools that send an answer back with another text.
    #[serde(default, rename = "providers")]
    _providers: serde::de::IgnoredAny,
}

/// The text that is in force; `None` where there is no file.
fn stored_text(reader: &Reader<'_>) -> Result<Option<String>, Rejection> {
    reader.engines.management.control.text().map_err(|error| {
        let path = reader.engines.management.control.path().display();
        unreadable(format!("the configuration {path} cannot be read: {error}"))
    })
}

/// The text without its secrets, and its hash.
pub(in crate::web) fn shown(reader: &Reader<'_>) -> Result<(String, String), Rejection> {
    let text = stored_text(reader)?.unwrap_or_default();
    let tag = hash(&text);
    if text.is_empty() {
        return Ok((text, tag));
    }
    let shown = config::redacted(&text).map_err(|finding| {
        unreadable(format!(
            "the file can't be read as a configuration, so its secrets can't be told from the \
             rest: {finding}"
        ))
    })?;
    Ok((shown, tag))
}

fn unreadable(why: String) -> Rejection {
    Rejection::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "configuration_unreadable",
        why,
    )
}

/// A version as the history keeps it.
fn version_of(actor: &str, node: &str, how: &str, hash: &str, text: String) -> Version {
    let at = clock::unix_ms();
    Version {
        id: EntryId::new(at),
        at,
        actor: actor.to_owned(),
        node: node.to_owned(),
        how: how.to_owned(),
        hash: hash.to_owned(),
        parent: None,
        text,
    }
}

/// The version that a file holds which was not saved through the API.
#[must_use]
pub fn version_in_file(text: &str, how: &str) -> Option<Version> {
    let shown = config::redacted(text).ok()?;
    Some(version_of("", "", how, &hash(text), shown))
}

/// An answer about the configuration with this hash.
fn tagged(response: Response<Body>, tag: &str) -> Response<Body> {
    let mut response = super::tagged(response, tag);
    let control = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, control);
    response
}

/// The hash that `If-Match` asks for: that of the file, if it is one of those named.
pub(super) fn if_match(reader: &Reader<'_>, headers: &HeaderMap) -> Result<String, Rejection> {
    let given = headers.get_all(header::IF_MATCH).iter();
    let named: Vec<&str> = given
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_matches('"'))
        .filter(|tag| !tag.is_empty())
        .collect();
    let Some(first) = named.first() else {
        return Err(Rejection::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if_match_required",
            "the header If-Match is missing: the ETag of the configuration that was changed",
        ));
    };
    let tag = hash(&stored_text(reader)?.unwrap_or_default());
    // Of no known one, the first is as wrong as the others.
    Ok(if named.contains(&&*tag) {
        tag
    } else {
        (*first).to_owned()
    })
}

/// A configuration that is not taken, with everything that speaks against it.
pub(super) fn invalid(findings: &[Finding]) -> Rejection {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let details = findings.iter().map(|finding| {
        let at = &finding.at;
        Detail {
            message: finding.message.clone(),
            location: finding.path.clone(),
            // The value itself could be a secret: where it stands.
            value: (at.line > 0).then(|| format!("line {}, column {}", at.line, at.column)),
            hint: finding.hint.clone(),
        }
    });
    let details = Details(details.collect());
    Rejection::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_configuration",
        lines.join("\n"),
    )
    .details(serde_json::to_value(details).unwrap_or_default())
}
