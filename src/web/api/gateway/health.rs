//! `GET /healthz` and `GET /readyz`, for whatever watches the process.

use http::StatusCode;

use crate::net::tailnet::{State, TroubleKind};
use crate::web::alerts;
use crate::web::api::endpoint::{Endpoint, Handler, Reply};
use crate::web::api::text;
use crate::web::engines::Engines;
use crate::wire::Rejection;

pub(in crate::web::api) const HEALTH: Endpoint = Endpoint {
    path: "/healthz",
    name: "Health",
    about: "Whether the process answers.",
    handler: Handler::Everyone(|_| Ok(text("ok\n"))),
    ..Endpoint::GET
};

pub(in crate::web::api) const READY: Endpoint = Endpoint {
    path: "/readyz",
    name: "Ready",
    about: "Whether requests can be served: 503 while they can't.",
    handler: Handler::Everyone(ready),
    ..Endpoint::GET
};

fn ready(engines: &Engines<'_>) -> Reply {
    let unready = |why: String| Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why);
    if !engines.gateway.ledger.healthy() {
        return Err(unready("requests cannot be recorded right now".to_owned()));
    }
    let Some(node) = engines.node_status() else {
        return Ok(text("ready\n"));
    };
    let trouble = node.trouble.as_ref();
    let is_unknown = trouble.is_some_and(|trouble| trouble.kind == TroubleKind::Unknown);
    if node.state != State::Running || is_unknown {
        let why = trouble.map_or_else(String::new, |trouble| {
            format!(": {}", alerts::words(trouble))
        });
        return Err(unready(format!("the node is not on its tailnet{why}")));
    }
    if node.is_stale {
        let why = "the control server has not been heard for longer than tailnet.stale_after";
        return Err(unready(why.to_owned()));
    }
    Ok(text("ready\n"))
}
