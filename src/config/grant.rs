//! The sections `grants` and `temp_grants`.

use std::collections::BTreeMap;

use serde_json::json;
use serde_json::value::RawValue;

use super::file::{CAPABILITY, Grant};
use super::finding::{Subject, meant};
use super::hujson::{Node, Value};
use super::provider::{header, is_unsendable, name_only, unlikely_credential};
use super::schema::{Field, capability_field, meant_field};
use super::subjects::{self, Groups};
use super::table::{Item, Table};

/// Reads `grants`. `names` are the capability names whose objects are ours to check.
pub(super) fn read(item: &Item<'_>, names: &[String], groups: &Groups) -> Vec<Grant> {
    let Some(items) = item.items() else {
        return Vec::new();
    };
    items
        .filter_map(|item| grant(item.table()?, names, groups))
        .collect()
}

fn grant(table: Table<'_>, names: &[String], groups: &Groups) -> Option<Grant> {
    if table.has("dst") {
        table.findings.error(
            table.position("dst"),
            &table.path,
            "a grant of this file has no dst: it is always about this gateway",
        );
    }
    table.get("dst");
    let src = table.get("src");
    if src.is_none() {
        table.findings.warn(
            table.at,
            &table.path,
            "this grant has no src and matches nobody",
        );
    }
    let mut app = BTreeMap::new();
    let capabilities = table.table("app");
    let has_app = capabilities.is_some();
    for (name, item) in capabilities.iter().flat_map(Table::named) {
        let Some(objects) = item.items() else {
            continue;
        };
        let ours = names.iter().any(|known| known == name);
        let objects = objects
            .filter_map(|object| {
                if ours {
                    check(&object);
                }
                raw(&object.node.value.to_json())
            })
            .collect();
        app.insert(name.to_owned(), objects);
        if !ours && name.ends_with("/cap/aperture") {
            let message = format!("the capability {name:?} is not among tailnet.capabilities");
            item.findings.warn(item.node.at, &item.path, message);
        } else if !ours && let Some(meant) = meant(name, names.iter().map(String::as_str)) {
            let message = format!("the capability {name:?} is not known and grants nothing");
            let warning = super::Severity::Warning;
            let finding = super::Finding::new(warning, item.node.at, &item.path, message);
            let finding = finding.hint(format!("did you mean {meant:?}?"));
            item.findings.add(finding.about(Subject::Typo));
        }
    }
    if let Some(src) = &src {
        subjects::of_grant(src, groups);
    }
    let src = src.and_then(|item| item.strings()).unwrap_or_default();
    if table.has("src") && table.has("app") {
        for key in ["ip", "srcPosture"] {
            if table.has(key) {
                table.findings.warn(
                    table.position(key),
                    &table.path,
                    format!("{key:?} has a meaning only in the tailnet policy"),
                );
            }
        }
    }
    table.get("ip");
    table.get("srcPosture");
    let at = table.at;
    table.finish();
    has_app.then_some(Grant { src, app, at })
}

/// Aperture decodes capability objects strictly.
fn check(object: &Item<'_>) {
    let Value::Object(members) = &object.node.value else {
        let kind = object.node.value.kind();
        let message = format!(
            "cannot unmarshal {kind} into {} of type object",
            object.path
        );
        object.findings.warn(object.node.at, &object.path, message);
        return;
    };
    for member in members {
        let value = Item {
            node: &member.node,
            path: format!("{}.{}", object.path, member.key),
            findings: object.findings,
        };
        match capability_field(&member.key, &value) {
            Field::Sound => match member.key.as_str() {
                "add_headers" => add_headers(&member.node, object),
                "quotas" => quotas(&member.node, object),
                _ => {}
            },
            Field::Broken(finding) => {
                let mut hint = "until this is fixed, this object grants nothing".to_owned();
                if let Some(more) = &finding.hint {
                    hint = format!("{more} {hint}");
                }
                object.findings.add(finding.hint(hint));
            }
            Field::Unknown if !member.key.starts_with("Access-Control-Allow-") => {
                let message = format!("json: unknown field {:?}", member.key);
                let warning = super::Severity::Warning;
                let mut finding = super::Finding::new(warning, member.at, &object.path, message);
                if let Some(meant) = meant_field(&member.key) {
                    finding = finding
                        .hint(format!("did you mean {meant:?}?"))
                        .about(Subject::Typo);
                }
                object.findings.add(finding);
            }
            Field::Idle | Field::Unknown => {
                let message = format!("{:?} in a grant is accepted and not yet acting", member.key);
                let note = super::Severity::Note;
                let finding = super::Finding::new(note, member.at, &object.path, message);
                object.findings.add(finding);
            }
        }
    }
}

fn add_headers(node: &Node, object: &Item<'_>) {
    let Value::Array(entries) = &node.value else {
        return;
    };
    for entry in entries {
        let Value::String(text) = &entry.value else {
            continue;
        };
        if let Some(header) = header(text) {
            if let Some(problem) = unlikely_credential(&header) {
                let name = name_only(text);
                let message = format!("the value of the add_headers entry \"{name}\" {problem}");
                object.findings.warn(entry.at, &object.path, message);
            }
        } else {
            let what = if is_unsendable(text) {
                "holds a line break or another character that no header can carry"
            } else {
                "must be in \"Header-Name: value\" format"
            };
            let message = format!("add_headers entry \"{}\" {what}", name_only(text));
            object.findings.warn(entry.at, &object.path, message);
        }
    }
}

/// References to buckets: what follows a colon stands for the caller, as in their definitions.
fn quotas(node: &Node, object: &Item<'_>) {
    let references = node.value.to_json();
    let references = references.as_array().map(Vec::as_slice).unwrap_or_default();
    for (nth, reference) in references.iter().enumerate() {
        let overdraft = reference["overdraft"].as_array().into_iter().flatten();
        let names = std::iter::once(&reference["bucket"]).chain(overdraft);
        for name in names.filter_map(serde_json::Value::as_str) {
            if let Some((_, template)) = name.split_once(':')
                && !matches!(template, "<user>" | "<node>")
            {
                // As Aperture counts: the grant, the object in it, and the reference.
                let place = |at: Option<&str>| {
                    let digits = at.and_then(|rest| rest.split(']').next());
                    digits.unwrap_or_default().to_owned()
                };
                let grant = place(object.path.split('[').nth(1));
                let within = place(object.path.rsplit('[').next());
                let message = format!(
                    "grants[{grant}] grant {within} quotas[{nth}]: bucket ref \"{name}\" has \
                     unsupported template \"{template}\" after colon"
                );
                let path = format!("{}.quotas[{nth}]", object.path);
                object.findings.warn(node.at, &path, message);
            }
        }
    }
}

fn raw(value: &serde_json::Value) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

/// A hook of the old form, in which what it is for stands beside its name.
fn legacy_hook(hook: Table<'_>) -> Option<serde_json::Value> {
    let matched = hook.table("match")?;
    let names = |key| matched.strings(key).unwrap_or_default();
    let (providers, models) = (names("providers"), names("models"));
    let name = hook.string("hook")?;
    // One pattern is one model; lists of several are wired for everything.
    let part = |list: &[String]| match list {
        [one] if one != "*" => one.clone(),
        _ => "**".to_owned(),
    };
    let models = match (part(&providers).as_str(), part(&models).as_str()) {
        ("**", "**") => "**".to_owned(),
        ("**", model) => format!("*/{model}"),
        (provider, model) => format!("{provider}/{model}"),
    };
    let wired = json!([{
        "name": name,
        "events": names("events"),
        "send": hook.strings("fields").unwrap_or_default(),
        "models": models,
    }]);
    matched.finish();
    hook.finish();
    Some(json!({ "send_hooks": wired }))
}

/// Reads `temp_grants`, whose typed objects mean the same as today's capability objects.
pub(super) fn read_legacy(item: &Item<'_>, groups: &Groups) -> Vec<Grant> {
    let Some(items) = item.items() else {
        return Vec::new();
    };
    items
        .filter_map(|item| {
            let table = item.table()?;
            if let Some(src) = table.get("src") {
                subjects::of_grant(&src, groups);
            }
            let src = table.strings("src").unwrap_or_default();
            let mut objects = Vec::new();
            for entry in table
                .get("grants")
                .and_then(|item| item.items())
                .into_iter()
                .flatten()
            {
                let Some(entry) = entry.table() else { continue };
                if let Some(item) = entry.get("role") {
                    if let Field::Broken(finding) = capability_field("role", &item) {
                        item.findings.add(finding);
                    }
                    let role = item.node.value.to_json();
                    objects.extend(raw(&json!({ "role": role })));
                }
                let providers = entry.get("providers").and_then(|item| item.items());
                for pair in providers.into_iter().flatten() {
                    let Some(pair) = pair.table() else { continue };
                    let provider = pair.string("provider").unwrap_or_default();
                    // In the old form a star means any name, slashes included.
                    let model = match pair.string("model").unwrap_or_default().as_str() {
                        "*" => "**".to_owned(),
                        other => other.to_owned(),
                    };
                    objects.extend(raw(&json!({ "models": format!("{provider}/{model}") })));
                    pair.finish();
                }
                if let Some(hook) = entry.table("hook") {
                    objects.extend(legacy_hook(hook).and_then(|object| raw(&object)));
                }
                entry.finish();
            }
            let at = table.at;
            table.finish();
            Some(Grant {
                src,
                app: BTreeMap::from([(CAPABILITY.to_owned(), objects)]),
                at,
            })
        })
        .collect()
}
