//! `POST /api/config/dry-run`: who would gain what by a configuration, and who would lose it.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::check::{compile, host, lockout, warnings, ways_lost};
use super::current::ConfigText;
use super::history::diff;
use super::{Proposed, stored_text};
use crate::base::clock;
use crate::config::{self, File, Finding};
use crate::exchange::rules::Rules;
use crate::policy::access::Role;
use crate::policy::identity::Caller;
use crate::records::{Group, Report, Scope};
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of, taken};
use crate::web::api::json;
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    method: &Method::POST,
    path: "/api/config/dry-run",
    name: "DryRun",
    about: "What a configuration would change: its text, and who would gain and lose which models.",
    body: Some(taken::<ConfigText>()),
    answer: json_of::<DryRun>(),
    handler: Handler::Admin(|call| Box::pin(dry_run(call))),
    ..Endpoint::GET
};

/// Callers of the last days are looked at besides those whom grants name.
const DAYS: i64 = 90;
const DAY_MS: i64 = 86_400_000;
/// Callers that are looked at.
const CALLERS: usize = 2_000;
const NOTE: &str = "Where `policy` is false, what the tailnet's policy and groups grant the caller is \
    not known and not looked at.";

#[derive(Default, Serialize, JsonSchema)]
struct DryRun {
    valid: bool,
    #[schemars(with = "Vec<Map<String, Value>>")]
    findings: Vec<Finding>,
    diff: String,
    callers: Vec<Change>,
    truncated: bool,
    #[schemars(skip_serializing_if = "always")]
    loses_admin: bool,
    /// Keys that take effect at the next restart.
    #[schemars(skip_serializing_if = "always")]
    restart: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    note: Option<&'static str>,
}

/// What would change for a caller.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
struct Change {
    caller: String,
    /// Whether what the tailnet's policy grants is included.
    policy: bool,
    #[schemars(with = "Option<String>")]
    role_before: Option<Role>,
    #[schemars(with = "Option<String>")]
    role_after: Option<Role>,
    gains: Vec<String>,
    loses: Vec<String>,
    other_gains: Vec<String>,
    other_loses: Vec<String>,
}

async fn dry_run(call: Call<'_>) -> Reply {
    let proposed: Proposed = call.body()?;
    let reader = call.reader;
    let stored = stored_text(reader)?.unwrap_or_default();
    let shown = |text| config::redacted(text).unwrap_or_default();
    let diff = diff(&shown(&stored), &shown(&proposed.config));
    let change = match compile(reader, &proposed.config, &stored) {
        Ok(change) => change,
        Err(findings) => {
            return Ok(json(&DryRun {
                findings,
                diff,
                ..DryRun::default()
            }));
        }
    };
    let lockout = lockout(&change, reader);
    let valid = lockout.is_none() && warnings(&change).is_empty();
    let loses_admin = lockout.is_some();
    let alerts = &reader.engines.management.warnings;
    let restart = alerts.awaiting_restart(&change.rules.file);
    let mut findings = change.rules.findings.clone();
    findings.extend(lockout);
    findings.extend(ways_lost(&change, reader, host(call.head)));
    let known = reader
        .engines
        .resolver
        .map(|resolver| resolver.known(CALLERS));
    let mut names = named(&reader.rules.file);
    names.extend(named(&change.rules.file));
    names.extend(seen(reader).await?);
    let before = Arc::clone(&reader.rules);
    // For many callers and models this takes a while.
    let compared = tokio::task::spawn_blocking(move || {
        compare(known.unwrap_or_default(), names, &before, &change.rules)
    })
    .await;
    let (callers, truncated) = compared.map_err(|error| {
        let why = format!("the comparison broke off: {error}");
        Rejection::new(StatusCode::INTERNAL_SERVER_ERROR, "not_compared", why)
    })?;
    Ok(json(&DryRun {
        valid,
        findings,
        diff,
        callers,
        truncated,
        loses_admin,
        restart,
        note: Some(NOTE),
    }))
}

/// What would change for whom, and whether some were not looked at. Callers that were seen
/// on the tailnet lately are taken with what its policy grants them, others by their names alone.
fn compare(
    known: Vec<Arc<Caller>>,
    mut names: BTreeSet<String>,
    before: &Rules,
    after: &Rules,
) -> (Vec<Change>, bool) {
    let mut rows = Vec::new();
    let room = CALLERS.saturating_sub(known.len());
    for caller in known {
        names.remove(caller.name());
        let row = changed(&caller, true, before, after);
        // One caller's nodes mostly have the same.
        rows.extend(row.filter(|row| !rows.contains(row)));
    }
    let truncated = names.len() > room;
    for name in names.iter().take(room) {
        let caller = Caller::hypothetical(name, None);
        rows.extend(changed(&caller, false, before, after));
    }
    (rows, truncated)
}

/// The logins and tags that grants and groups name.
fn named(file: &File) -> BTreeSet<String> {
    let sources = file.grants.iter().flat_map(|grant| &grant.src);
    let members = file.groups.values().flatten();
    sources
        .chain(members)
        // `*` stands for those whom nothing else names.
        .filter(|name| !name.starts_with("group:") && !name.starts_with("autogroup:"))
        .cloned()
        .collect()
}

/// The callers on record.
async fn seen(reader: &Reader<'_>) -> Result<BTreeSet<String>, Rejection> {
    let now = clock::unix_ms();
    let tomorrow = (now.div_euclid(DAY_MS) + 1) * DAY_MS;
    let report = Report {
        groups: vec![Group::Login],
        from: tomorrow - DAYS * DAY_MS,
        to: tomorrow,
        ..Report::default()
    };
    let usage = reader.ledger().usage(Scope::Everyone, report).await?;
    let names = usage
        .groups
        .iter()
        .filter_map(|group| group.key.get("login"));
    Ok(names.filter(|name| !name.is_empty()).cloned().collect())
}

/// What would change for a caller; nothing if nothing would.
fn changed(caller: &Caller, policy: bool, before: &Rules, after: &Rules) -> Option<Change> {
    let (had, has) = (Holding::of(before, caller), Holding::of(after, caller));
    if had == has {
        return None;
    }
    let without =
        |one: &BTreeSet<String>, other: &BTreeSet<String>| one.difference(other).cloned().collect();
    Some(Change {
        caller: caller.name().to_owned(),
        policy,
        role_before: had.role,
        role_after: has.role,
        gains: without(&has.models, &had.models),
        loses: without(&had.models, &has.models),
        other_gains: without(&has.others, &had.others),
        other_loses: without(&had.others, &has.others),
    })
}

/// What a caller holds.
#[derive(Default, PartialEq)]
struct Holding {
    role: Option<Role>,
    /// As `provider/model`.
    models: BTreeSet<String>,
    others: BTreeSet<String>,
}

impl Holding {
    fn of(rules: &Rules, caller: &Caller) -> Self {
        let Ok(permit) = rules.access.permit(caller) else {
            return Self::default();
        };
        let models = rules
            .routes
            .models(&permit)
            .map(|found| format!("{}/{}", found.provider.id, found.model));
        Self {
            role: Some(permit.role()),
            models: models.collect(),
            others: permit.besides_models(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::identity::{User, WhoIs};

    /// Two providers; callers that `src` names may use the models of `models`.
    fn rules(src: &str, models: &str) -> Rules {
        let text = format!(
            r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["m"]}},"q":{{"baseurl":"http://q","models":["m"]}}}},
            "grants":[{{"src":["{src}"],"app":{{"tailscale.com/cap/aperture":[{{"role":"user"}},{{"models":"{models}"}}]}}}}]}}"#
        );
        Rules::compile(config::parse(&text, &|_| None).unwrap(), 1)
    }

    /// Ann on her laptop, to whom the tailnet grants the models of `q`.
    fn ann() -> Caller {
        let object = serde_json::value::RawValue::from_string(r#"{"models":"q/**"}"#.into());
        let who = WhoIs {
            stable_id: "n1".into(),
            node_name: "laptop".into(),
            node_fqdn: "laptop.tail.test".into(),
            tags: Vec::new(),
            addresses: Vec::new(),
            user: Some(User {
                id: 1,
                login: "ann@x.org".into(),
                display_name: String::new(),
                picture: None,
            }),
            capabilities: [(config::CAPABILITY.into(), vec![object.unwrap()])].into(),
            expired: false,
            authorized: true,
            unsigned: false,
            jailed: false,
            wireguard_only: false,
            shared_in: false,
            key_expiry: None,
            groups: Vec::new(),
        };
        Caller::from_whois(who).unwrap()
    }

    #[test]
    fn who_is_known_is_looked_at_with_what_the_tailnet_grants() {
        let ann = Arc::new(ann());
        let (before, after) = (rules("*", "p/**"), rules("*", "*/m"));
        let names = || ["ann@x.org", "bob@x.org"].map(str::to_owned).into();
        // She has both either way.
        let (rows, truncated) = compare(vec![Arc::clone(&ann)], names(), &before, &after);
        assert!(!truncated && rows.len() == 1, "{rows:?}");
        assert_eq!((&*rows[0].caller, rows[0].policy), ("bob@x.org", false));
        assert_eq!(rows[0].gains, ["q/m"]);
        // On two devices she is one row.
        let nobody = rules("zoe@x.org", "**");
        let (rows, _) = compare(vec![Arc::clone(&ann), ann], names(), &before, &nobody);
        let roles = rows.iter().map(|row| (&*row.caller, row.role_after));
        let gone = [("ann@x.org", None), ("bob@x.org", None)];
        assert_eq!(roles.collect::<Vec<_>>(), gone);
    }

    #[test]
    fn everyone_else_is_somebody_too() {
        let names = || named(&rules("*", "p/**").file);
        assert!(names().contains("*"));
        let (rows, _) = compare(
            Vec::new(),
            names(),
            &rules("*", "p/**"),
            &rules("*", "q/**"),
        );
        assert_eq!(rows[0].caller, "*");
        assert_eq!(rows[0].loses, ["p/m"]);
    }

    #[test]
    fn so_many_are_looked_at_and_no_more() {
        let names = (0..=CALLERS).map(|nth| format!("{nth}@x.org")).collect();
        let (rows, truncated) =
            compare(Vec::new(), names, &rules("*", "p/**"), &rules("*", "q/**"));
        assert!(truncated);
        assert_eq!(rows.len(), CALLERS);
    }
}
