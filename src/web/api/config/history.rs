//! The versions of the configuration that were in force, and the way back to one.

use std::time::Duration;

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use similar::TextDiff;

use super::current;
use super::save::{How, save};
use crate::config;
use crate::records::Version;
use crate::web::api::{Asked, View, records};
use crate::wire::{Body, Rejection};

/// How long the shortest difference is looked for.
const PATIENCE: Duration = Duration::from_millis(200);

/// Which version is wanted back, and the hash of the one in force.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web::api) struct Back {
    id: String,
    hash: String,
}

/// `GET /api/config/history`.
pub(in crate::web::api) async fn versions(view: &View<'_>) -> Result<Response<Body>, Rejection> {
    Ok(crate::web::api::json(
        &json!({ "versions": all(view).await? }),
    ))
}

/// The versions, newest first, without their texts.
pub(crate) async fn all(view: &View<'_>) -> Result<Vec<Version>, Rejection> {
    let versions = view.ledger.versions().await;
    versions.map_err(|error| records::unavailable(&error))
}

/// A version, and how its text differs from others.
pub(crate) struct Told {
    pub version: Version,
    /// From the version before.
    pub diff: String,
    /// What going back to it would change.
    pub back: String,
}

/// The version that was asked for.
pub(crate) async fn told(view: &View<'_>, asked: &Asked<'_>) -> Result<Told, Rejection> {
    let version = found(view, asked.id).await?;
    let parent = match &version.parent {
        Some(parent) => {
            let parent = view.ledger.version(parent).await;
            parent.map_err(|error| records::unavailable(&error))?
        }
        None => None,
    };
    let now = current(view)?.unwrap_or_default();
    let now = config::redacted(&now).unwrap_or_default();
    let before = parent.map(|parent| parent.text).unwrap_or_default();
    Ok(Told {
        diff: diff(&before, &version.text),
        back: diff(&now, &version.text),
        version,
    })
}

/// `GET /api/config/history/{id}`.
pub(in crate::web::api) async fn version(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Response<Body>, Rejection> {
    let told = told(view, asked).await?;
    let mut row = serde_json::to_value(&told.version).unwrap_or_default();
    row["diff"] = told.diff.into();
    row["diff_to_current"] = told.back.into();
    Ok(crate::web::api::json(&row))
}

/// `POST /api/config/rollback`. Secrets are those of the file as it is now: the history holds
/// none. Where the file has none in that place any more, it is said which are missing.
pub(in crate::web::api) async fn rollback(
    view: &View<'_>,
    asked: &Asked<'_>,
    back: Back,
) -> Result<Response<Body>, Rejection> {
    records::writable(view.ledger)?;
    let version = found(view, &back.id).await?;
    let tag = save(view, asked, &back.hash, &version.text, How::RolledBack).await?;
    Ok(crate::web::api::json(
        &json!({ "success": true, "hash": tag }),
    ))
}

async fn found(view: &View<'_>, id: &str) -> Result<Version, Rejection> {
    let version = view.ledger.version(id).await;
    version
        .map_err(|error| records::unavailable(&error))?
        .ok_or_else(|| {
            Rejection::new(
                StatusCode::NOT_FOUND,
                "no_such_version",
                format!("there is no version {id:?} of the configuration"),
            )
        })
}

/// A unified diff; empty for equal texts.
pub(super) fn diff(before: &str, after: &str) -> String {
    // Long texts that have little in common are compared roughly.
    TextDiff::configure()
        .timeout(PATIENCE)
        .diff_lines(before, after)
        .unified_diff()
        .header("before", "after")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_that_differ_take_no_longer_than_they_may() {
        let text = |seed: u64| {
            let lines = (0..200_000_u64).map(|nth| format!("{}\n", (nth * seed) % 99_991));
            lines.collect::<String>()
        };
        let (before, after) = (text(7), text(13));
        let started = std::time::Instant::now();
        let told = diff(&before, &after);
        assert!(told.starts_with("--- before\n+++ after\n"));
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{:?}",
            started.elapsed()
        );
    }
}
