//! Whether a value is of the kind that is described, for what no reader of a section takes apart.

use super::declare::{Key, Kind};
use super::finding::{Finding, Severity, Subject, meant};
use super::hujson::{Position, Value};
use super::table::Item;

/// The first thing in an item that is not of a kind.
pub(super) fn misfit(kind: Kind, item: &Item<'_>) -> Option<Finding> {
    let node = item.node;
    match (kind, &node.value) {
        (Kind::List(kind), Value::Array(nodes)) => {
            nodes.iter().enumerate().find_map(|(nth, node)| {
                let path = format!("{}[{nth}]", item.path);
                misfit(*kind, &item.inside(node, path))
            })
        }
        (Kind::Object(keys), Value::Object(_)) => object(&keys(), item),
        (Kind::Any(kinds), _) => {
            let same = kinds.iter().find(|kind| is_of(**kind, &node.value));
            same.map_or_else(|| mismatch(kind, item), |kind| misfit(*kind, item))
        }
        (Kind::Word(words), Value::String(word)) if !words.contains(&word.as_str()) => {
            let message = format!("{word:?} is not one of {}", words.join(", "));
            warning(node.at, item, message)
        }
        (kind, value) if is_of(kind, value) => None,
        (kind, _) => mismatch(kind, item),
    }
}

fn object(keys: &[Key], item: &Item<'_>) -> Option<Finding> {
    let members = item.node.members();
    for member in members {
        let Some(key) = keys.iter().find(|key| key.name == member.key) else {
            let message = format!("json: unknown field {:?}", member.key);
            let finding = warning(member.at, item, message);
            let meant = meant(&member.key, keys.iter().map(|key| key.name));
            return finding.map(|finding| match meant {
                Some(meant) => finding
                    .hint(format!("did you mean {meant:?}?"))
                    .about(Subject::Typo),
                None => finding,
            });
        };
        let path = format!("{}.{}", item.path, member.key);
        let found = misfit(key.kind, &item.inside(&member.node, path));
        if found.is_some() {
            return found;
        }
    }
    let given = |key: &Key| members.iter().any(|member| member.key == key.name);
    let missing = keys.iter().find(|key| key.required && !given(key))?;
    warning(item.node.at, item, format!("{:?} is missing", missing.name))
}

fn mismatch(kind: Kind, item: &Item<'_>) -> Option<Finding> {
    let message = format!(
        "cannot unmarshal {} into {} of type {}",
        item.node.value.kind(),
        item.path,
        json_type(kind)
    );
    warning(item.node.at, item, message)
}

#[expect(clippy::unnecessary_wraps, reason = "what its callers return")]
fn warning(at: Position, item: &Item<'_>, message: String) -> Option<Finding> {
    Some(Finding::new(Severity::Warning, at, &item.path, message))
}

fn is_of(kind: Kind, value: &Value) -> bool {
    json_type(kind) == value.kind()
}

/// The type that a value of a kind has in JSON.
fn json_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Secret | Kind::Duration | Kind::Port | Kind::Word(_) => "string",
        Kind::Flag => "bool",
        Kind::Integer(..) | Kind::Number => "number",
        Kind::List(_) => "array",
        Kind::Object(_) | Kind::Map(..) | Kind::Capabilities(_) | Kind::Prices(_) => "object",
        Kind::Any(kinds) => kinds.first().map_or("null", |kind| json_type(*kind)),
    }
}
