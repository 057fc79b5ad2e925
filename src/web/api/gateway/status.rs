//! `GET /api/status`: how the gateway is.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::Finding;
use crate::net::tailnet;
use crate::web::alerts::Warning;
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/status",
    name: "Status",
    about: "How the gateway is; admins see its node and the findings of its configuration.",
    answer: json_of::<Status>(),
    handler: Handler::Role(|call| Box::pin(answer(call))),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
struct Status {
    version: &'static str,
    ledger_healthy: bool,
    /// Grows with each reload.
    configuration: u64,
    #[serde(flatten)]
    for_admins: Option<ForAdmins>,
}

#[derive(Serialize, JsonSchema)]
struct ForAdmins {
    /// For admins.
    #[schemars(with = "Option<Map<String, Value>>")]
    node: Option<tailnet::Status>,
    /// For admins.
    #[schemars(with = "Vec<Map<String, Value>>")]
    findings: Vec<Finding>,
    /// For admins: alerts, the gravest first.
    warnings: Vec<Warning>,
}

async fn answer(call: Call<'_>) -> Reply {
    let (reader, rules) = (call.reader, &call.reader.rules);
    let for_admins = if call.reader.is_admin() {
        Some(ForAdmins {
            node: reader.engines.node_status(),
            findings: rules.findings.clone(),
            warnings: reader.engines.alerts(rules).await,
        })
    } else {
        None
    };
    Ok(crate::web::api::json(&Status {
        version: env!("CARGO_PKG_VERSION"),
        ledger_healthy: reader.ledger().healthy(),
        configuration: rules.generation,
        for_admins,
    }))
}
