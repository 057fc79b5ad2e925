//! Keys of capability objects that let pages of other sites call models.

use super::capability::GRANTS_NOTHING;
use super::finding::{Finding, Severity};
use super::hujson::{Node, Value};
use super::table::Item;
use crate::wire::{Origin, OriginError, Tokens};

const ORIGIN: &str = "Access-Control-Allow-Origin";
const METHODS: &str = "Access-Control-Allow-Methods";
const HEADERS: &str = "Access-Control-Allow-Headers";

/// Looks at a value that is of the kind that is described.
pub(super) fn check(key: &str, item: &Item<'_>) {
    let texts = match &item.node.value {
        Value::Array(nodes) => nodes.iter().collect(),
        _ => vec![item.node],
    };
    for node in texts {
        let Value::String(text) = &node.value else {
            continue;
        };
        match key {
            ORIGIN => {
                if let Err(error) = Origin::parse(text) {
                    let any = error == OriginError::Any;
                    add(item, node, any, format!("{ORIGIN} {text:?}: {error}"));
                }
            }
            METHODS | HEADERS => {
                if let Err(error) = Tokens::parse(text) {
                    add(item, node, false, format!("{key} {text:?}: {error}"));
                }
            }
            _ => {}
        }
    }
}

/// Any origin would open every caller's budget to every site, so that a file that asks for it isn't used.
/// A mistake in the writing opens nothing.
fn add(item: &Item<'_>, node: &Node, any: bool, message: String) {
    let (severity, hint) = if any {
        (Severity::Error, "list each origin that may call models")
    } else {
        (Severity::Warning, GRANTS_NOTHING)
    };
    let finding = Finding::new(severity, node.at, &item.path, message);
    item.findings.add(finding.hint(hint));
}

/// Looks for keys that have no effect without another one.
pub(super) fn check_together(object: &Item<'_>) {
    let has = |key: &str| object.node.member(key).is_some();
    let sets = object
        .node
        .member("set_cors")
        .is_some_and(|node| matches!(node.value, Value::Bool(true)));
    if sets {
        for key in ["cors_paths", ORIGIN] {
            if !has(key) {
                object.warn(format!("set_cors allows nothing without {key:?}"));
            }
        }
        return;
    }
    for key in ["cors_paths", ORIGIN, METHODS, HEADERS] {
        if has(key) {
            object.warn(format!("{key:?} has no effect without \"set_cors\": true"));
        }
    }
}
