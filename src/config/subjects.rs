//! Who a list names: `src` of grants, and members of `groups`. A name that can match no caller is
//! found, because a grant that matches nobody looks like one that works.

use std::collections::BTreeMap;

use super::finding::{Finding, Severity, meant};
use super::table::Item;

/// Groups of the configuration, and their members.
pub(super) type Groups = BTreeMap<String, Vec<String>>;

/// What stands in front of a colon in a name.
const PREFIXES: [&str; 4] = ["tag:", "group:", "autogroup:", "external:"];

/// Groups that Tailscale defines (<https://tailscale.com/kb/1396/targets#autogroups>).
const AUTOGROUPS: [&str; 10] = [
    "admin",
    "auditor",
    "billing-admin",
    "it-admin",
    "member",
    "network-admin",
    "owner",
    "self",
    "shared",
    "tagged",
];

/// Words that stand for a person in instructions, and match nobody.
const PLACEHOLDERS: [&str; 14] = [
    "me",
    "you",
    "myself",
    "user",
    "username",
    "login",
    "admin",
    "root",
    "anyone",
    "everyone",
    "everybody",
    "all",
    "any",
    "nobody",
];

const LOGIN: &str = "write a login as the tailnet shows it, such as alice@github";

/// Looks for names that can't be meant in a grant.
pub(super) fn of_grant(list: &Item<'_>, groups: &Groups) {
    each(list, |name| {
        if let Some(found) = common(name) {
            return Some(found);
        }
        if let Some(found) = name.strip_prefix("autogroup:").and_then(autogroup) {
            return Some(found);
        }
        if !name.starts_with("group:") || groups.contains_key(name) {
            return None;
        }
        if let Some(near) = meant(name, groups.keys().map(String::as_str)) {
            let message = format!("{name:?} is not among `groups`");
            return Some(warning(message, format!("did you mean {near:?}?")));
        }
        let message = format!("{name:?} is not among `groups`");
        let hint = "it matches callers only if the control server reports this group, which \
            Tailscale and Headscale don't do; define it in `groups`, or grant it in the tailnet policy";
        Some(note(message, hint))
    });
}

/// The same for members of a group of the configuration.
pub(super) fn of_group(list: &Item<'_>) {
    each(list, |name| {
        if name == "*" {
            let message = "\"*\" in a group matches nobody".to_owned();
            return Some(warning(message, "write \"*\" in the src of the grant"));
        }
        if name.starts_with("group:") || name.starts_with("autogroup:") {
            let message = format!("{name:?} in a group matches nobody: a group holds no groups");
            return Some(warning(
                message,
                "name its members, or name it in the grant",
            ));
        }
        common(name)
    });
}

/// What is wrong with a name.
struct Problem {
    severity: Severity,
    message: String,
    hint: String,
}

fn warning(message: String, hint: impl Into<String>) -> Problem {
    Problem {
        severity: Severity::Warning,
        message,
        hint: hint.into(),
    }
}

fn note(message: String, hint: impl Into<String>) -> Problem {
    Problem {
        severity: Severity::Note,
        ..warning(message, hint)
    }
}

fn each(list: &Item<'_>, look: impl Fn(&str) -> Option<Problem>) {
    // A list of another type has its finding already.
    for (nth, entry) in list.node.items().iter().enumerate() {
        let super::hujson::Value::String(name) = &entry.value else {
            continue;
        };
        if let Some(found) = look(name) {
            let path = format!("{}[{nth}]", list.path);
            let finding = Finding::new(found.severity, entry.at, path, found.message);
            list.findings.add(finding.hint(found.hint));
        }
    }
}

/// What is wrong with a name wherever it stands.
fn common(name: &str) -> Option<Problem> {
    let nobody = |what: &str| format!("{name:?} {what} and matches nobody");
    if name.is_empty() {
        return Some(warning(nobody("is empty"), LOGIN));
    }
    let is_odd = |char: char| char.is_whitespace() || char.is_control() || char == '\u{200b}';
    if name.contains(is_odd) {
        let what = "holds white space or an invisible character";
        return Some(warning(
            nobody(what),
            "write the name alone, one name in each entry",
        ));
    }
    if matches!(name, "*" | "(loopback)") {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let (user, domain) = lower.split_once('@').unwrap_or((&lower, ""));
    if PLACEHOLDERS.contains(&&*lower) {
        let hint = format!(
            "{LOGIN}; \"*\" is every user and node of the tailnet, \"(loopback)\" this machine"
        );
        return Some(warning(nobody("is a placeholder"), hint));
    }
    if matches!(
        user,
        "localhost" | "loopback" | "(localhost)" | "(loopback)"
    ) && domain.is_empty()
    {
        return Some(warning(
            nobody("is not a name"),
            "did you mean \"(loopback)\"?",
        ));
    }
    if is_address(name) {
        let hint =
            "grants name people and tags, not addresses: write the login or the tag of the device";
        return Some(warning(nobody("is an address"), hint));
    }
    if let Some((prefix, rest)) = name.split_once(':') {
        return prefixed(name, prefix, rest);
    }
    if name.contains('*') {
        let hint = "only \"*\" alone has a meaning, which is every user and node of the tailnet";
        return Some(warning(nobody("is a pattern"), hint));
    }
    if !name.contains('@') {
        let message = format!("{name:?} has no @: it matches only a user with exactly this login");
        let hint = format!("{LOGIN}, or tag:NAME for devices with a tag");
        return Some(note(message, hint));
    }
    let is_example = ["example.com", "example.org", "example.net"].contains(&domain);
    let is_you = ["you", "me", "user", "username", "your-name", "yourname"].contains(&user);
    let message = format!("{name:?} is the example of the documentation");
    let hint = "write your login as the tailnet shows it";
    (is_example && is_you).then(|| note(message, hint))
}

fn prefixed(name: &str, prefix: &str, rest: &str) -> Option<Problem> {
    let nobody = |what: &str| format!("{name:?} {what} and matches nobody");
    let known = PREFIXES
        .iter()
        .find(|known| known.trim_end_matches(':') == prefix);
    if known.is_some() && !rest.is_empty() {
        // A login of another tailnet is a login.
        return (prefix == "external" && !rest.contains('@')).then(|| {
            let hint = "write external: and the login, such as external:alice@github";
            warning(nobody("has no login behind external:"), hint)
        });
    }
    if known.is_some() {
        return Some(warning(nobody("has no name behind the colon"), LOGIN));
    }
    let hint = if prefix == "user" && !rest.contains('*') {
        format!("did you mean {rest:?}?")
    } else if let Some(near) = meant(prefix, PREFIXES.map(|known| known.trim_end_matches(':'))) {
        format!("did you mean \"{near}:{rest}\"?")
    } else {
        "write a login, or a name that begins with tag:, group:, autogroup: or external:".to_owned()
    };
    Some(warning(nobody("begins with an unknown word"), hint))
}

fn autogroup(rest: &str) -> Option<Problem> {
    if rest.is_empty() || AUTOGROUPS.contains(&rest) {
        return None;
    }
    let message = format!("\"autogroup:{rest}\" is not a group that Tailscale defines");
    let hint = match meant(rest, AUTOGROUPS) {
        Some(near) => format!("did you mean \"autogroup:{near}\"?"),
        None => format!("known are {}", AUTOGROUPS.join(", ")),
    };
    Some(note(message, hint))
}

/// An address, or a range of them.
fn is_address(name: &str) -> bool {
    let (address, bits) = name.split_once('/').unwrap_or((name, "0"));
    let address = address.trim_start_matches('[').trim_end_matches(']');
    bits.parse::<u8>().is_ok() && address.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use crate::config::{Severity, parse};

    /// What is said of a name in the `src` of a grant, or in a group.
    fn said(name: &str, in_group: bool) -> Vec<(Severity, String)> {
        let quoted = serde_json::to_string(name).unwrap();
        let grant = |src: &str| {
            format!(
                r#"{{"src":[{src}],"app":{{"tailscale.com/cap/aperture":[{{"role":"admin"}},{{"models":"**"}}]}}}}"#
            )
        };
        let (member, src) = if in_group {
            (quoted.as_str(), "\"group:ml\"")
        } else {
            ("\"alice@github\"", quoted.as_str())
        };
        let text = format!(
            r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["m"]}}}},
                "groups":{{"group:ml":[{member}],"group:dev":["bob@github"]}},"grants":[{}]}}"#,
            grant(src)
        );
        let findings = parse(&text, &|_| None).unwrap().findings;
        let expected = if in_group {
            "groups.group:ml[0]"
        } else {
            "grants[0].src[0]"
        };
        findings
            .into_iter()
            .map(|one| {
                assert_eq!(one.path, expected, "{one:?}");
                let hint = one.hint.unwrap_or_default();
                (one.severity, format!("{}; {hint}", one.message))
            })
            .collect()
    }

    #[test]
    fn names_that_match_callers_are_fine() {
        for name in [
            "alice@github",
            "alice@corp.test",
            "tag:ci",
            "(loopback)",
            "external:eve@x.org",
        ] {
            assert_eq!(said(name, false), []);
            assert_eq!(said(name, true), []);
        }
        for name in ["*", "group:ml", "autogroup:member"] {
            assert_eq!(said(name, false), []);
        }
    }

    #[test]
    fn names_that_match_nobody_are_found_wherever_they_stand() {
        use Severity::{Note, Warning};
        for (name, severity, says) in [
            ("me", Warning, "placeholder"),
            ("Everyone", Warning, "placeholder"),
            ("", Warning, "is empty"),
            ("you@example.com", Note, "example of the documentation"),
            ("tagg:x", Warning, "did you mean \"tag:x\"?"),
            ("Tag:ci", Warning, "did you mean \"tag:ci\"?"),
            (
                "user:alice@github",
                Warning,
                "did you mean \"alice@github\"?",
            ),
            ("svc:web", Warning, "begins with an unknown word"),
            ("tag:", Warning, "no name behind the colon"),
            ("external:eve", Warning, "external:alice@github"),
            ("alice", Note, "has no @"),
            (" alice@github", Warning, "white space"),
            (
                "alice@github, bob@github",
                Warning,
                "one name in each entry",
            ),
            ("*@corp.test", Warning, "is a pattern"),
            ("localhost", Warning, "did you mean \"(loopback)\"?"),
            ("100.64.0.7", Warning, "is an address"),
            ("fd7a:115c:a1e0::/48", Warning, "is an address"),
        ] {
            for in_group in [false, true] {
                let found = said(name, in_group);
                let [(as_bad, text)] = found.as_slice() else {
                    panic!("{name:?} {in_group}: {found:?}");
                };
                assert_eq!(*as_bad, severity, "{name}: {text}");
                assert!(text.contains(says), "{name}: {text}");
            }
        }
    }

    #[test]
    fn groups_are_told_from_those_that_nobody_defined() {
        use Severity::{Note, Warning};
        for (name, in_group, severity, says) in [
            ("group:nope", false, Note, "is not among `groups`"),
            ("group:dve", false, Warning, "did you mean \"group:dev\"?"),
            (
                "autogroup:membr",
                false,
                Note,
                "did you mean \"autogroup:member\"?",
            ),
            ("group:dev", true, Warning, "a group holds no groups"),
            ("autogroup:member", true, Warning, "a group holds no groups"),
            ("*", true, Warning, "in a group matches nobody"),
        ] {
            let found = said(name, in_group);
            let [(as_bad, text)] = found.as_slice() else {
                panic!("{name:?}: {found:?}");
            };
            assert_eq!(*as_bad, severity, "{name}: {text}");
            assert!(text.contains(says), "{name}: {text}");
        }
    }
}
