//! Paths of clients whose base URL was set in another way than theirs is meant to be: with the
//! version twice or not at all, with the name of the API in front, or with the whole endpoint.
//! Those that can mean one thing only are served as that.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use super::base_url::azure;
use super::{ALL, is_method};
use crate::base::text::Text;

/// The model of a request whose path named it as Azure's clients do; that counts, whatever the body says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment(pub Text);

/// Segments in front of an endpoint that say no more than whose API it is, or which version.
const FRONT: [&str; 13] = [
    "v1",
    "v1beta",
    "v1alpha",
    "v1beta1",
    "openai",
    "anthropic",
    "codex",
    "gemini",
    "google",
    "vertex",
    "bedrock",
    "api",
    "",
];
/// Versions of Google's API for Gemini.
const GEMINI: [&str; 2] = ["v1beta", "v1alpha"];
/// Endpoints that a base URL may end with by mistake.
const ENDPOINTS: [&str; 14] = [
    "chat/completions",
    "responses",
    "completions",
    "messages/count_tokens",
    "messages",
    "embeddings",
    "images/generations",
    "images/edits",
    "images/variations",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "moderations",
    "rerank",
];

/// Endpoints of Ollama's API, below `/api`.
const OLLAMA: [&str; 8] = [
    "chat",
    "embed",
    "embeddings",
    "generate",
    "ps",
    "show",
    "tags",
    "version",
];

/// The path that a request for `path` means, unless that path is known itself.
#[must_use]
pub fn meant(method: &Method, path: &str) -> Option<String> {
    let shortened = path.strip_suffix('/').unwrap_or(path);
    let (front, rest) = front(shortened);
    let (front, rest) = without_endpoint(front, rest);
    // `/api/chat`, `/api/embeddings` and `/api/models` are Ollama's and ours.
    let last = front.iter().rev().find(|segment| !segment.is_empty());
    if last == Some(&"api") && OLLAMA.contains(&rest) {
        let meant = format!("/api/{rest}");
        return (meant != path).then_some(meant);
    }
    if rest.is_empty() || last == Some(&"api") {
        return None;
    }
    let version = front.iter().rev().find(|segment| GEMINI.contains(segment));
    let is_openai = front.contains(&"openai");
    let (kind, _) = rest.split_once('/').unwrap_or((rest, ""));
    let is_method = is_method(rest);
    // Where the path names a model, slashes could be part of its name.
    let names_model = is_method || matches!(kind, "model" | "projects" | "publishers");
    let is_odd = shortened != path || front.iter().skip(1).any(|segment| segment.is_empty());
    if names_model && is_odd {
        return None;
    }
    let meant = match kind {
        "models" | "tunedModels" if is_method => {
            format!("/{}/{rest}", version.unwrap_or(&"v1beta"))
        }
        "models" if !is_openai && version.is_some() => {
            format!("/{}/{rest}", version.unwrap_or(&"v1beta"))
        }
        "model" => format!("/bedrock/{rest}"),
        _ => format!("/v1/{rest}"),
    };
    let is_listing = kind == "models" && matches!(*method, Method::GET | Method::HEAD);
    let is_known = is_listing || ALL.iter().any(|api| api.recognises(method, &meant));
    (is_known && meant != path).then_some(meant)
}

/// The path that a request to a deployment of Azure means, and the model: `/openai/deployments/NAME/…`.
/// Azure's clients don't escape a slash in the name.
#[must_use]
pub fn of_deployment(path: &str) -> Option<(String, Deployment)> {
    let (front, rest) = path.split_once("/deployments/")?;
    let mut front = front.split('/');
    if !front.all(|segment| FRONT.contains(&segment)) {
        return None;
    }
    let is_end = |(at, _): &(usize, _)| azure::is_of_deployment(&rest[at + 1..]);
    let (at, _) = rest.match_indices('/').find(is_end)?;
    let name = percent_decode_str(&rest[..at]).decode_utf8().ok()?;
    let path = format!("/v1{}", &rest[at..]);
    (!name.is_empty()).then(|| (path, Deployment(name.into_owned().into())))
}

/// Cuts off the segments in front that say nothing about the endpoint.
fn front(path: &str) -> (Vec<&str>, &str) {
    let mut rest = path.strip_prefix('/').unwrap_or(path);
    let mut front = Vec::new();
    while let Some((segment, below)) = rest.split_once('/') {
        if !FRONT.contains(&segment) {
            break;
        }
        front.push(segment);
        rest = below;
    }
    (front, rest)
}

/// Cuts off an endpoint that is followed by another one.
fn without_endpoint<'p>(before: Vec<&'p str>, rest: &'p str) -> (Vec<&'p str>, &'p str) {
    for endpoint in ENDPOINTS {
        let Some(below) = rest
            .strip_prefix(endpoint)
            .and_then(|below| below.strip_prefix('/'))
        else {
            continue;
        };
        let (_, tail) = front(below);
        if tail == "models" || ENDPOINTS.contains(&tail) {
            return (before, tail);
        }
    }
    (before, rest)
}

/// A path and query with another path.
#[must_use]
pub fn replaced(uri: &http::Uri, path: &str) -> Option<http::Uri> {
    let target = match uri.query() {
        Some(query) => Cow::Owned(format!("{path}?{query}")),
        None => Cow::Borrowed(path),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    http::Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A method, a path, and what it means.
    const MEANT: &str = "
    POST /v1/v1/messages /v1/messages
    POST /v1/v1/chat/completions /v1/chat/completions
    POST //v1/chat/completions /v1/chat/completions
    POST //chat/completions /v1/chat/completions
    POST /v1//chat/completions /v1/chat/completions
    POST /v1/chat/completions/ /v1/chat/completions
    POST /v1/chat/completions/chat/completions /v1/chat/completions
    POST /v1/chat/completions/v1/chat/completions /v1/chat/completions
    POST /chat/completions/responses /v1/responses
    POST /v1/messages/v1/messages /v1/messages
    POST /v1/messages/v1/messages/count_tokens /v1/messages/count_tokens
    POST /anthropic/v1/messages /v1/messages
    POST /openai/v1/chat/completions /v1/chat/completions
    POST /openai/responses /v1/responses
    POST /api/v1/chat/completions /v1/chat/completions
    POST /v1beta/openai/chat/completions /v1/chat/completions
    POST /v1beta/openai/embeddings /v1/embeddings
    POST /models/g:generateContent /v1beta/models/g:generateContent
    POST /v1beta/v1beta/models/g:generateContent /v1beta/models/g:generateContent
    POST /v1/v1alpha/models/p/g:countTokens /v1alpha/models/p/g:countTokens
    POST /gemini/v1beta/models/g:streamGenerateContent /v1beta/models/g:streamGenerateContent
    POST /bedrock/bedrock/model/m/converse /bedrock/model/m/converse
    POST /v1/model/m%3A0/invoke /bedrock/model/m%3A0/invoke
    POST /v1/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict /v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict
    POST /v1/api/chat /api/chat
    POST /api/api/generate /api/generate
    POST //api/embed /api/embed
    POST /v1/api/embeddings /api/embeddings
    GET /api/tags/ /api/tags
    GET /v1/v1/models /v1/models
    GET /v1/models/ /v1/models
    GET /v1beta/openai/models /v1/models
    GET /v1beta/v1beta/models /v1beta/models
    GET /v1/v1/models/a/b /v1/models/a/b
    GET /v1/chat/completions/models /v1/models
";

    #[test]
    fn what_can_mean_one_thing_is_served_as_that() {
        for row in MEANT.trim().lines() {
            let [method, path, expected] = row.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("three words: {row}")
            };
            let method = method.parse().unwrap();
            assert_eq!(meant(&method, path).as_deref(), Some(expected), "{row}");
        }
    }

    #[test]
    fn a_deployment_of_azure_is_a_model() {
        for (path, expected) in [
            (
                "/openai/deployments/m/chat/completions",
                Some(("/v1/chat/completions", "m")),
            ),
            (
                "/openai/deployments/p/m/embeddings",
                Some(("/v1/embeddings", "p/m")),
            ),
            (
                "/openai/deployments/p%2Fm/audio/speech",
                Some(("/v1/audio/speech", "p/m")),
            ),
            (
                "/openai/deployments/completions/completions",
                Some(("/v1/completions", "completions")),
            ),
            ("/deployments/m/completions", Some(("/v1/completions", "m"))),
            ("/openai/deployments/m/responses", None),
            ("/openai/deployments//chat/completions", None),
            ("/openai/deployments/m", None),
            ("/v1/files/deployments/m/embeddings", None),
            ("/openai/deployments/%ff/embeddings", None),
        ] {
            let meant = of_deployment(path);
            let meant = meant
                .as_ref()
                .map(|(path, model)| (path.as_str(), model.0.as_str()));
            assert_eq!(meant, expected, "{path}");
        }
    }

    #[test]
    fn what_is_known_or_could_mean_two_things_stays_as_it_is() {
        for path in [
            "/v1/chat/completions",
            "/v1/messages",
            "/v1/files",
            "/v1/v1/files",
            "/api/chat",
            "/api/embeddings",
            "/api/models",
            "/api/pull/",
            "/v1/chat/completions/files",
            "/v1/messages/batches",
            "/v1/%76%31/messages",
            "/v1/../v1/messages",
            "/bedrock//model/../invoke/x",
            "/v1beta//models/g:generateContent",
            "/bedrock/model/m/converse/",
            "/v1",
            "/v1/v1",
            "/",
            "//",
            "",
        ] {
            assert_eq!(meant(&Method::POST, path), None, "{path}");
        }
        assert_eq!(meant(&Method::GET, "/v1/v1/chat/completions"), None);
    }
}
