//! What is served beside the models: listings, records, health. Everybody sees their own,
//! an admin everyone's.

mod listing;
mod pricing;
mod records;

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::access::{Permit, Role};
use crate::api;
use crate::identity::Caller;
use crate::ledger::Ledger;
use crate::rules::Rules;
use crate::tailnet::{State, Status};
use crate::wire::{Body, Rejection, body};

/// What the handlers may look at.
pub struct View<'a> {
    /// Rules in force.
    pub rules: Arc<Rules>,
    /// The records.
    pub ledger: &'a Ledger,
    /// State of the node; `None` without a tailnet.
    pub node: Option<Status>,
}

/// Answers a request that is for no model.
pub async fn handle<B>(view: View<'_>, caller: &Caller, request: &Request<B>) -> Response<Body> {
    match route(&view, caller, request).await {
        Ok(response) => response,
        Err(rejection) if pricing::owns(request.uri().path()) => {
            pricing::problem(&rejection, request.uri().path())
        }
        Err(rejection) => api::plain(&rejection),
    }
}

async fn route<B>(
    view: &View<'_>,
    caller: &Caller,
    request: &Request<B>,
) -> Result<Response<Body>, Rejection> {
    let path = request.uri().path();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(not_found(request.method(), path));
    }
    // Open to every device: they tell nothing but that the gateway runs.
    match path {
        "/healthz" => return Ok(text("ok\n")),
        "/readyz" => return ready(view),
        _ => {}
    }
    let permit = view
        .rules
        .access
        .permit(caller)
        .map_err(|none| none.rejection(caller))?;
    let query = request.uri().query().unwrap_or_default();
    match path {
        "/" => Ok(text("Iris, an AI gateway. Models: /v1/models\n")),
        "/v1/models" | "/models" => Ok(json(&listing::models(&view.rules, &permit))),
        "/api/providers" => Ok(json(&listing::providers(&view.rules, &permit))),
        "/api/whoami" => Ok(json(&whoami(caller, &permit))),
        "/api/status" => Ok(json(&status(view, &permit))),
        "/api/sessions" => records::sessions(view, caller, &permit, query).await,
        "/api/requests" => records::requests(view, caller, &permit, query).await,
        _ if pricing::owns(path) => pricing::pricing(view, &permit, path, request.headers()),
        _ => Err(not_found(request.method(), path)),
    }
}

fn ready(view: &View<'_>) -> Result<Response<Body>, Rejection> {
    let unready =
        |why: &'static str| Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why);
    if !view.ledger.healthy() {
        return Err(unready("requests cannot be recorded at the moment"));
    }
    if view
        .node
        .as_ref()
        .is_some_and(|node| node.state != State::Running)
    {
        return Err(unready("the node is not on its tailnet"));
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

fn status(view: &View<'_>, permit: &Permit) -> Value {
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ledger_healthy": view.ledger.healthy(),
        "configuration": view.rules.generation,
    });
    if permit.role() == Role::Admin {
        status["node"] = serde_json::to_value(&view.node).unwrap_or_default();
        status["findings"] = serde_json::to_value(&view.rules.findings).unwrap_or_default();
    }
    status
}

fn not_found(method: &Method, path: &str) -> Rejection {
    let shown: String = path.chars().take(200).collect();
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
