//! The routes for people and their programs, in one table: requests are dispatched by it, query
//! parameters are checked against it, and the `OpenAPI` description is made from it. So none of
//! the three can say what the others don't.

use http::{Method, StatusCode};

use super::table::ALL;
use crate::wire::Rejection;

/// Who a route is open to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// Every device that reaches the gateway: it tells nothing but that the gateway runs.
    Everyone,
    /// Callers with a role. Users see their own, admins everyone's.
    Role,
    /// Admins.
    Admin,
}

/// The method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Reads; HEAD does as well.
    Get,
    /// Replaces.
    Put,
    /// Does something.
    Post,
    /// Deletes.
    Delete,
}

impl Verb {
    /// Its name in a request.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    fn is(self, method: &Method) -> bool {
        method.as_str() == self.name() || (self == Self::Get && method == Method::HEAD)
    }
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Root,
    Health,
    Ready,
    Models,
    Model,
    GeminiModels,
    GeminiModel,
    Providers,
    Connectors,
    Whoami,
    Status,
    Events,
    Sessions,
    Requests,
    Request,
    Capture,
    Explain,
    WhatIf,
    Tools,
    Usage,
    Quotas,
    Refill,
    Config,
    PutConfig,
    Validate,
    OlderConfig,
    PutOlderConfig,
    Versions,
    Version,
    Rollback,
    DryRun,
    Discover,
    AddProvider,
    Chats,
    Chat,
    KeepChat,
    DeleteChat,
    Audit,
    Metrics,
    Exporters,
    ApertureOpenApi,
    OpenApi,
}

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    pub verb: Verb,
    /// Path; a segment in braces stands for any one segment, and `{model}` for all that follow.
    pub path: &'static str,
    /// Other paths for the same.
    pub aliases: &'static [&'static str],
    pub action: Action,
    pub open: Open,
    /// One sentence.
    pub about: &'static str,
    pub parameters: &'static [Parameter],
    /// Schema of the body in the description, for routes that take one.
    pub takes: Option<&'static str>,
    /// Schema of the answer in the description; `None` for plain text.
    pub answer: Option<&'static str>,
    /// Whether the answer can be had as CSV.
    pub csv: bool,
}

/// A query parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub name: &'static str,
    pub about: &'static str,
    /// It may be given more than once.
    pub many: bool,
    /// Nothing is answered without it.
    pub required: bool,
}

pub(super) const fn one(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        about,
        many: false,
        required: false,
    }
}

pub(super) const fn many(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        about,
        many: true,
        required: false,
    }
}

pub(super) const fn required(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        required: true,
        ..one(name, about)
    }
}

/// The route of a request, and what stands in place of the path's braces.
///
/// # Errors
/// When the path has no route for this method.
pub(super) fn find<'p>(method: &Method, path: &'p str) -> Result<(&'static Route, &'p str), ()> {
    let mut found = all(path).filter(|(route, _)| route.verb.is(method));
    found.next().ok_or(())
}

/// The methods of a path's routes.
pub(super) fn methods(path: &str) -> Vec<&'static str> {
    all(path).map(|(route, _)| route.verb.name()).collect()
}

/// The routes of a path.
fn all(path: &str) -> impl Iterator<Item = (&'static Route, &str)> {
    ALL.iter().filter_map(move |route| {
        let mut patterns = std::iter::once(&route.path).chain(route.aliases);
        let id = patterns.find_map(|pattern| matches(pattern, path))?;
        Some((route, id))
    })
}

/// The route that a path is of, whatever the method, for those who count.
pub(super) fn pattern(path: &str) -> &'static str {
    let known = ALL.iter().find_map(|route| {
        let mut patterns = std::iter::once(&route.path).chain(route.aliases);
        patterns.find(|pattern| matches(pattern, path).is_some())
    });
    match known {
        Some(pattern) => pattern,
        None if super::pricing::owns(path) => "/aperture/pricing",
        None => "none",
    }
}

fn matches<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    // A model's name may hold slashes.
    if let Some(before) = pattern.strip_suffix("{model}") {
        return path.strip_prefix(before).filter(|rest| !rest.is_empty());
    }
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut id = "";
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(id),
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {
                id = given;
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

/// The query parameters of a request, decoded, all of them known to its route.
///
/// # Errors
/// A 400 that names what is known, when one isn't, is given twice, or is no text.
pub(super) fn parameters(
    route: &Route,
    query: &str,
) -> Result<Vec<(&'static str, String)>, Rejection> {
    let mut read: Vec<(&'static str, String)> = Vec::new();
    // Other APIs' clients ask for pages and more that there is not.
    if !route.path.starts_with("/api/") && !route.path.starts_with("/aperture/") {
        return Ok(read);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(known) = route.parameters.iter().find(|known| known.name == name) else {
            let names: Vec<_> = route.parameters.iter().map(|known| known.name).collect();
            return Err(bad(if names.is_empty() {
                "this route takes no parameters".to_owned()
            } else {
                format!("known parameters are {}", names.join(", "))
            }));
        };
        if !known.many && read.iter().any(|(given, _)| *given == name) {
            return Err(bad(format!("`{name}` is given twice")));
        }
        read.push((known.name, decoded(name, value)?));
    }
    Ok(read)
}

/// A value without its escapes.
pub(super) fn decoded(name: &str, value: &str) -> Result<String, Rejection> {
    // The decoder leaves a broken escape as it is.
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !value.split('%').skip(1).all(is_escape) {
        return Err(bad(format!("`{name}` has a broken % escape")));
    }
    percent_encoding::percent_decode_str(&value.replace('+', " "))
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| bad(format!("`{name}` is not UTF-8")))
}

/// A request that asks for what can't be.
pub(super) fn bad(why: String) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "bad_query", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_their_routes() {
        let action = |path| {
            let found = find(&Method::GET, path).ok();
            found.map(|(route, id)| (route.action, id))
        };
        assert_eq!(action("/api/requests"), Some((Action::Requests, "")));
        assert_eq!(
            action("/api/requests/req_1/capture"),
            Some((Action::Capture, "req_1"))
        );
        assert_eq!(action("/models"), Some((Action::Models, "")));
        assert_eq!(
            action("/v1/models/a%2Fb/c"),
            Some((Action::Model, "a%2Fb/c"))
        );
        assert_eq!(action("/v1beta/models/g"), Some((Action::GeminiModel, "g")));
        assert_eq!(action("/v1/models/"), None);
        for path in [
            "/api/requests/",
            "/api",
            "/api/requests/a/b",
            "//",
            "/healthz/",
        ] {
            assert_eq!(action(path), None, "{path}");
        }
    }

    #[test]
    fn parameters_are_known_once_and_decoded() {
        let (usage, _) = find(&Method::GET, "/api/usage").unwrap();
        assert_eq!(
            parameters(usage, "model=a%2Fb&model=c+d&by=day").unwrap(),
            [
                ("model", "a/b".to_owned()),
                ("model", "c d".to_owned()),
                ("by", "day".to_owned())
            ]
        );
        for query in ["modle=a", "by=day&by=hour", "by=%ff", "by=%zz", "by=%"] {
            assert!(parameters(usage, query).is_err(), "{query}");
        }
    }
}
