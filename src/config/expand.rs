//! `${NAME}` and `${file:/path}` in strings. `$${` stands for a literal `${`.

use super::hujson::{Node, Position, Value};

/// Replaces every macro in the tree's strings; answers with those that stand for nothing.
pub(super) fn expand(
    node: &mut Node,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Vec<(Position, String)> {
    let mut unresolved = Vec::new();
    walk(node, lookup, &mut unresolved);
    unresolved
}

fn walk(
    node: &mut Node,
    lookup: &dyn Fn(&str) -> Option<String>,
    unresolved: &mut Vec<(Position, String)>,
) {
    match &mut node.value {
        Value::String(text) if text.contains("${") => {
            *text = replace(text, lookup, |name| {
                unresolved.push((node.at, name.to_owned()));
            });
        }
        Value::Array(items) => {
            for item in items {
                walk(item, lookup, unresolved);
            }
        }
        Value::Object(members) => {
            for member in members {
                walk(&mut member.node, lookup, unresolved);
            }
        }
        _ => {}
    }
}

fn replace(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    mut missing: impl FnMut(&str),
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start]);
            out.push('{');
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let Some(length) = rest[start + 2..].find('}') else {
            missing(&rest[start + 2..]);
            return out;
        };
        let name = &rest[start + 2..start + 2 + length];
        match lookup(name) {
            Some(value) => out.push_str(&value),
            None => missing(name),
        }
        rest = &rest[start + 3 + length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_replaced_once_and_missing_ones_named() {
        let lookup = |name: &str| (name == "A").then(|| "${B}".to_owned());
        let mut missing = Vec::new();
        let out = replace("x${A}y$${A}${C}${D", &lookup, |name| {
            missing.push(name.to_owned());
        });
        assert_eq!(out, "x${B}y${A}");
        assert_eq!(missing, ["C", "D"]);
    }
}
