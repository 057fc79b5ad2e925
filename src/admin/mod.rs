//! What is served beside the models: listings, records, health. Everybody sees their own,
//! an admin everyone's.

mod csv;
mod explain;
mod listing;
mod openapi;
mod pricing;
mod query;
mod quotas;
mod records;
mod routes;
mod usage;

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::access::{Permit, Role};
use crate::api;
use crate::identity::Caller;
use crate::ledger::{Ledger, Scope};
use crate::quota::Quotas;
use crate::route::Traffic;
use crate::rules::Rules;
use crate::tailnet::{State, Status};
use crate::wire::{Body, Rejection, body};
use routes::{Action, Open};

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
    /// State of the node; `None` without a tailnet.
    pub node: Option<Status>,
}

/// A request of somebody with a role, to a route of the table.
struct Asked<'a> {
    caller: &'a Caller,
    permit: &'a Permit,
    /// What stands in place of the path's braces; empty for a path without.
    id: &'a str,
    parameters: Vec<(&'static str, String)>,
}

impl Asked<'_> {
    /// Whose records the answer may hold.
    fn scope(&self) -> Scope {
        records::scope(self.caller, self.permit)
    }
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
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    if readable && pricing::owns(path) {
        let permit = permitted(view, caller)?;
        return pricing::pricing(view, &permit, path, request.headers());
    }
    let Some((route, id)) = routes::find(path).filter(|_| readable) else {
        return Err(not_found(request.method(), path));
    };
    if route.open == Open::Everyone {
        return match route.action {
            Action::Ready => ready(view),
            _ => Ok(text("ok\n")),
        };
    }
    let permit = permitted(view, caller)?;
    let asked = Asked {
        caller,
        permit: &permit,
        id,
        parameters: routes::parameters(route, request.uri().query().unwrap_or_default())?,
    };
    query::permitted(&asked.parameters, &permit)?;
    let (rules, permit) = (&view.rules, &permit);
    match route.action {
        Action::Health | Action::Ready => ready(view),
        Action::Root => Ok(text("Iris, an AI gateway. Models: /v1/models\n")),
        Action::Models if request.headers().contains_key("anthropic-version") => {
            Ok(json(&listing::anthropic_models(rules, permit)))
        }
        Action::Models => Ok(json(&listing::models(rules, permit))),
        Action::GeminiModels => Ok(json(&listing::gemini_models(rules, permit))),
        Action::Providers => Ok(json(&listing::providers(rules, permit, view.traffic))),
        Action::Whoami => Ok(json(&whoami(caller, permit))),
        Action::Status => Ok(json(&status(view, permit))),
        Action::Sessions => records::sessions(view, &asked).await,
        Action::Requests => records::requests(view, &asked).await,
        Action::Request => records::request(view, &asked).await,
        Action::Explain => explain::explain(view, &asked).await,
        Action::Quotas => quotas::quotas(view, &asked).await,
        Action::Capture => records::capture(view, &asked).await,
        Action::Usage => usage::usage(view, &asked).await,
        Action::OpenApi => Ok(json(&openapi::document())),
    }
}

fn permitted(view: &View<'_>, caller: &Caller) -> Result<Permit, Rejection> {
    let permit = view.rules.access.permit(caller);
    permit.map_err(|none| none.rejection(caller))
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
