//! The configuration through the API: shown without its secrets, checked, replaced, and taken
//! back. Aperture's routes, its older ones, and ours.

pub(super) mod check;
mod dry_run;
pub(crate) mod history;
mod probe;
mod save;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) use dry_run::dry_run;
pub(super) use history::{rollback, version, versions};

use super::control::hash;
use super::{Asked, View};
use crate::base::clock;
use crate::config::{self, Finding};
use crate::records::{EntryId, Version};
use crate::wire::{Body, Rejection};
pub(super) use save::{How, save};

/// A configuration that is proposed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proposed {
    config: String,
    /// What an answer has beside the text, for tools that send an answer back with another text.
    #[serde(default, rename = "providers")]
    _providers: serde::de::IgnoredAny,
}

/// A configuration in Aperture's older form. What else it has is left alone: tools that were
/// written for other versions send it.
#[derive(Deserialize)]
pub(super) struct OlderChange {
    config: String,
    #[serde(default)]
    hash: Option<String>,
}

/// `GET /aperture/config`.
pub(super) fn aperture_config(view: &View<'_>) -> Result<Response<Body>, Rejection> {
    let (text, tag) = shown(view)?;
    let providers = config::catalog(&text);
    let mut response = super::json(&json!({ "config": text, "providers": providers }));
    tagged(&mut response, &tag);
    Ok(response)
}

/// `GET /api/config`, as Aperture had it before.
pub(super) fn older_config(view: &View<'_>) -> Result<Response<Body>, Rejection> {
    let (text, tag) = shown(view)?;
    let exists = current(view)?.is_some();
    let mut response = super::json(&json!({ "config": text, "exists": exists, "hash": tag }));
    tagged(&mut response, &tag);
    Ok(response)
}

/// `PUT /aperture/config`.
pub(super) async fn put_aperture_config(
    view: &View<'_>,
    asked: &Asked<'_>,
    headers: &HeaderMap,
    proposed: Proposed,
) -> Result<Response<Body>, Rejection> {
    let expected = if_match(view, headers)?;
    let tag = save(view, asked, &expected, &proposed.config, How::Saved).await?;
    let (text, _) = shown(view)?;
    let restart = awaiting_restart(view, &text);
    let mut response = super::json(&json!({ "config": text, "restart": restart }));
    tagged(&mut response, &tag);
    Ok(response)
}

/// `PUT /api/config`.
pub(super) async fn put_older_config(
    view: &View<'_>,
    asked: &Asked<'_>,
    change: OlderChange,
) -> Result<Response<Body>, Rejection> {
    let expected = change
        .hash
        .ok_or_else(|| bad("`hash` is missing: that of the configuration that was changed"))?;
    let tag = save(view, asked, &expected, &change.config, How::Saved).await?;
    Ok(super::json(
        &json!({ "success": true, "hash": tag, "new_hash": tag }),
    ))
}

/// `POST /aperture/config:validate`. Warnings count, as in a save. A save that would take the role
/// `admin` from its caller is allowed here, as in Aperture, and reported beside the findings.
pub(super) fn validate(
    view: &View<'_>,
    asked: &Asked<'_>,
    host: Option<&str>,
    proposed: &Proposed,
) -> Result<Response<Body>, Rejection> {
    let stored = current(view)?.unwrap_or_default();
    let (mut lockout, mut ways, mut restart) = (None, Vec::new(), Vec::new());
    let findings = match check::compile(view, &proposed.config, &stored) {
        Ok(change) => {
            lockout = check::lockout(&change, asked);
            ways = check::ways_lost(view, &change, asked, host);
            restart = view.warnings.awaiting_restart(&change.rules.file);
            check::warnings(&change)
        }
        Err(findings) => findings,
    };
    let errors: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let warnings = lockout.iter().chain(&ways).map(|one| one.message.clone());
    Ok(super::json(&json!({
        "valid": errors.is_empty(),
        "errors": errors,
        "warnings": warnings.collect::<Vec<_>>(),
        "loses_admin": lockout.is_some(),
        "restart": restart,
    })))
}

/// The keys of a text that was saved just now which wait for the next start. The rules of the
/// request that saved it are those before.
fn awaiting_restart(view: &View<'_>, text: &str) -> Vec<String> {
    let stored = current(view).ok().flatten().unwrap_or_default();
    match check::compile(view, text, &stored) {
        Ok(change) => view.warnings.awaiting_restart(&change.rules.file),
        Err(_) => Vec::new(),
    }
}

/// The text that is in force; `None` where there is no file.
fn current(view: &View<'_>) -> Result<Option<String>, Rejection> {
    view.control.text().map_err(|error| {
        let path = view.control.path().display();
        unreadable(format!("the configuration {path} cannot be read: {error}"))
    })
}

/// The text without its secrets, and its hash.
pub(crate) fn shown(view: &View<'_>) -> Result<(String, String), Rejection> {
    let text = current(view)?.unwrap_or_default();
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

fn tagged(response: &mut Response<Body>, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    let control = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, control);
}

/// The hash that `If-Match` asks for: that of the file, if it is one of those named.
pub(super) fn if_match(view: &View<'_>, headers: &HeaderMap) -> Result<String, Rejection> {
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
    let tag = hash(&current(view)?.unwrap_or_default());
    // Of no known one, the first is as wrong as the others.
    Ok(if named.contains(&&*tag) {
        tag
    } else {
        (*first).to_owned()
    })
}

fn bad(why: &'static str) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "invalid_request", why)
}

/// A configuration that is not taken, with everything that speaks against it.
pub(super) fn invalid(findings: &[Finding]) -> Rejection {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let details = findings
        .iter()
        .map(|finding| {
            let at = &finding.at;
            json!({
                "message": finding.message,
                "location": finding.path,
                // The value itself could be a secret: where it stands.
                "value": (at.line > 0).then(|| format!("line {}, column {}", at.line, at.column)),
                "hint": finding.hint,
            })
        })
        .collect();
    Rejection::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_configuration",
        lines.join("\n"),
    )
    .details(Value::Array(details))
}
