//! What is served beside the models: listings, records, health. Everybody sees their own,
//! an admin everyone's.

pub(crate) mod audit;
pub(crate) mod chats;
pub(crate) mod config;
mod control;
mod csv;
pub(crate) mod discover;
pub(crate) mod explain;
pub(crate) mod listing;
mod live;
mod models;
pub(crate) mod openapi;
pub(crate) mod outlets;
mod pricing;
mod query;
pub(crate) mod quotas;
pub(crate) mod records;
mod routes;
mod table;
pub(crate) mod tools;
pub(crate) mod usage;
pub mod whatif;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::exchange::hooks::Tally;
use crate::exchange::rules::Rules;
use crate::formats::{self, Dialect};
use crate::net::client::Client;
use crate::net::listen::is_from_elsewhere;
use crate::net::tailnet::Resolver;
use crate::net::tailnet::{State, Status, TroubleKind};
use crate::policy::access::{Permit, Role};
use crate::policy::identity::Caller;
use crate::policy::route::Traffic;
use crate::records::balances::Quotas;
use crate::records::metrics::Metrics;
use crate::records::outlets::Board;
use crate::records::{Ledger, Scope};
use crate::web::alerts::{Signals, Warning, Warnings};
use crate::wire::{Body, Rejection, body};
use routes::{Action, Open, Route};

pub use audit::Refusals;
pub use config::version_in_file;
pub use control::{Control, Saved};
pub use live::Listeners;

/// What the handlers may look at.
pub struct View<'a> {
    /// Rules in force.
    pub rules: Arc<Rules>,
    /// The records.
    pub ledger: &'a Ledger,
    /// Balances of budgets.
    pub quotas: &'a Quotas,
    /// What is known of providers.
    pub traffic: &'a Traffic,
    /// The configuration's file.
    pub control: &'a Arc<Control>,
    /// Who was refused.
    pub refusals: &'a Refusals,
    /// What is counted.
    pub metrics: &'a Metrics,
    /// How exporters do.
    pub board: &'a Board,
    /// Alerts.
    pub warnings: &'a Warnings,
    /// Events that alerts are computed from.
    pub signals: &'a Signals,
    /// Connections to others.
    pub upstream: &'a Client,
    /// Held while model servers are looked for.
    pub looking: &'a tokio::sync::Mutex<()>,
    /// Open event streams.
    pub listeners: &'a Arc<Listeners>,
    /// Scheme and host under which the caller reached the gateway.
    pub origin: &'a str,
    /// How often hooks were called.
    pub tally: &'a Tally,
    /// Knows the callers of the tailnet; `None` without one.
    pub resolver: Option<&'a Resolver>,
    /// State of the node; `None` without a tailnet.
    pub node: Option<Status>,
}

/// A request of a caller with a role, to a route of the table.
pub(crate) struct Asked<'a> {
    caller: &'a Caller,
    permit: &'a Permit,
    /// The keys of the caller's records.
    own: Vec<String>,
    /// What stands in place of the path's braces; empty for a path without.
    id: &'a str,
    parameters: Vec<(&'static str, String)>,
}

impl<'a> Asked<'a> {
    /// A question to a route, once all that the route demands is met.
    fn new(
        ledger: &Ledger,
        (caller, permit): (&'a Caller, &'a Permit),
        (route, id): (&Route, &'a str),
        query: &str,
    ) -> Result<Self, Rejection> {
        let asked = Self {
            caller,
            permit,
            own: ledger.keys_of(caller.key()),
            id,
            parameters: routes::parameters(route, query)?,
        };
        query::permitted(&asked.parameters, permit)?;
        if route.open == Open::Admin && permit.role() != Role::Admin {
            return Err(Rejection::new(
                StatusCode::FORBIDDEN,
                "not_admin",
                "access denied: admin role required",
            ));
        }
        Ok(asked)
    }

    /// The question that a page puts to the route at `path`: it is told what a program that asks
    /// there would be told, and refused where that would be.
    ///
    /// # Errors
    /// Those of the route.
    pub(crate) fn by_page(
        ledger: &Ledger,
        (caller, permit): (&'a Caller, &'a Permit),
        path: &'a str,
        query: &str,
    ) -> Result<Self, Rejection> {
        let found = routes::find(&Method::GET, path)
            .map_err(|()| not_found(&Method::GET, path, &routes::methods(path)))?;
        Self::new(ledger, (caller, permit), found, query)
    }

    /// Whose records the answer may hold.
    pub(crate) fn scope(&self) -> Scope {
        records::scope(&self.own, self.permit)
    }
}

/// Whose pages may load an answer.
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// Longest body of a request to a route here: a configuration, with its escapes.
const LONGEST_BODY: usize = 16 << 20;

/// Answers a request that is for no model.
pub async fn handle<B>(view: View<'_>, caller: &Caller, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let (head, body) = request.into_parts();
    let mut response = match route(&view, caller, &head, body).await {
        Ok(response) => response,
        Err(rejection) => {
            if rejection.status == StatusCode::FORBIDDEN {
                let route = routes::pattern(head.uri.path());
                view.refusals.count(caller, route, rejection.code.0);
            }
            refused(&head, &rejection)
        }
    };
    // Not even that there is a gateway is for another site's page, which could load an answer as
    // an image, a script or a frame.
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A refusal in the shape of the API that the path belongs to.
fn refused(head: &Parts, rejection: &Rejection) -> Response<Body> {
    let path = head.uri.path();
    let mut response = if path.starts_with("/aperture/") {
        pricing::problem(rejection, path)
    } else {
        Dialect::of(path, &head.headers).refuse(rejection)
    };
    if rejection.status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = methods(path).join(", ");
        if let Ok(allowed) = HeaderValue::from_str(&allowed) {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
    }
    response
}

/// The methods that a path has, those of models included.
fn methods(path: &str) -> Vec<&'static str> {
    let mut methods = routes::methods(path);
    let is_model = |api: &&formats::Format| api.recognises(&Method::POST, path);
    if formats::ALL.iter().any(is_model) {
        methods = vec!["POST"];
    }
    methods
}

/// Whether the gateway has a route of its own for a request.
#[must_use]
pub fn has_route(method: &Method, path: &str) -> bool {
    routes::find(method, path).is_ok() || pricing::owns(path)
}

async fn route<B>(
    view: &View<'_>,
    caller: &Caller,
    request: &Parts,
    body: B,
) -> Result<Response<Body>, Rejection>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let path = request.uri.path();
    let readable = matches!(request.method, Method::GET | Method::HEAD);
    if readable && pricing::owns(path) {
        let permit = permitted(view, caller)?;
        return pricing::pricing(view, &permit, path, &request.headers);
    }
    let (route, id) = routes::find(&request.method, path).map_err(|()| nothing(view, request))?;
    if route.open == Open::Everyone {
        return match route.action {
            Action::Ready => ready(view),
            _ => Ok(text("ok\n")),
        };
    }
    let permit = permitted(view, caller)?;
    let query = request.uri.query().unwrap_or_default();
    records::take_earlier(view.ledger, caller).await;
    let asked = Asked::new(view.ledger, (caller, &permit), (route, id), query)?;
    if route.takes.is_some() {
        return act(view, &asked, route.action, request, body).await;
    }
    let (rules, permit) = (&view.rules, &permit);
    match route.action {
        Action::Health | Action::Ready => ready(view),
        Action::Root => Ok(text("Iris, an AI gateway. Models: /v1/models\n")),
        Action::Models | Action::GeminiModels => Ok(json(&models::list(view, permit, request)?)),
        Action::Model | Action::GeminiModel => {
            Ok(json(&models::one(view, permit, request, asked.id)?))
        }
        Action::Providers => Ok(json(&listing::providers(rules, permit, view.traffic))),
        Action::Connectors => Ok(json(&json!({ "connectors": [] }))),
        Action::Whoami => Ok(json(&whoami(caller, permit))),
        Action::Status => Ok(json(&status(view, permit).await)),
        Action::Chats => chats::list(view, &asked).await,
        Action::Chat => chats::chat(view, &asked).await,
        Action::DeleteChat => chats::delete(view, &asked, &request.headers).await,
        Action::Events => live::events(view, &asked),
        Action::Sessions => records::sessions(view, &asked).await,
        Action::Requests => records::requests(view, &asked).await,
        Action::Request => records::request(view, &asked).await,
        Action::Explain => explain::explain(view, &asked).await,
        Action::WhatIf => whatif::explain(view, &asked).await,
        Action::Tools => tools::tools(view, &asked).await,
        Action::Quotas => quotas::quotas(view, &asked).await,
        Action::Capture => records::capture(view, &asked).await,
        Action::Usage => usage::usage(view, &asked).await,
        Action::Config => config::aperture_config(view),
        Action::OlderConfig => config::older_config(view),
        Action::Versions => config::versions(view).await,
        Action::Version => config::version(view, &asked).await,
        Action::Audit => audit::audit(view, &asked).await,
        Action::Discover => discover::discover(view, &asked).await,
        Action::Metrics => outlets::metrics(view, permit),
        Action::Exporters => outlets::exporters(view).await,
        Action::ApertureOpenApi => Ok(json(&openapi::aperture())),
        Action::OpenApi => Ok(json(&openapi::document())),
        // They take a body.
        Action::Refill
        | Action::AddProvider
        | Action::KeepChat
        | Action::PutConfig
        | Action::Validate
        | Action::PutOlderConfig
        | Action::Rollback
        | Action::DryRun => Err(not_found(&request.method, path, &[])),
    }
}

/// Does what changes something.
async fn act<B>(
    view: &View<'_>,
    asked: &Asked<'_>,
    action: Action,
    request: &Parts,
    body: B,
) -> Result<Response<Body>, Rejection>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let bytes = given(view, request, body).await?;
    match action {
        Action::Refill => quotas::refill(view, asked, read(&bytes)?).await,
        Action::PutConfig => {
            config::put_aperture_config(view, asked, &request.headers, read(&bytes)?).await
        }
        Action::PutOlderConfig => config::put_older_config(view, asked, read(&bytes)?).await,
        Action::Validate => {
            let host = config::check::host(&request.uri, &request.headers);
            config::validate(view, asked, host, &read(&bytes)?)
        }
        Action::DryRun => {
            let host = config::check::host(&request.uri, &request.headers);
            config::dry_run(view, asked, host, read(&bytes)?).await
        }
        Action::Rollback => config::rollback(view, asked, read(&bytes)?).await,
        Action::KeepChat => chats::keep(view, asked, &request.headers, read(&bytes)?).await,
        Action::AddProvider => discover::add(view, asked, &request.headers, &read(&bytes)?).await,
        _ => Err(not_found(&request.method, request.uri.path(), &[])),
    }
}

/// The body of a request that changes something. A browser sends none of another site's without
/// asking first: it has to be JSON, and must not come from elsewhere.
async fn given<B>(view: &View<'_>, request: &Parts, body: B) -> Result<Bytes, Rejection>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if is_from_elsewhere(&request.headers) {
        return Err(Rejection::new(
            StatusCode::FORBIDDEN,
            "cross_site",
            "this can't be asked for from another site",
        ));
    }
    let mut kinds = request.headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = kinds.next().is_some_and(|kind| {
        let kind = kind.to_str().unwrap_or_default().split(';').next();
        kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    // A program that reads the second of two types reads another body.
    if !is_json || kinds.next().is_some() {
        return Err(Rejection::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "wrong_content_type",
            "the request needs the header Content-Type: application/json",
        ));
    }
    if request.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Rejection::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "compressed_request",
            "compressed request bodies are not accepted here: send it without Content-Encoding",
        ));
    }
    let bytes = body::read(body, LONGEST_BODY, view.rules.body_idle).await;
    bytes.map_err(|error| {
        let status = match error {
            body::ReadError::Full(full) => return full.into(),
            body::ReadError::TooLarge { .. } | body::ReadError::OverMemory { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            body::ReadError::Stalled => StatusCode::REQUEST_TIMEOUT,
            body::ReadError::Broken(_) => StatusCode::BAD_REQUEST,
        };
        Rejection::new(status, "body_unreadable", error.to_string())
    })
}

/// A body as what its route takes; a key that stands there twice is refused.
fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Rejection> {
    let bad = |why: String| {
        let why = format!("the request body is not acceptable: {why}");
        Rejection::new(StatusCode::BAD_REQUEST, "invalid_request", why)
    };
    crate::wire::json::scan(bytes, &[]).map_err(|error| bad(error.to_string()))?;
    serde_json::from_slice(bytes).map_err(|error| {
        let why = error.to_string();
        // A value that has the wrong type can be a secret all the same.
        let wanted = why
            .starts_with("invalid ")
            .then(|| why.rsplit_once("expected "));
        bad(match wanted.flatten() {
            Some((_, wanted)) => format!("a value is not {wanted}"),
            None => why,
        })
    })
}

pub(crate) fn permitted(view: &View<'_>, caller: &Caller) -> Result<Permit, Rejection> {
    let permit = view.rules.access.permit(caller);
    permit.map_err(|none| none.rejection(caller))
}

fn ready(view: &View<'_>) -> Result<Response<Body>, Rejection> {
    let unready = |why: String| Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why);
    if !view.ledger.healthy() {
        return Err(unready("requests cannot be recorded right now".to_owned()));
    }
    let Some(node) = &view.node else {
        return Ok(text("ready\n"));
    };
    let trouble = node.trouble.as_ref();
    let is_unknown = trouble.is_some_and(|trouble| trouble.kind == TroubleKind::Unknown);
    if node.state != State::Running || is_unknown {
        let why = trouble.map_or_else(String::new, |trouble| {
            format!(": {}", crate::web::alerts::words(trouble))
        });
        return Err(unready(format!("the node is not on its tailnet{why}")));
    }
    if node.is_stale {
        let why = "the control server has not been heard for longer than tailnet.stale_after";
        return Err(unready(why.to_owned()));
    }
    Ok(text("ready\n"))
}

fn whoami(caller: &Caller, permit: &Permit) -> Value {
    json!({
        "login": caller.name(),
        "node_id": caller.node_id(),
        "node_name": caller.node_name(),
        "tags": caller.tags(),
        "groups": caller.groups(),
        "picture": caller.picture(),
        "role": permit.role(),
    })
}

/// Alerts, for admins.
pub(crate) async fn warnings(view: &View<'_>) -> Vec<Warning> {
    view.warnings.all(&view.rules, view.node.as_ref()).await
}

async fn status(view: &View<'_>, permit: &Permit) -> Value {
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ledger_healthy": view.ledger.healthy(),
        "configuration": view.rules.generation,
    });
    if permit.role() == Role::Admin {
        status["node"] = serde_json::to_value(&view.node).unwrap_or_default();
        status["warnings"] = serde_json::to_value(warnings(view).await).unwrap_or_default();
        status["findings"] = serde_json::to_value(&view.rules.findings).unwrap_or_default();
    }
    status
}

/// There is no route for a request: says what to change about the client.
fn nothing(view: &View<'_>, request: &Parts) -> Rejection {
    let path = request.uri.path();
    let mut rejection = not_found(&request.method, path, &methods(path));
    let dialect = Dialect::of(path, &request.headers);
    let advice = if dialect.has_right_base(path) {
        Some("this gateway does not serve it".to_owned())
    } else {
        dialect.advice(view.origin)
    };
    if let Some(advice) = advice.filter(|_| rejection.status == StatusCode::NOT_FOUND) {
        rejection.message = format!("{}; {advice}", rejection.message).into();
    }
    rejection
}

fn not_found(method: &Method, path: &str, others: &[&str]) -> Rejection {
    let shown: String = path.chars().take(200).collect();
    if !others.is_empty() {
        return Rejection::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("{shown} takes {}, not {method}", others.join(" and ")),
        );
    }
    Rejection::new(
        StatusCode::NOT_FOUND,
        "no_such_route",
        format!("no route for {method} {shown}"),
    )
}

fn text(text: &'static str) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn json(value: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(value.to_string()));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
