//! The tools that a client offers to the model: only those that a list allows may stay.

use super::{Found, Request, blocked, spliced};
use crate::config::GuardAction;

/// What providers could read in two ways is allowed by no list.
const UNCLEAR: &str = "one that can be read in two ways";

pub(super) fn look(
    name: &str,
    action: GuardAction,
    allow: &[String],
    request: Request<'_>,
) -> Found {
    // A form has no tools.
    if request.is_form() {
        return Found::Nothing;
    }
    let body = &request.call.body;
    let offer = request.api.tools(body);
    let is_allowed = |tool: &str| allow.iter().any(|glob| matches(glob, tool));
    let mut refused: Vec<&str> = Vec::new();
    offer.names(&mut |tool| match tool {
        Some(tool) if is_allowed(tool) => {}
        Some(tool) => refused.push(tool),
        None => refused.push(UNCLEAR),
    });
    if refused.is_empty() {
        return Found::Nothing;
    }
    let shown: Vec<String> = refused
        .iter()
        .take(10)
        .map(|tool| tool.chars().take(64).collect())
        .collect();
    let what = format!("tools that are not allowed: {}", shown.join(", "));
    match (action, offer.without(&is_allowed)) {
        (GuardAction::Report, _) => Found::Reported(vec![what]),
        (GuardAction::Redact, Some(mut cuts)) => {
            cuts.sort_by_key(|cut| cut.start);
            let edits: Vec<_> = cuts.into_iter().map(|cut| (cut, String::new())).collect();
            Found::Removed(spliced(body, &edits), what)
        }
        // Of a list that offers nothing no provider makes sense.
        (GuardAction::Redact | GuardAction::Block, _) => Found::Blocked(blocked(name, &what), what),
    }
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

    fn look_at(body: &'static str, action: GuardAction, allow: &[&str]) -> Found {
        let api = crate::formats::ALL[0];
        let head = crate::formats::Head {
            path: "/v1/chat/completions",
            query: None,
            headers: &http::HeaderMap::new(),
        };
        let body = bytes::Bytes::from_static(body.as_bytes());
        let call = &api.read(&head, body).unwrap();
        let allow: Vec<String> = allow.iter().map(ToString::to_string).collect();
        let kind = "application/json";
        look(
            "g",
            action,
            &allow,
            Request {
                api,
                call,
                kind,
                pass_keys: &[],
            },
        )
    }

    #[test]
    fn what_is_not_allowed_is_stripped_or_blocks() {
        let body = r#"{"model":"m","a": 1, "tools": [ {"function":{"name":"read_file"}} , {"function":{"name":"rm"}}, {"function":{"name":"b"}}], "z":[]}"#;
        let allow = ["read_*", "b"];
        let Found::Removed(left, _) = look_at(body, GuardAction::Redact, &allow) else {
            panic!("nothing was taken out");
        };
        assert_eq!(
            left,
            r#"{"model":"m","a": 1, "tools": [ {"function":{"name":"read_file"}} , {"function":{"name":"b"}}], "z":[]}"#
        );
        let none = r#"{"model":"m","tools":[{"function":{"name":"rm"}}]}"#;
        for (action, body) in [(GuardAction::Block, body), (GuardAction::Redact, none)] {
            assert!(matches!(look_at(body, action, &allow), Found::Blocked(..)));
        }
        let unclear = r#"{"model":"m","Tools":[{"function":{"name":"b"}}]}"#;
        let Found::Blocked(rejection, _) = look_at(unclear, GuardAction::Block, &allow) else {
            panic!("it passed");
        };
        assert!(rejection.message.contains(UNCLEAR));
        let fine = r#"{"model":"m","tools":[{"function":{"name":"b"}}]}"#;
        assert!(matches!(
            look_at(fine, GuardAction::Block, &allow),
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
