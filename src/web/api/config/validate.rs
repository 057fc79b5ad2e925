//! `POST /aperture/config:validate`: a configuration, checked as if it were to be saved.

use http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use super::current::ConfigText;
use super::{Proposed, check, stored_text};
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of, taken};
use crate::web::api::json;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    method: &Method::POST,
    path: "/aperture/config:validate",
    name: "Validate",
    about: "Checks a configuration as if it were to be saved.",
    body: Some(taken::<ConfigText>()),
    answer: json_of::<Validation>(),
    handler: Handler::Admin(|call| Box::pin(async move { validate(&call) })),
    ..Endpoint::GET
};

#[derive(Serialize, JsonSchema)]
struct Validation {
    valid: bool,
    errors: Vec<String>,
    /// What the caller would lose by saving it.
    warnings: Vec<String>,
    /// A save by this caller would be refused: it takes their role admin.
    loses_admin: bool,
    /// Keys that take effect at the next restart.
    restart: Vec<String>,
}

/// Warnings count, as in a save. A save that would take the role `admin` from its caller is allowed
/// here, as in Aperture, and reported beside the findings.
fn validate(call: &Call<'_>) -> Reply {
    let proposed: Proposed = call.body()?;
    let reader = call.reader;
    let stored = stored_text(reader)?.unwrap_or_default();
    let (mut lockout, mut ways, mut restart) = (None, Vec::new(), Vec::new());
    let findings = match check::compile(reader, &proposed.config, &stored) {
        Ok(change) => {
            lockout = check::lockout(&change, reader);
            ways = check::ways_lost(&change, reader, check::host(call.head));
            let warnings = &reader.engines.management.warnings;
            restart = warnings.awaiting_restart(&change.rules.file);
            check::warnings(&change)
        }
        Err(findings) => findings,
    };
    let warnings = lockout.iter().chain(&ways).map(|one| one.message.clone());
    Ok(json(&Validation {
        valid: findings.is_empty(),
        errors: findings.iter().map(ToString::to_string).collect(),
        warnings: warnings.collect(),
        loses_admin: lockout.is_some(),
        restart,
    }))
}
