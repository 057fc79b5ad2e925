//! Every endpoint that is for no model, in one table.

use http::Method;

use super::endpoint::{Endpoint, matched};
use super::{audit, budgets, chats, config, discover, gateway, models, openapi, records};

pub(in crate::web) const ALL: &[Endpoint] = &[
    gateway::health::HEALTH,
    gateway::health::READY,
    gateway::root::ENDPOINT,
    models::list::LIST,
    models::list::ONE,
    models::list::GEMINI_LIST,
    models::list::GEMINI_ONE,
    models::ollama::TAGS,
    models::ollama::SHOW,
    models::ollama::RUNNING,
    models::ollama::VERSION,
    models::providers::ENDPOINT,
    models::connectors::ENDPOINT,
    models::whatif::ENDPOINT,
    gateway::whoami::ENDPOINT,
    gateway::status::ENDPOINT,
    gateway::events::ENDPOINT,
    gateway::metrics::ENDPOINT,
    gateway::exporters::ENDPOINT,
    records::sessions::ENDPOINT,
    records::requests::ENDPOINT,
    records::request::ENDPOINT,
    records::capture::ENDPOINT,
    records::explanation::ENDPOINT,
    records::tools::ENDPOINT,
    records::usage::ENDPOINT,
    budgets::list::ENDPOINT,
    budgets::refill::ENDPOINT,
    config::current::GET,
    config::current::PUT,
    config::validate::ENDPOINT,
    config::older::GET,
    config::older::PUT,
    config::history::LIST,
    config::history::ONE,
    config::rollback::ENDPOINT,
    config::dry_run::ENDPOINT,
    discover::GET,
    discover::POST,
    chats::LIST,
    chats::GET,
    chats::PUT,
    chats::DELETE,
    audit::ENDPOINT,
    openapi::APERTURE,
    openapi::ALL,
];

/// The endpoint of a request, and what stands in place of the path's braces.
pub(super) fn find<'p>(method: &Method, path: &'p str) -> Option<(&'static Endpoint, &'p str)> {
    of(path).find(|(endpoint, _)| endpoint.takes(method))
}

/// The methods of a path's endpoints.
pub(super) fn methods(path: &str) -> Vec<&'static str> {
    of(path)
        .map(|(endpoint, _)| endpoint.method.as_str())
        .collect()
}

/// The endpoints of a path.
fn of(path: &str) -> impl Iterator<Item = (&'static Endpoint, &str)> {
    ALL.iter()
        .filter_map(move |endpoint| Some((endpoint, endpoint.id_in(path)?)))
}

/// The pattern that a path has, whatever the method, for those who count.
pub(super) fn pattern(path: &str) -> &'static str {
    let mut patterns = ALL.iter().flat_map(Endpoint::paths);
    match patterns.find(|pattern| matched(pattern, path).is_some()) {
        Some(pattern) => pattern,
        None if models::pricing::owns(path) => "/aperture/pricing",
        None => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_own_paths_and_ollamas_are_apart() {
        use crate::formats::Dialect;

        let paths = ALL.iter().map(|endpoint| (endpoint.name, endpoint.path));
        for (name, path) in paths.filter(|(_, path)| path.starts_with("/api/")) {
            let dialect = Dialect::of(path, &http::HeaderMap::new());
            let is_ollamas = name.starts_with("Ollama");
            assert_eq!(dialect == Dialect::Ollama, is_ollamas, "{path}");
        }
        let formats = crate::formats::ALL.iter().flat_map(|format| format.paths);
        for path in formats.filter(|path| path.starts_with("/api/")) {
            assert_eq!(Dialect::of(path, &http::HeaderMap::new()), Dialect::Ollama);
            assert!(of(path).next().is_none(), "{path}");
        }
    }

    #[test]
    fn paths_lead_to_their_endpoints() {
        let named = |path| find(&Method::GET, path).map(|(endpoint, id)| (endpoint.name, id));
        assert_eq!(named("/api/requests"), Some(("Requests", "")));
        assert_eq!(
            named("/api/requests/req_1/capture"),
            Some(("Capture", "req_1"))
        );
        assert_eq!(named("/models"), Some(("Models", "")));
        assert_eq!(named("/v1/models/a%2Fb/c"), Some(("Model", "a%2Fb/c")));
        assert_eq!(named("/v1beta/models/g"), Some(("GeminiModel", "g")));
        assert_eq!(named("/v1/models/"), None);
        for path in [
            "/api/requests/",
            "/api",
            "/api/requests/a/b",
            "//",
            "/healthz/",
        ] {
            assert_eq!(named(path), None, "{path}");
        }
    }
}
