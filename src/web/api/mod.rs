//! What is served beside the models: listings, records, health. Users see their own,
//! admins everyone's. Each endpoint is one file, or one of a resource with its methods, and a
//! line in `table`.

pub(in crate::web) mod audit;
pub(in crate::web) mod budgets;
pub(in crate::web) mod chats;
pub(in crate::web) mod config;
mod csv;
pub(in crate::web) mod discover;
pub(in crate::web) mod endpoint;
pub(in crate::web) mod gateway;
pub(in crate::web) mod ledger;
pub mod models;
mod openapi;
pub(in crate::web) mod parameters;
pub(in crate::web) mod records;
mod refusal;
pub(in crate::web) mod table;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::Serialize;

use super::engines::Engines;
use super::reader::{self, Reader};
use crate::exchange::rules::Rules;
use crate::formats::{self, Dialect};
use crate::policy::identity::Caller;
use crate::web::gate::is_from_elsewhere;
use crate::wire::{Body, Rejection, body};
use endpoint::{Call, Handler, Reply};
use models::pricing;
use parameters::Given;

pub use config::version_in_file;
pub use models::list::lists_models;

/// Whose pages may load an answer.
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// Longest body of a request to a route here: a configuration, with its escapes.
const LONGEST_BODY: usize = 16 << 20;

/// Answers a request that is for no model. `origin` is the scheme and host under which the caller
/// reached the gateway.
pub async fn handle(
    engines: &Engines<'_>,
    caller: &Caller,
    origin: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let answered = answer(engines, caller, origin, &head, body).await;
    let mut response = answered.unwrap_or_else(|rejection| {
        if rejection.status == StatusCode::FORBIDDEN {
            let route = table::pattern(head.uri.path());
            let refusals = &engines.management.refusals;
            refusals.count(caller, route, rejection.code.0);
        }
        refused(&head, &rejection)
    });
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
        refusal::problem(rejection, path)
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
    let mut methods = table::methods(path);
    let is_model = |api: &&formats::Format| api.recognises(&Method::POST, path);
    if formats::ALL.iter().any(is_model) {
        methods = vec!["POST"];
    }
    methods
}

/// Whether the gateway has a route of its own for a request.
#[must_use]
pub fn has_route(method: &Method, path: &str) -> bool {
    table::find(method, path).is_some() || pricing::owns(path)
}

async fn answer(
    engines: &Engines<'_>,
    caller: &Caller,
    origin: &str,
    head: &Parts,
    body: Incoming,
) -> Reply {
    let path = head.uri.path();
    let readable = matches!(head.method, Method::GET | Method::HEAD);
    if readable && pricing::owns(path) {
        let rules = engines.gateway.rules.borrow().clone();
        let permit = reader::permitted(&rules, caller)?;
        return pricing::pricing(&rules, &permit, path, &head.headers);
    }
    let found = table::find(&head.method, path);
    let (endpoint, id) = found.ok_or_else(|| nothing(head, origin))?;
    let (handle, is_for_admins) = match endpoint.handler {
        Handler::Everyone(handle) => return handle(engines),
        Handler::Role(handle) => (handle, false),
        Handler::Admin(handle) => (handle, true),
    };
    let reader = Reader::admit(*engines, caller).await?;
    let query = head.uri.query().unwrap_or_default();
    // Other APIs' clients ask for pages and more that there is not.
    let is_own = ["/api/", "/aperture/"]
        .iter()
        .any(|below| endpoint.path.starts_with(below));
    let query = if is_own { query } else { "" };
    let given = Given::in_query(endpoint.parameters, query)?;
    given.permitted(&reader.permit)?;
    if is_for_admins {
        reader.require_admin()?;
    }
    let body = if endpoint.body.is_some() {
        read(&reader.rules, head, body).await?
    } else {
        Bytes::new()
    };
    handle(Call {
        reader: &reader,
        id,
        given: &given,
        table: table::ALL,
        head,
        body: &body,
    })
    .await
}

/// The body of a request that changes something. A browser sends none of another site's without
/// asking first: it has to be JSON, and must not come from elsewhere.
async fn read(rules: &Rules, request: &Parts, body: Incoming) -> Result<Bytes, Rejection> {
    if is_from_elsewhere(&request.headers) {
        let why = "this can't be asked for from another site";
        return Err(Rejection::new(StatusCode::FORBIDDEN, "cross_site", why));
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let unsupported = |code, why: &'static str| Err(Rejection::new(status, code, why));
    let mut kinds = request.headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = kinds.next().is_some_and(|kind| {
        let kind = kind.to_str().unwrap_or_default().split(';').next();
        kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    // A program that reads the second of two types reads another body.
    if !is_json || kinds.next().is_some() {
        let why = "the request needs the header Content-Type: application/json";
        return unsupported("wrong_content_type", why);
    }
    if request.headers.contains_key(header::CONTENT_ENCODING) {
        let why =
            "compressed request bodies are not accepted here: send it without Content-Encoding";
        return unsupported("compressed_request", why);
    }
    let bytes = body::read(body, LONGEST_BODY, rules.body_idle).await;
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

/// The refusal of a request without a route; it says what to change about the client.
fn nothing(head: &Parts, origin: &str) -> Rejection {
    let path = head.uri.path();
    let mut rejection = not_found(&head.method, path, &methods(path));
    let dialect = Dialect::of(path, &head.headers);
    let advice = if dialect.has_right_base(path) {
        Some("this gateway does not serve it".to_owned())
    } else {
        dialect.advice(origin)
    };
    if let Some(advice) = advice.filter(|_| rejection.status == StatusCode::NOT_FOUND) {
        rejection.message = format!("{}; {advice}", rejection.message).into();
    }
    rejection
}

fn not_found(method: &Method, path: &str, others: &[&str]) -> Rejection {
    let shown: String = path.chars().take(200).collect();
    if !others.is_empty() {
        let why = format!("{shown} takes {}, not {method}", others.join(" and "));
        return Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", why);
    }
    let why = format!("no route for {method} {shown}");
    Rejection::new(StatusCode::NOT_FOUND, "no_such_route", why)
}

/// A response with a body of this `Content-Type`.
fn respond(kind: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body::full(bytes));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn text(text: &'static str) -> Response<Body> {
    respond("text/plain; charset=utf-8", text)
}

fn json(value: &impl Serialize) -> Response<Body> {
    // By way of a tree, whose keys are in the order of the alphabet.
    let value = serde_json::to_value(value).unwrap_or_default();
    respond("application/json", value.to_string())
}

/// An answer with an `ETag`.
fn tagged(mut response: Response<Body>, tag: &str) -> Response<Body> {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
