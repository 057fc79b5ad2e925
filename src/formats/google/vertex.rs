//! Paths of Vertex, which name project, location, publisher and model, and the words in them
//! that stand for the provider's own.

use std::borrow::Cow;

use http::StatusCode;

use super::path::plain_segment;
use crate::formats::Destination;
use crate::formats::body::path_segment;
use crate::wire::Rejection;

/// Stands in a path for the project of the provider's key.
const PROJECT: &str = "_aperture_auto_vertex_project_id_";
/// Stands in a path for the region of the provider.
const REGION: &str = "_aperture_auto_vertex_region_";
/// Where a provider is that names no region.
const GLOBAL: &str = "global";
/// Versions that clients name.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// A path of a publisher's model: all up to the model, and the model with its method. Some
/// clients leave the version out, and those with a key of Vertex Express the project.
pub(in crate::formats) fn split<'p>(
    path: &'p str,
    publisher: &str,
) -> Option<(Cow<'p, str>, &'p str)> {
    let mut segments = path.strip_prefix('/')?.split('/');
    let mut next = segments.next()?;
    let versioned = VERSIONS.contains(&next);
    if versioned {
        next = segments.next()?;
    }
    if next == "projects" {
        segments.next()?;
        if segments.next()? != "locations" {
            return None;
        }
        segments.next()?;
        next = segments.next()?;
    } else if !versioned {
        return None;
    }
    let fits =
        next == "publishers" && segments.next()? == publisher && segments.next()? == "models";
    // What is left starts after the segments that were looked at.
    let rest = segments.collect::<Vec<_>>().join("/");
    if !fits || rest.is_empty() {
        return None;
    }
    let (before, rest) = path.split_at(path.len() - rest.len());
    let before = if versioned {
        Cow::Borrowed(before)
    } else {
        Cow::Owned(format!("/v1{before}"))
    };
    Some((before, rest))
}

/// Checks the segments in front of a model.
///
/// # Errors
/// A 400 for one that could be read in two ways.
pub(in crate::formats) fn plain(before: &str) -> Result<(), Rejection> {
    let inner = before.trim_matches('/');
    inner
        .split('/')
        .try_for_each(|one| plain_segment(one).map(drop))
}

/// The same with the provider's project and region, where the caller left them to the gateway.
///
/// # Errors
/// A 502 if nothing tells the provider's project.
pub(in crate::formats) fn filled<'b>(
    before: &'b str,
    to: &Destination<'_>,
) -> Result<Cow<'b, str>, Rejection> {
    if !before.contains(PROJECT) && !before.contains(REGION) {
        return Ok(Cow::Borrowed(before));
    }
    let mut segments = Vec::new();
    for segment in before.split('/') {
        segments.push(match segment {
            PROJECT => to.project.ok_or_else(|| no_project(to))?,
            REGION => to.region.unwrap_or(GLOBAL),
            other => other,
        });
    }
    Ok(Cow::Owned(segments.join("/")))
}

/// The path for a method of one of Google's models at the provider's own project.
///
/// # Errors
/// A 502 if nothing tells the provider's project.
pub(in crate::formats) fn path(to: &Destination<'_>, method: &str) -> Result<String, Rejection> {
    let project = to.project.ok_or_else(|| no_project(to))?;
    let region = to.region.unwrap_or(GLOBAL);
    let model = path_segment(to.model);
    Ok(format!(
        "/v1/projects/{project}/locations/{region}/publishers/google/models/{model}{method}"
    ))
}

fn no_project(to: &Destination<'_>) -> Rejection {
    Rejection::new(
        StatusCode::BAD_GATEWAY,
        "provider_misconfigured",
        format!(
            "the provider of {:?} has no project: neither its key nor its configuration names one",
            to.model
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to<'a>(project: Option<&'a str>, region: Option<&'a str>) -> Destination<'a> {
        Destination {
            model: "m@1",
            project,
            region,
            flags: &[],
        }
    }

    #[test]
    fn paths_of_a_publisher() {
        for (path, before) in [
            (
                "/v1/projects/p/locations/r/publishers/google/models/m:x",
                "/v1/projects/p/locations/r/publishers/google/models/",
            ),
            (
                "/v1beta1/publishers/google/models/m:x",
                "/v1beta1/publishers/google/models/",
            ),
            (
                "/projects/p/locations/r/publishers/google/models/m:x",
                "/v1/projects/p/locations/r/publishers/google/models/",
            ),
        ] {
            let found = split(path, "google").unwrap();
            assert_eq!((&*found.0, found.1), (before, "m:x"));
            assert!(plain(&found.0).is_ok());
            assert!(split(path, "anthropic").is_none());
        }
        for path in [
            "/publishers/google/models/m:x",
            "/v1/projects/p/publishers/google/models/m:x",
            "/v1/projects/p/locations/r/publishers/google/models/",
            "/v1/projects/p/locations/r/publishers/google/models",
            "/v2/projects/p/locations/r/publishers/google/models/m:x",
            "/v1/projects/p/q/locations/r/publishers/google/models/m:x",
            "/v1/projects/p/locations/r/endpoints/1:x",
            "//v1/projects/p/locations/r/publishers/google/models/m:x",
        ] {
            assert!(split(path, "google").is_none(), "{path}");
        }
        for odd in ["..", ".", "", "%2e%2e", "a%2fb", "a;b", "a\\b", "a?b"] {
            for path in [
                format!("/v1/projects/{odd}/locations/r/publishers/google/models/m:x"),
                format!("/v1/projects/p/locations/{odd}/publishers/google/models/m:x"),
            ] {
                let found = split(&path, "google").unwrap();
                assert!(plain(&found.0).is_err(), "{path}");
            }
        }
    }

    #[test]
    fn the_providers_own_project_and_region() {
        let before = format!("/v1/projects/{PROJECT}/locations/{REGION}/publishers/google/models/");
        let own = to(Some("p-1"), Some("europe-west1"));
        assert_eq!(
            filled(&before, &own).unwrap(),
            "/v1/projects/p-1/locations/europe-west1/publishers/google/models/"
        );
        assert_eq!(
            filled(&before, &to(Some("p-1"), None)).unwrap(),
            "/v1/projects/p-1/locations/global/publishers/google/models/"
        );
        assert_eq!(filled(&before, &to(None, None)).unwrap_err().status, 502);
        assert_eq!(filled("/v1/projects/x/", &own).unwrap(), "/v1/projects/x/");
        assert_eq!(
            path(&own, ":predict").unwrap(),
            "/v1/projects/p-1/locations/europe-west1/publishers/google/models/m@1:predict"
        );
    }
}
