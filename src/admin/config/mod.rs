//! The configuration through the API: shown without its secrets, checked, replaced, and taken
//! back. Aperture's routes, its older ones, and ours.

mod dry_run;
mod history;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) use dry_run::dry_run;
pub(super) use history::{rollback, version, versions};

use super::control::{SaveError, hash};
use super::{Asked, View};
use crate::access::Role;
use crate::clock;
use crate::config::{self, Finding, Severity};
use crate::ledger::{Audited, EntryId, Version};
use crate::rules::Rules;
use crate::wire::{Body, Rejection};

/// The texts of a change: as it came, and with the secrets that its placeholders stand for.
pub(super) struct Change {
    text: String,
    pub(super) rules: Rules,
}

/// A body of the routes here; what else it has is left alone.
#[derive(Deserialize)]
pub(super) struct Given {
    #[serde(default)]
    config: Option<String>,
    #[serde(default)]
    hash: Option<String>,
}

/// `GET /aperture/config`.
pub(super) fn aperture_config(view: &View<'_>) -> Result<Response<Body>, Rejection> {
    let (text, tag) = shown(view)?;
    let mut response = super::json(&json!({ "config": text }));
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
    given: Given,
) -> Result<Response<Body>, Rejection> {
    let expected = if_match(headers)?;
    let text = given.config.unwrap_or_default();
    let tag = save(view, asked, &expected, &text, "saved").await?;
    let (text, _) = shown(view)?;
    let mut response = super::json(&json!({ "config": text }));
    tagged(&mut response, &tag);
    Ok(response)
}

/// `PUT /api/config`.
pub(super) async fn put_older_config(
    view: &View<'_>,
    asked: &Asked<'_>,
    given: Given,
) -> Result<Response<Body>, Rejection> {
    let expected = given
        .hash
        .ok_or_else(|| bad("`hash` is missing: that of the configuration that was changed"))?;
    let text = given.config.unwrap_or_default();
    let tag = save(view, asked, &expected, &text, "saved").await?;
    Ok(super::json(&json!({ "success": true, "hash": tag })))
}

/// `POST /aperture/config:validate`.
pub(super) fn validate(view: &View<'_>, asked: &Asked<'_>, given: Given) -> Response<Body> {
    let text = given.config.unwrap_or_default();
    let errors = match check(view, asked, &text) {
        Ok(_) => Value::Null,
        Err(findings) => findings.iter().map(ToString::to_string).collect(),
    };
    super::json(&json!({ "valid": errors.is_null(), "errors": errors }))
}

/// The text that is in force; `None` where there is no file.
fn current(view: &View<'_>) -> Result<Option<String>, Rejection> {
    view.control.text().map_err(|error| {
        let path = view.control.path().display();
        unreadable(format!("the configuration {path} cannot be read: {error}"))
    })
}

/// The text without its secrets, and its hash.
fn shown(view: &View<'_>) -> Result<(String, String), Rejection> {
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

/// Checks a text as it would be saved: its placeholders stand for what is stored, warnings count,
/// and whoever saves it must be an admin afterwards.
///
/// # Errors
/// Everything that speaks against it.
fn check(view: &View<'_>, asked: &Asked<'_>, text: &str) -> Result<Change, Vec<Finding>> {
    let error = |message: String| {
        let at = config::Position::default();
        vec![Finding::new(Severity::Error, at, "", message)]
    };
    if text.trim().is_empty() {
        return Err(error("config must not be empty".to_owned()));
    }
    let stored = current(view).map_err(|rejection| error(rejection.message.to_string()))?;
    let text = config::restored(text, &stored.unwrap_or_default())?;
    let loaded = config::check(&text, view.control.path())?;
    let rules = Rules::compile(loaded, 0);
    let speaks_against: Vec<Finding> = rules
        .findings
        .iter()
        .filter(|finding| finding.severity != Severity::Note)
        .cloned()
        .collect();
    if !speaks_against.is_empty() {
        return Err(speaks_against);
    }
    let is_admin = rules
        .access
        .permit(asked.caller)
        .is_ok_and(|permit| permit.role() == Role::Admin);
    if !is_admin {
        return Err(error(format!(
            "this configuration would take the role admin from you ({})",
            asked.caller.name()
        )));
    }
    Ok(Change { text, rules })
}

/// Saves a text and puts it in force. Answers with its hash.
async fn save(
    view: &View<'_>,
    asked: &Asked<'_>,
    expected: &str,
    text: &str,
    how: &str,
) -> Result<String, Rejection> {
    let change = check(view, asked, text).map_err(|findings| invalid(&findings))?;
    let tag = hash(&change.text);
    // Noted first: what can't be noted isn't done.
    audit(view, asked, &format!("config_{how}"), expected, &tag).await?;
    let shown = config::redacted(&change.text).unwrap_or_default();
    match view.control.save(expected, change.text).await {
        Ok(()) => {}
        Err(error) => {
            let (status, code) = match error {
                SaveError::Changed => (StatusCode::PRECONDITION_FAILED, "configuration_changed"),
                _ => (StatusCode::INTERNAL_SERVER_ERROR, "not_saved"),
            };
            audit(view, asked, "config_not_saved", expected, &tag).await?;
            return Err(Rejection::new(status, code, error.to_string()));
        }
    }
    let version = version_of(
        asked.caller.name(),
        asked.caller.node_name(),
        how,
        &tag,
        shown,
    );
    if let Err(error) = view.ledger.add_version(version).await {
        tracing::error!(%error, "a version of the configuration is not in its history");
    }
    Ok(tag)
}

async fn audit(
    view: &View<'_>,
    asked: &Asked<'_>,
    kind: &str,
    before: &str,
    after: &str,
) -> Result<(), Rejection> {
    let detail = json!({ "before": before, "after": after });
    super::audit::note(view, asked, kind, "configuration", detail).await
}

/// A version as the history keeps it.
pub(super) fn version_of(actor: &str, node: &str, how: &str, hash: &str, text: String) -> Version {
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
pub fn version_in_file(text: &str) -> Option<Version> {
    let shown = config::redacted(text).ok()?;
    Some(version_of("", "", "file", &hash(text), shown))
}

/// A row of the audit log.
pub(super) fn row(
    actor: &str,
    node: &str,
    kind: &str,
    subject: &str,
    (detail, count): (Value, i64),
) -> Audited {
    let at = clock::unix_ms();
    Audited {
        id: EntryId::new(at),
        at,
        actor: actor.to_owned(),
        node: node.to_owned(),
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        detail,
        count,
    }
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

fn if_match(headers: &HeaderMap) -> Result<String, Rejection> {
    let given = headers
        .get(header::IF_MATCH)
        .and_then(|tag| tag.to_str().ok());
    let tag = given.map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'));
    match tag {
        Some(tag) if !tag.is_empty() => Ok(tag.to_owned()),
        _ => Err(Rejection::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if_match_required",
            "the header If-Match is missing: the ETag of the configuration that was changed",
        )),
    }
}

fn bad(why: &'static str) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "invalid_request", why)
}

/// A configuration that is not taken, with everything that speaks against it.
fn invalid(findings: &[Finding]) -> Rejection {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let details = findings
        .iter()
        .map(|finding| {
            json!({
                "message": finding.message,
                "location": finding.path,
                "value": finding.at.line,
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
