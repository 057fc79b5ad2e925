//! The routes for people and their programs, in one table: requests are dispatched by it, query
//! parameters are checked against it, and the `OpenAPI` description is made from it. So none of
//! the three can say what the others don't.

use http::{Method, StatusCode};

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
}

impl Verb {
    /// Its name in a request.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
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
    GeminiModels,
    Providers,
    Whoami,
    Status,
    Sessions,
    Requests,
    Request,
    Capture,
    Explain,
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
    /// Path; a segment in braces stands for any one segment.
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
}

const fn one(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        about,
        many: false,
    }
}

const fn many(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        about,
        many: true,
    }
}

const LIMIT: Parameter = one("limit", "Rows of a page, 1 to 1000; 100 unless given.");
const BEFORE: Parameter = one("before", "Cursor: `next` of the page before.");
const FORMAT: Parameter = one("format", "`json` (default) or `csv`.");
const LOGIN: Parameter = one("login", "Only this caller's. A user always gets their own.");
const FROM: Parameter = one(
    "from",
    "Start of the time, RFC 3339 or a UTC date; it is included.",
);
const TO: Parameter = one(
    "to",
    "End of the time, RFC 3339 or a UTC date; it is not included.",
);

const SESSIONS: &[Parameter] = &[
    LOGIN,
    one("session", "Only this session."),
    LIMIT,
    BEFORE,
    FORMAT,
];

const REQUESTS: &[Parameter] = &[
    LOGIN,
    one("node", "Only from this node, by its stable id."),
    one("session", "Only of this session."),
    one("model", "Only for this model, as the provider names it."),
    one("provider", "Only to this provider."),
    one("agent", "Only from this client program."),
    one("api", "Only in this API format."),
    one("status", "Only with this HTTP status."),
    one("outcome", "Only with this outcome."),
    one("tool", "Only those whose answer calls this tool."),
    one(
        "header",
        "Only with this header, as `name` or `name:value`; takes a grant with `filterable_headers`.",
    ),
    FROM,
    TO,
    LIMIT,
    BEFORE,
    FORMAT,
];

const USAGE: &[Parameter] = &[
    one(
        "by",
        "Dimensions to group by, with commas: day, hour, login, model, provider, agent, api, status, outcome, header.",
    ),
    many(
        "login",
        "Only these callers'. A user always gets their own.",
    ),
    many("model", "Only these models."),
    many("provider", "Only these providers."),
    many("agent", "Only these client programs."),
    many("api", "Only these API formats."),
    many("status", "Only these HTTP statuses."),
    many("outcome", "Only these outcomes."),
    one(
        "header",
        "Only with this header, as `name` or `name:value`; takes a grant with `filterable_headers`.",
    ),
    FROM,
    TO,
    FORMAT,
];

/// A route that admins do something with.
const fn act(
    verb: Verb,
    path: &'static str,
    action: Action,
    (takes, answer): (&'static str, &'static str),
    about: &'static str,
) -> Route {
    Route {
        verb,
        takes: Some(takes),
        open: Open::Admin,
        answer: Some(answer),
        ..route(path, action, about)
    }
}

const AUDIT: &[Parameter] = &[
    one("actor", "Only this caller's."),
    one("kind", "Only of this kind."),
    FROM,
    TO,
    LIMIT,
    BEFORE,
    FORMAT,
];

const fn route(path: &'static str, action: Action, about: &'static str) -> Route {
    Route {
        verb: Verb::Get,
        takes: None,
        path,
        aliases: &[],
        action,
        open: Open::Role,
        about,
        parameters: &[],
        answer: None,
        csv: false,
    }
}

/// Every route that is for no model.
pub(super) const ALL: &[Route] = &[
    Route {
        open: Open::Everyone,
        ..route("/healthz", Action::Health, "Whether the process answers.")
    },
    Route {
        open: Open::Everyone,
        ..route(
            "/readyz",
            Action::Ready,
            "Whether requests can be served: 503 while they can't.",
        )
    },
    route("/", Action::Root, "A greeting."),
    Route {
        aliases: &["/models"],
        answer: Some("ModelList"),
        ..route(
            "/v1/models",
            Action::Models,
            "The models that you may use, once for each provider; in Anthropic's form for requests with `anthropic-version`.",
        )
    },
    Route {
        aliases: &["/v1alpha/models"],
        answer: Some("GeminiModelList"),
        ..route(
            "/v1beta/models",
            Action::GeminiModels,
            "The models that you may use, in Gemini's form.",
        )
    },
    Route {
        answer: Some("ProviderList"),
        ..route(
            "/api/providers",
            Action::Providers,
            "The providers of models that you may use, the disabled ones included.",
        )
    },
    Route {
        answer: Some("Whoami"),
        ..route("/api/whoami", Action::Whoami, "Who you are taken for.")
    },
    Route {
        answer: Some("Status"),
        ..route(
            "/api/status",
            Action::Status,
            "How the gateway is; admins see its node and the findings of its configuration.",
        )
    },
    Route {
        parameters: SESSIONS,
        answer: Some("SessionPage"),
        csv: true,
        ..route("/api/sessions", Action::Sessions, "Sessions, newest first.")
    },
    Route {
        parameters: REQUESTS,
        answer: Some("RequestPage"),
        csv: true,
        ..route("/api/requests", Action::Requests, "Requests, newest first.")
    },
    Route {
        answer: Some("Request"),
        ..route(
            "/api/requests/{id}",
            Action::Request,
            "One request, with the tools that its answer called.",
        )
    },
    Route {
        answer: Some("Capture"),
        ..route(
            "/api/requests/{id}/capture",
            Action::Capture,
            "What was said: heads without credentials, and bodies.",
        )
    },
    Route {
        answer: Some("Explanation"),
        ..route(
            "/api/requests/{id}/explain",
            Action::Explain,
            "The story of a request: who its caller was taken for, and every decision with its reason.",
        )
    },
    Route {
        answer: Some("QuotaList"),
        ..route(
            "/api/quotas",
            Action::Quotas,
            "The budgets and limits that pay for you, with what they hold; admins see all that were used.",
        )
    },
    Route {
        parameters: USAGE,
        answer: Some("UsageReport"),
        csv: true,
        ..route(
            "/api/usage",
            Action::Usage,
            "Requests, tokens, cost and latency, summed up by dimension and time.",
        )
    },
    act(
        Verb::Post,
        "/api/quotas/refill",
        Action::Refill,
        ("Refill", "Quota"),
        "Adds to a bucket, at most up to its capacity.",
    ),
    Route {
        open: Open::Admin,
        answer: Some("ConfigText"),
        ..route(
            "/aperture/config",
            Action::Config,
            "The configuration without its secrets, with an `ETag`.",
        )
    },
    act(
        Verb::Put,
        "/aperture/config",
        Action::PutConfig,
        ("ConfigText", "ConfigText"),
        "Replaces the configuration that has the `ETag` in `If-Match`; placeholders stand for the secrets that are stored.",
    ),
    act(
        Verb::Post,
        "/aperture/config:validate",
        Action::Validate,
        ("ConfigText", "Validation"),
        "Checks a configuration as if it were to be saved.",
    ),
    Route {
        open: Open::Admin,
        answer: Some("OlderConfig"),
        ..route(
            "/api/config",
            Action::OlderConfig,
            "The configuration in the form that Aperture had before.",
        )
    },
    act(
        Verb::Put,
        "/api/config",
        Action::PutOlderConfig,
        ("OlderChange", "Saved"),
        "Replaces the configuration that has `hash`.",
    ),
    Route {
        open: Open::Admin,
        answer: Some("VersionList"),
        ..route(
            "/api/config/history",
            Action::Versions,
            "The versions of the configuration that were in force, newest first.",
        )
    },
    Route {
        open: Open::Admin,
        answer: Some("Version"),
        ..route(
            "/api/config/history/{id}",
            Action::Version,
            "One version, with what it changed and what going back to it would change.",
        )
    },
    act(
        Verb::Post,
        "/api/config/rollback",
        Action::Rollback,
        ("Rollback", "Saved"),
        "Goes back to a version; secrets are those of the file as it is now.",
    ),
    act(
        Verb::Post,
        "/api/config/dry-run",
        Action::DryRun,
        ("ConfigText", "DryRun"),
        "What a configuration would change: its text, and who would gain and lose which models.",
    ),
    Route {
        open: Open::Admin,
        parameters: AUDIT,
        answer: Some("AuditPage"),
        csv: true,
        ..route(
            "/api/audit",
            Action::Audit,
            "What admins did and looked at, and who was refused, newest first.",
        )
    },
    route(
        "/metrics",
        Action::Metrics,
        "Counters for Prometheus; takes a grant with `read_metrics`.",
    ),
    Route {
        open: Open::Admin,
        answer: Some("ExporterList"),
        ..route(
            "/api/exporters",
            Action::Exporters,
            "How exporters do: what waits, what arrived last, and what failed.",
        )
    },
    route(
        "/aperture/openapi.json",
        Action::ApertureOpenApi,
        "The routes of Aperture's own API, in OpenAPI 3.1.",
    ),
    route(
        "/api/openapi.json",
        Action::OpenApi,
        "This description, in OpenAPI 3.1.",
    ),
];

/// The route of a request, and what stands in place of the path's braces.
///
/// # Errors
/// The methods that the path has, if it has any.
pub(super) fn find<'p>(
    method: &Method,
    path: &'p str,
) -> Result<(&'static Route, &'p str), Vec<&'static str>> {
    let mut others = Vec::new();
    for route in ALL {
        let mut patterns = std::iter::once(&route.path).chain(route.aliases);
        let Some(id) = patterns.find_map(|pattern| matches(pattern, path)) else {
            continue;
        };
        if route.verb.is(method) {
            return Ok((route, id));
        }
        others.push(route.verb.name());
    }
    Err(others)
}

fn matches<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
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
