//! The paths of Azure's API in OpenAI's format before its `/openai/v1`: a model is a deployment, which the
//! path names, and the query names the version of the API
//! (<https://learn.microsoft.com/azure/ai-services/openai/reference>).

use super::super::body::path_segment;

/// Endpoints below a deployment. Others, such as `responses`, take the deployment from the body.
const OF_DEPLOYMENTS: [&str; 8] = [
    "chat/completions",
    "completions",
    "embeddings",
    "images/generations",
    "images/edits",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
];

/// Whether an endpoint of OpenAI's API is one of a deployment.
pub(in crate::formats) fn is_of_deployment(endpoint: &str) -> bool {
    OF_DEPLOYMENTS.contains(&endpoint)
}

/// The path for an endpoint below a base that has the segments `base`.
pub(super) fn path(base: &[&str], endpoint: &str, model: &str) -> String {
    let openai = match base.last() {
        Some(&"openai") => "",
        _ => "/openai",
    };
    let deployment = if is_of_deployment(endpoint) {
        format!("/deployments/{}", path_segment(model))
    } else {
        String::new()
    };
    format!("{openai}{deployment}/{endpoint}")
}

/// A query with the version of the API in place of the caller's.
pub(super) fn query(version: &str, given: Option<&str>) -> String {
    let name = "api-version";
    let others = given.into_iter().flat_map(|given| given.split('&'));
    let others = others.filter(|one| !one.is_empty() && one.split('=').next() != Some(name));
    others.fold(format!("{name}={version}"), |query, one| query + "&" + one)
}
