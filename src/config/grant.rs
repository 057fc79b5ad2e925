//! The sections `grants` and `temp_grants`.

use std::collections::BTreeMap;

use serde_json::json;
use serde_json::value::RawValue;

use super::capability::{self, Capability, Field, GRANTS_NOTHING};
use super::cors;
use super::declare::{Kind, Section, Way};
use super::finding::{Finding, Severity, Subject, meant};
use super::headers::{header, header_problem};
use super::hujson::{Node, Position, Value};
use super::quotas::is_template;
use super::section;
use super::subjects::{self, Groups};
use super::table::{Item, Table};
use super::tailnet::CAPABILITY;
use crate::base::labels;

section! {
    /// A grant: to whom, and what.
    #[derive(Clone, Debug)]
    pub struct Grant {
        /// Logins, `group:…`, `tag:…`, `*` for every user and node of the tailnet, `(loopback)` for this machine.
        #[key(required)]
        src: Vec<String>,
        /// Capability objects, by the name of the capability.
        #[key(required)]
        app: App => Way::described(Kind::Capabilities(Capability::keys)),
    }
    beside {
        /// Where it stands.
        at: Position,
    }
}

/// Capability objects by capability name, as JSON.
type App = BTreeMap<String, Vec<Box<RawValue>>>;

/// Reads `grants`. `names` are the capability names whose objects are ours to check.
pub(super) fn read(item: &Item<'_>, names: &[String], groups: &Groups) -> Vec<Grant> {
    let items = item.items().into_iter().flatten();
    items
        .filter_map(|item| grant(item.table()?, names, groups))
        .collect()
}

fn grant(table: Table<'_>, names: &[String], groups: &Groups) -> Option<Grant> {
    let warn = |at, message: &str| table.findings.warn(at, &table.path, message);
    if table.get("dst").is_some() || table.has("dst") {
        table.error_at(
            "dst",
            "a grant of this file has no dst: it is always about this gateway",
        );
    }
    match table.get("src") {
        Some(src) => subjects::of_grant(&src, groups),
        None => warn(table.at, "this grant has no src and matches nobody"),
    }
    let app = table
        .table("app")
        .map(|capabilities| app(&capabilities, names));
    let is_whole = table.has("src") && table.has("app");
    for key in ["ip", "srcPosture"] {
        // Known, so that more can be said of it than that it is unknown.
        table.get(key);
        if is_whole && table.has(key) {
            let message = format!("{key:?} has a meaning only in the tailnet policy");
            warn(table.position(key), &message);
        }
    }
    let at = table.at;
    let read = Grant::of(table)?;
    Some(Grant {
        app: app?,
        at,
        ..read
    })
}

fn app(capabilities: &Table<'_>, names: &[String]) -> App {
    let mut app = App::new();
    for (name, item) in capabilities.named() {
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
            item.warn(format!(
                "the capability {name:?} is not among tailnet.capabilities"
            ));
        } else if !ours && let Some(meant) = meant(name, names.iter().map(String::as_str)) {
            let message = format!("the capability {name:?} is not known and grants nothing");
            let finding = Finding::new(Severity::Warning, item.node.at, &item.path, message);
            let finding = finding.hint(format!("did you mean {meant:?}?"));
            item.findings.add(finding.about(Subject::Typo));
        }
    }
    app
}

/// Aperture decodes capability objects strictly.
fn check(object: &Item<'_>) {
    let Value::Object(members) = &object.node.value else {
        let kind = object.node.value.kind();
        object.warn(format!(
            "cannot unmarshal {kind} into {} of type object",
            object.path
        ));
        return;
    };
    for member in members {
        let path = format!("{}.{}", object.path, member.key);
        let value = object.inside(&member.node, path);
        match capability::field(&member.key, &value) {
            Field::Sound => match member.key.as_str() {
                "add_headers" => add_headers(&member.node, object),
                "quotas" => quotas(&member.node, object),
                "require_labels" => required_labels(&value),
                "speaks_in" => speaks_in(&value),
                "direct_paths" => direct_paths(&value),
                _ => cors::check(&member.key, &value),
            },
            Field::Broken(finding) => {
                let mut hint = GRANTS_NOTHING.to_owned();
                if let Some(more) = &finding.hint {
                    hint = format!("{more} {hint}");
                }
                object.findings.add(finding.hint(hint));
            }
            Field::Unknown => {
                let message = format!("json: unknown field {:?}", member.key);
                let warning = Severity::Warning;
                let mut finding = Finding::new(warning, member.at, &object.path, message);
                if let Some(meant) = capability::meant_field(&member.key) {
                    finding = finding
                        .hint(format!("did you mean {meant:?}?"))
                        .about(Subject::Typo);
                }
                object.findings.add(finding);
            }
            Field::Idle => {
                let message = format!("{:?} in a grant is accepted and not yet acting", member.key);
                let note = Severity::Note;
                let finding = Finding::new(note, member.at, &object.path, message);
                object.findings.add(finding);
            }
        }
    }
    cors::check_together(object);
}

fn add_headers(node: &Node, object: &Item<'_>) {
    for entry in node.items() {
        if let Value::String(text) = &entry.value
            && let Some(problem) = header_problem(text, header(text).as_ref())
        {
            object.findings.warn(entry.at, &object.path, problem);
        }
    }
}

/// Labels that requests must have.
fn required_labels(item: &Item<'_>) {
    for entry in item.node.items() {
        if let Value::String(text) = &entry.value
            && !labels::is_required(text)
        {
            let message = format!(
                "require_labels {text:?} is neither the key of a label, such as \"project\", nor a key with \
                 a pattern, such as \"project=web-*\""
            );
            let finding = Finding::new(Severity::Warning, entry.at, &item.path, message);
            item.findings.add(finding.hint(GRANTS_NOTHING));
        }
    }
}

/// The header in which a caller names the person for whom they speak.
fn speaks_in(item: &Item<'_>) {
    if let Value::String(text) = &item.node.value
        && http::HeaderName::from_bytes(text.as_bytes()).is_err()
    {
        let message = format!("speaks_in {text:?} is not the name of a header");
        let finding = Finding::new(Severity::Warning, item.node.at, &item.path, message);
        item.findings.add(finding.hint(GRANTS_NOTHING));
    }
}

/// Paths of direct access.
fn direct_paths(item: &Item<'_>) {
    for entry in item.node.items() {
        if let Value::String(text) = &entry.value
            && !text.starts_with('/')
            && !text.starts_with("**")
        {
            let message = format!(
                "direct_paths {text:?} matches no path: expected one that begins with the provider, such as \
                 \"/openai/v1/fine_tuning/**\""
            );
            let finding = Finding::new(Severity::Warning, entry.at, &item.path, message);
            item.findings.add(finding);
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
                && !is_template(template)
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

/// Looks at whom grants of the old form name.
pub(super) fn check_legacy(item: &Item<'_>, groups: &Groups) {
    for (nth, grant) in item.node.items().iter().enumerate() {
        if let Some(src) = grant.member("src") {
            let path = format!("{}[{nth}].src", item.path);
            subjects::of_grant(&item.inside(src, path), groups);
        }
    }
}

section! {
    /// A grant of the old form, whose typed objects mean the same as today's capability objects.
    #[derive(Clone, Debug)]
    pub struct LegacyGrant {
        /// As in `grants`.
        #[key(required)]
        src: Vec<String>,
        /// What is granted.
        #[key(default = None)]
        grants: Vec<LegacyObject>,
    }
    beside {
        /// Where it stands.
        at: Position,
    }
    check: |read: LegacyGrant, table: &Table<'_>| LegacyGrant { at: table.at, ..read }
}

section! {
    /// What is granted.
    #[derive(Clone, Debug)]
    pub struct LegacyObject {
        /// As in `grants`.
        role: Option<serde_json::Value> => ROLE,
        /// Models.
        #[key(default = None)]
        providers: Vec<LegacyModel>,
        /// A hook that is asked or told.
        hook: Option<LegacyHook>,
    }
}

section! {
    /// Models of a provider.
    #[derive(Clone, Debug)]
    pub struct LegacyModel {
        /// Glob on its id.
        provider: Option<String>,
        /// Glob on its name; `*` is any.
        model: Option<String>,
    }
}

section! {
    /// A hook, in front of whose name stands what it is for.
    #[derive(Clone, Debug)]
    pub struct LegacyHook {
        /// When and for what.
        #[key(required)]
        matched as "match": Option<LegacyMatch>,
        /// Name of its definition.
        hook: Option<String>,
        /// What it is told.
        fields: Option<Vec<String>>,
    }
}

section! {
    /// When a hook is asked or told, and for what.
    #[derive(Clone, Debug)]
    pub struct LegacyMatch {
        /// Globs.
        providers: Option<Vec<String>>,
        /// Globs.
        models: Option<Vec<String>>,
        /// When.
        events: Option<Vec<String>>,
    }
}

/// A role, as it is written: the policy decides whether it is one.
const ROLE: Way<Option<serde_json::Value>> = Way::new(Kind::Word(&["user", "admin"]), |item| {
    if let Field::Broken(finding) = capability::field("role", item) {
        item.findings.add(finding);
    }
    Some(Some(item.node.value.to_json()))
});

impl LegacyGrant {
    /// The same as a grant of today.
    pub(super) fn modern(self) -> Grant {
        let objects = self.grants.into_iter().flat_map(LegacyObject::modern);
        let objects = objects.filter_map(|object| raw(&object)).collect();
        Grant {
            src: self.src,
            app: App::from([(CAPABILITY.to_owned(), objects)]),
            at: self.at,
        }
    }
}

impl LegacyObject {
    fn modern(self) -> Vec<serde_json::Value> {
        let mut objects = Vec::new();
        objects.extend(self.role.map(|role| json!({ "role": role })));
        objects.extend(self.providers.into_iter().map(|pair| {
            let provider = pair.provider.unwrap_or_default();
            // In the old form a star means any name, slashes included.
            let model = match pair.model.unwrap_or_default().as_str() {
                "*" => "**".to_owned(),
                other => other.to_owned(),
            };
            json!({ "models": format!("{provider}/{model}") })
        }));
        objects.extend(self.hook.and_then(LegacyHook::modern));
        objects
    }
}

impl LegacyHook {
    fn modern(self) -> Option<serde_json::Value> {
        let (matched, name) = (self.matched?, self.hook?);
        // One pattern is one model; lists of several are wired for everything.
        let part = |list: Option<Vec<String>>| match list.as_deref() {
            Some([one]) if one != "*" => one.clone(),
            _ => "**".to_owned(),
        };
        let (providers, models) = (part(matched.providers), part(matched.models));
        let models = match (providers.as_str(), models.as_str()) {
            ("**", "**") => "**".to_owned(),
            ("**", model) => format!("*/{model}"),
            (provider, model) => format!("{provider}/{model}"),
        };
        let wired = json!([{
            "name": name,
            "events": matched.events.unwrap_or_default(),
            "send": self.fields.unwrap_or_default(),
            "models": models,
        }]);
        Some(json!({ "send_hooks": wired }))
    }
}
