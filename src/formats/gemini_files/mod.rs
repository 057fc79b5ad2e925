//! Gemini's files (<https://ai.google.dev/api/files>): their paths, uploads in steps, and their objects as
//! clients read them.

mod shape;
mod upload;

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::body::bad_request;
use super::google::path::VERSIONS;
use super::{Call, Format, Head, Meter, MeteredRequest, google, known, openai_companions};
use crate::wire::Rejection;

pub use shape::{FileShape, deleted, file, list, uploaded};
pub use upload::{STATUS, Started, Step, URL, location};

/// Headers that only Google's clients send. Under `v1`, other paths than those of uploads are OpenAI's too.
const HEADERS: [&str; 2] = ["x-goog-api-client", "x-goog-api-key"];

/// `/v1beta/files`.
pub static FORMAT: Format = Format {
    refusals: google::error::REFUSALS,
    operation: "batch",
    // The steps of an upload have the type of the file, or none.
    accepts: &[],
    ..Format::new("gemini_files", &known::COMPANIONS, not_for_a_model, meter)
};

/// Whether a request is one of Google's clients.
#[must_use]
pub fn recognises(headers: &HeaderMap) -> bool {
    HEADERS.iter().any(|name| headers.contains_key(*name))
}

/// What a request for a file asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'p> {
    Upload,
    List,
    File(&'p str),
    Content(&'p str),
    Delete(&'p str),
}

impl<'p> Action<'p> {
    /// What a method of a path asks for; `None` if that is something else.
    #[must_use]
    pub fn of(method: &Method, path: &'p str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let (front, path) = match path.split_once('/')? {
            (front @ ("upload" | "download"), rest) => (front, rest),
            _ => ("", path),
        };
        let (version, path) = path.split_once('/')?;
        if !VERSIONS.contains(&version) {
            return None;
        }
        let rest = path.strip_prefix("files")?;
        if rest.is_empty() {
            return match (method, front) {
                (&Method::POST, "upload") => Some(Self::Upload),
                (&Method::GET, "") => Some(Self::List),
                _ => None,
            };
        }
        let id = rest.strip_prefix('/').filter(|id| !id.is_empty())?;
        if id.contains('/') {
            return None;
        }
        match (method, front, id.split_once(':')) {
            (&Method::GET, "", None) => Some(Self::File(id)),
            // SDKs have no `download` in front, Google's examples for curl do.
            (&Method::GET, "" | "download", Some((id, "download"))) => Some(Self::Content(id)),
            (&Method::DELETE, "", None) => Some(Self::Delete(id)),
            _ => None,
        }
    }
}

fn not_for_a_model(_: &Head<'_>, _: Bytes) -> Result<Call, Rejection> {
    Err(bad_request("requests for files name no model"))
}

fn meter(request: &MeteredRequest<'_>) -> Box<dyn Meter> {
    Box::new(openai_companions::Whole::new((FORMAT.density)(
        request.path,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_asks_for_one_thing() {
        for (method, path, expected) in [
            (Method::POST, "/upload/v1beta/files", Some(Action::Upload)),
            (Method::GET, "/v1beta/files", Some(Action::List)),
            (Method::GET, "/v1alpha/files/f", Some(Action::File("f"))),
            (Method::DELETE, "/v1beta/files/f", Some(Action::Delete("f"))),
            (
                Method::GET,
                "/v1beta/files/f:download",
                Some(Action::Content("f")),
            ),
            (
                Method::GET,
                "/download/v1beta/files/f:download",
                Some(Action::Content("f")),
            ),
            (Method::GET, "/download/v1beta/files/f", None),
            (Method::DELETE, "/download/v1beta/files/f", None),
            (Method::GET, "/download/v1beta/files", None),
            (Method::POST, "/v1beta/files", None),
            (Method::GET, "/upload/v1beta/files", None),
            (Method::GET, "/upload/v1beta/files/f", None),
            (Method::GET, "/v1beta/files/", None),
            (Method::GET, "/v1beta/files/f/x", None),
            (Method::GET, "/v1beta/filesystem", None),
            (Method::GET, "/v1/files", Some(Action::List)),
            (Method::GET, "/v2/files", None),
        ] {
            assert_eq!(Action::of(&method, path), expected, "{method} {path}");
        }
    }
}
