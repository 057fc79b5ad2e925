//! `/api/config/history`: the versions of the configuration that were in force.

use std::time::Duration;

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use similar::TextDiff;

use super::stored_text;
use crate::config;
use crate::records::Version;
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::api::json;
use crate::web::reader::Reader;
use crate::wire::Rejection;

/// How long the shortest difference is looked for.
const PATIENCE: Duration = Duration::from_millis(200);

pub(in crate::web::api) const LIST: Endpoint = Endpoint {
    path: "/api/config/history",
    name: "Versions",
    about: "The versions of the configuration that were in force, newest first.",
    answer: json_of::<VersionList>(),
    handler: Handler::Admin(|call| Box::pin(list(call))),
    ..Endpoint::GET
};

pub(in crate::web::api) const ONE: Endpoint = Endpoint {
    path: "/api/config/history/{id}",
    name: "Version",
    about: "One version, with what it changed and what going back to it would change.",
    answer: json_of::<Detail>(),
    handler: Handler::Admin(|call| Box::pin(one(call))),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
struct VersionList {
    versions: Vec<Version>,
}

/// A version, and how its text differs from others.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Version")]
pub(in crate::web) struct Detail {
    #[serde(flatten)]
    pub version: Version,
    pub text: String,
    /// From the version before.
    pub diff: String,
    /// What going back to it would change.
    #[serde(rename = "diff_to_current")]
    pub back: String,
}

/// The versions, newest first, without their texts.
pub(in crate::web) async fn all(reader: &Reader<'_>) -> Result<Vec<Version>, Rejection> {
    Ok(reader.ledger().versions().await?)
}

/// A version.
pub(in crate::web) async fn detail(reader: &Reader<'_>, id: &str) -> Result<Detail, Rejection> {
    let mut version = version(reader, id).await?;
    let parent = match &version.parent {
        Some(parent) => reader.ledger().version(parent).await?,
        None => None,
    };
    let now = stored_text(reader)?.unwrap_or_default();
    let now = config::redacted(&now).unwrap_or_default();
    let before = parent.map(|parent| parent.text).unwrap_or_default();
    let text = std::mem::take(&mut version.text);
    Ok(Detail {
        diff: diff(&before, &text),
        back: diff(&now, &text),
        text,
        version,
    })
}

async fn list(call: Call<'_>) -> Reply {
    let versions = all(call.reader).await?;
    Ok(json(&VersionList { versions }))
}

async fn one(call: Call<'_>) -> Reply {
    Ok(json(&detail(call.reader, call.id).await?))
}

pub(super) async fn version(reader: &Reader<'_>, id: &str) -> Result<Version, Rejection> {
    let version = reader.ledger().version(id).await;
    version?.ok_or_else(|| {
        let why = format!("there is no version {id:?} of the configuration");
        Rejection::new(StatusCode::NOT_FOUND, "no_such_version", why)
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
