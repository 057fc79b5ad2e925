//! The tools that a client offers to the model, in the form of each API: only those that a list
//! allows may stay.

use bytes::Bytes;

use super::{Found, blocked, spliced};
use crate::config::GuardAction;
use crate::wire::json;

/// A list of tools in a body: where it stands, and its elements with their names.
struct Offered {
    at: std::ops::Range<usize>,
    /// Where each element stands in the body, and how its tool is called. One without a name is
    /// called by its type, as those that a provider has itself.
    tools: Vec<(std::ops::Range<usize>, String)>,
}

pub(super) fn look(name: &str, action: GuardAction, allow: &[String], body: &Bytes) -> Found {
    let offered = offered(body);
    let is_allowed = |tool: &str| allow.iter().any(|glob| matches(glob, tool));
    let refused: Vec<&str> = offered
        .iter()
        .flat_map(|list| &list.tools)
        .map(|(_, tool)| tool.as_str())
        .filter(|tool| !is_allowed(tool))
        .collect();
    if refused.is_empty() {
        return Found::Nothing;
    }
    let shown: Vec<String> = refused
        .iter()
        .take(10)
        .map(|tool| tool.chars().take(64).collect())
        .collect();
    let what = format!("tools that are not allowed: {}", shown.join(", "));
    let leaves_none = offered
        .iter()
        .any(|list| list.tools.iter().all(|(_, tool)| !is_allowed(tool)));
    match action {
        GuardAction::Report => Found::Reported(format!("guard {name} has found {what}")),
        // A list that offers nothing is none that providers take.
        GuardAction::Redact if !leaves_none => {
            let edits: Vec<_> = offered
                .iter()
                .map(|list| {
                    let kept: Vec<&str> = list
                        .tools
                        .iter()
                        .filter(|(_, tool)| is_allowed(tool))
                        .filter_map(|(at, _)| std::str::from_utf8(&body[at.clone()]).ok())
                        .collect();
                    (list.at.clone(), format!("[{}]", kept.join(",")))
                })
                .collect();
            Found::Removed(
                spliced(body, &edits),
                format!("guard {name} has taken out {what}"),
            )
        }
        GuardAction::Redact | GuardAction::Block => Found::Blocked(
            blocked(name, &what),
            format!("guard {name} blocks it for {what}"),
        ),
    }
}

/// The lists of tools of a body, in its order.
fn offered(body: &[u8]) -> Vec<Offered> {
    let Ok(top) = json::scan(body, &["tools", "functions", "toolConfig"]) else {
        return Vec::new();
    };
    let mut lists = Vec::new();
    for at in [top.get(0), top.get(1)].into_iter().flatten() {
        lists.extend(list(body, at));
    }
    if let Some(config) = top.get(2)
        && let Ok(inner) = json::scan(&body[config.clone()], &["tools"])
        && let Some(at) = inner.get(0)
    {
        lists.extend(list(body, at.start + config.start..at.end + config.start));
    }
    lists.sort_by_key(|list| list.at.start);
    lists
}

/// One list; Gemini's holds lists of its own.
fn list(body: &[u8], at: std::ops::Range<usize>) -> Vec<Offered> {
    let Some(elements) = json::elements(&body[at.clone()]) else {
        return Vec::new();
    };
    let mut tools = Vec::new();
    let mut nested = Vec::new();
    for element in elements {
        let element = element.start + at.start..element.end + at.start;
        let value: serde_json::Value =
            serde_json::from_slice(&body[element.clone()]).unwrap_or_default();
        let inner = ["functionDeclarations", "function_declarations"];
        if inner.iter().any(|key| value[*key].is_array()) {
            if let Ok(fields) = json::scan(&body[element.clone()], &inner) {
                for found in [fields.get(0), fields.get(1)].into_iter().flatten() {
                    let found = found.start + element.start..found.end + element.start;
                    nested.extend(list(body, found));
                }
            }
            continue;
        }
        let names = [
            &value["name"],
            &value["function"]["name"],
            &value["toolSpec"]["name"],
            &value["type"],
        ];
        let named = names.into_iter().find_map(serde_json::Value::as_str);
        // Gemini's own tools are called by their only key.
        let key = || {
            value
                .as_object()
                .and_then(|object| object.keys().next().cloned())
        };
        let tool = named.map(str::to_owned).or_else(key).unwrap_or_default();
        tools.push((element, tool));
    }
    if nested.is_empty() {
        return vec![Offered { at, tools }];
    }
    nested
}

/// Whether a glob names a tool: a star stands for anything.
fn matches(glob: &str, tool: &str) -> bool {
    let mut pieces = glob.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = tool.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in middle {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(body: &str) -> Vec<String> {
        offered(body.as_bytes())
            .into_iter()
            .flat_map(|list| list.tools.into_iter().map(|(_, name)| name))
            .collect()
    }

    #[test]
    fn tools_are_found_in_each_form() {
        for (body, expected) in [
            (
                r#"{"tools":[{"type":"function","function":{"name":"a"}},{"type":"web_search"}]}"#,
                vec!["a", "web_search"],
            ),
            (
                r#"{"tools":[{"name":"a","input_schema":{}},{"type":"bash_20250124","name":"bash"}]}"#,
                vec!["a", "bash"],
            ),
            (
                r#"{"tools":[{"functionDeclarations":[{"name":"a"},{"name":"b"}]}]}"#,
                vec!["a", "b"],
            ),
            (
                r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"a"}}]}}"#,
                vec!["a"],
            ),
            (r#"{"functions":[{"name":"a"}]}"#, vec!["a"]),
            (r#"{"tools":[{"googleSearch":{}}]}"#, vec!["googleSearch"]),
            (r#"{"tools":null}"#, vec![]),
            ("{}", vec![]),
        ] {
            assert_eq!(names(body), expected, "{body}");
        }
    }

    #[test]
    fn what_is_not_allowed_is_stripped_or_blocks() {
        let allow = ["read_*".to_owned(), "b".to_owned()];
        let body = Bytes::from_static(
            br#"{"a": 1, "tools": [ {"name":"read_file"} , {"name":"rm"}, {"name":"b"}], "z":[]}"#,
        );
        let Found::Removed(left, _) = look("g", GuardAction::Redact, &allow, &body) else {
            panic!("nothing was taken out");
        };
        assert_eq!(
            left,
            &br#"{"a": 1, "tools": [{"name":"read_file"},{"name":"b"}], "z":[]}"#[..]
        );
        let none = Bytes::from_static(br#"{"tools":[{"name":"rm"}]}"#);
        for (action, body) in [(GuardAction::Block, &body), (GuardAction::Redact, &none)] {
            assert!(matches!(
                look("g", action, &allow, body),
                Found::Blocked(..)
            ));
        }
        let fine = Bytes::from_static(br#"{"tools":[{"name":"b"}]}"#);
        assert!(matches!(
            look("g", GuardAction::Block, &allow, &fine),
            Found::Nothing
        ));
    }

    #[test]
    fn globs() {
        for (glob, tool, expected) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axc", false),
            ("abc", "abcd", false),
            ("ab*bc", "abc", false),
        ] {
            assert_eq!(matches(glob, tool), expected, "{glob} {tool}");
        }
    }
}
