//! What a configuration would change: who would gain which models, and who would lose them.

use std::collections::BTreeSet;

use http::Response;
use serde_json::{Value, json};

use super::history::diff;
use super::{Given, check, current};
use crate::access::Role;
use crate::admin::{Asked, View, records};
use crate::clock;
use crate::config::{self, File};
use crate::identity::Caller;
use crate::ledger::{Group, Report, Scope};
use crate::rules::Rules;
use crate::wire::{Body, Rejection};

/// Callers of the last days are looked at besides those whom grants name.
const DAYS: i64 = 90;
const DAY_MS: i64 = 86_400_000;

/// `POST /api/config/dry-run`.
pub(in crate::admin) async fn dry_run(
    view: &View<'_>,
    asked: &Asked<'_>,
    given: Given,
) -> Result<Response<Body>, Rejection> {
    let text = given.config.unwrap_or_default();
    let now = current(view)?.unwrap_or_default();
    let shown = config::redacted(&now).unwrap_or_default();
    let proposed = config::redacted(&text).unwrap_or_default();
    let changes = diff(&shown, &proposed);
    let change = match check(view, asked, &text) {
        Ok(change) => change,
        Err(findings) => {
            return Ok(crate::admin::json(&json!({
                "valid": false,
                "findings": findings,
                "diff": changes,
                "callers": [],
            })));
        }
    };
    let mut names = named(&view.rules.file);
    names.extend(named(&change.rules.file));
    names.extend(seen(view).await?);
    let callers: Vec<Value> = names
        .iter()
        .filter_map(|name| changed(name, &view.rules, &change.rules))
        .collect();
    Ok(crate::admin::json(&json!({
        "valid": true,
        "findings": change.rules.findings,
        "diff": changes,
        "callers": callers,
        "note": "What the tailnet policy and the tailnet's groups grant is not looked at.",
    })))
}

/// The logins and tags that grants and groups name.
fn named(file: &File) -> BTreeSet<String> {
    let sources = file.grants.iter().flat_map(|grant| &grant.src);
    let members = file.groups.values().flatten();
    sources
        .chain(members)
        .filter(|name| *name != "*" && !name.starts_with("group:"))
        .cloned()
        .collect()
}

/// The callers on record.
async fn seen(view: &View<'_>) -> Result<BTreeSet<String>, Rejection> {
    let now = clock::unix_ms();
    let tomorrow = (now.div_euclid(DAY_MS) + 1) * DAY_MS;
    let report = Report {
        groups: vec![Group::Login],
        from: tomorrow - DAYS * DAY_MS,
        to: tomorrow,
        ..Report::default()
    };
    let usage = view.ledger.usage(Scope::Everyone, report).await;
    let usage = usage.map_err(|error| records::unavailable(&error))?;
    let names = usage
        .groups
        .iter()
        .filter_map(|group| group.key.get("login"));
    Ok(names.filter(|name| !name.is_empty()).cloned().collect())
}

/// What would change for a caller; nothing if nothing would.
fn changed(name: &str, before: &Rules, after: &Rules) -> Option<Value> {
    let caller = Caller::hypothetical(name, None);
    let (role_before, had) = holds(before, &caller);
    let (role_after, has) = holds(after, &caller);
    let gains: Vec<&String> = has.difference(&had).collect();
    let loses: Vec<&String> = had.difference(&has).collect();
    if role_before == role_after && gains.is_empty() && loses.is_empty() {
        return None;
    }
    Some(json!({
        "caller": name,
        "role_before": role_before,
        "role_after": role_after,
        "gains": gains,
        "loses": loses,
    }))
}

/// A caller's role, and the models that they may use as `provider/model`.
fn holds(rules: &Rules, caller: &Caller) -> (Option<Role>, BTreeSet<String>) {
    let Ok(permit) = rules.access.permit(caller) else {
        return (None, BTreeSet::new());
    };
    let models = rules
        .routes
        .models(&permit)
        .map(|found| format!("{}/{}", found.provider.id, found.model));
    (Some(permit.role()), models.collect())
}
