//! Alerts about the node: why it isn't on its tailnet, how old what it knows of the tailnet is, and
//! whether it is found under the name that it should have.

use super::{Severity, Warning, counted, ends, warning};
use crate::config::{Mode, Tailnet};
use crate::net::tailnet::{SILENCE, State, Status, Trouble, TroubleKind};

/// A node that can't join is given this long, in milliseconds: much is over after a moment.
const STARTING_MS: i64 = 5_000;
/// One that is about to, and has met no trouble.
const JOINING_MS: i64 = 10_000;
/// How long it may be cut off from its control server: one that restarts is back sooner.
const CUT_OFF_MS: i64 = 60_000;
/// Longest quotation of a control server.
const MAX_WORDS: usize = 300;

/// Alerts about a node that is configured so.
pub(super) fn warnings(node: &Status, config: &Tailnet, now: i64) -> Vec<Warning> {
    let state = state(node, now);
    let is_running = state.is_none() && node.state == State::Running;
    let mut found: Vec<Warning> = state.into_iter().collect();
    if is_running {
        found.extend(silence(node, now));
        found.extend(name(node, config));
    }
    found.extend(key_expiry(node, now));
    found
}

/// What a control server says, in one line that is short enough to be read.
#[must_use]
pub fn words(trouble: &Trouble) -> String {
    let text = trouble.message.split_whitespace();
    let text = text.collect::<Vec<_>>().join(" ");
    let mut words: String = text.chars().take(MAX_WORDS).collect();
    if words.len() < text.len() {
        words.push('…');
    }
    words
}

/// The same behind a colon; empty where nothing is known.
fn reason(node: &Status) -> String {
    let trouble = node.trouble.as_ref();
    trouble.map_or_else(String::new, |trouble| format!(": {}", words(trouble)))
}

fn state(node: &Status, now: i64) -> Option<Warning> {
    let kind = node.trouble.as_ref().map(|trouble| trouble.kind);
    let is_unknown = kind == Some(TroubleKind::Unknown);
    let patience = match node.state {
        State::Starting | State::NoState | State::NeedsLogin if kind.is_none() => JOINING_MS,
        _ => STARTING_MS,
    };
    let is_down = node.down_since.is_some_and(|at| now - at >= patience);
    if node.state == State::Running && !is_unknown || node.state != State::Running && !is_down {
        return None;
    }
    let (kind, message, hint) = match node.state {
        _ if is_unknown => (
            "node_unknown",
            "the control server doesn't know this node any more, so callers can't reach the gateway",
            "Iris joins again with tailnet.auth_key, or shows a link to sign in at; set a valid key, or use the link",
        ),
        State::NeedsLogin if node.auth_url.is_some() => (
            "node_signed_out",
            "the node is signed out of its tailnet, so callers can't reach the gateway",
            "sign in with the link that the log and the page Connection show",
        ),
        _ if kind == Some(TroubleKind::Refused) => (
            "node_refused",
            "the control server doesn't let the node in",
            "set a new auth key as tailnet.auth_key, one that isn't used up and may have the tags of \
             tailnet.tags, and restart Iris; without a key, Iris shows a link to sign in at",
        ),
        State::NeedsLogin | State::Starting | State::NoState | State::Running => (
            "node_not_joined",
            "the node has not joined its tailnet, so callers can't reach the gateway",
            "check that the control server (tailnet.control_url) runs and that this machine can \
             reach it; Iris keeps trying",
        ),
        State::NeedsMachineAuth => (
            "node_unapproved",
            "the node is waiting for approval by an admin of the tailnet",
            "approve it in the tailnet's admin console",
        ),
        State::Stopped => (
            "node_stopped",
            "the node is stopped, so callers on the tailnet can't reach the gateway",
            "start it; with this machine's tailscaled, run `tailscale up`",
        ),
    };
    Some(warning(kind, message.to_owned() + &reason(node), hint).critical())
}

/// Whether the control server was not heard for too long.
fn is_cut_off(node: &Status, now: i64) -> bool {
    // A node with a map from the disk can run without ever having been heard.
    let unheard = node.unheard_for(now);
    let patience = if unheard.is_some() {
        CUT_OFF_MS
    } else {
        STARTING_MS
    };
    node.is_stale && unheard.is_some()
        || node.silent_since.is_some_and(|at| now - at >= patience)
        || unheard.is_some_and(|unheard| unheard >= SILENCE)
}

fn silence(node: &Status, now: i64) -> Option<Warning> {
    if !is_cut_off(node, now) {
        return None;
    }
    let long = match node.unheard_for(now).map(|unheard| unheard.as_secs()) {
        None => "not heard since the start".to_owned(),
        Some(seconds @ 0..120) => format!("last heard {} ago", counted(seconds, "second")),
        Some(seconds @ 120..7_200) => {
            format!("last heard {} ago", counted(seconds / 60, "minute"))
        }
        Some(seconds) => format!("last heard {} ago", counted(seconds / 3_600, "hour")),
    };
    let (severity, effect) = if node.is_stale {
        (
            Severity::Critical,
            "callers are refused as tailnet.stale_after says",
        )
    } else {
        (
            Severity::Warning,
            "changes of the tailnet, such as a withdrawn grant or a removed device, have no effect here",
        )
    };
    let message = format!(
        "the control server was {long}, and {effect}{}",
        reason(node)
    );
    let hint = "check that the control server (tailnet.control_url) runs and that this machine can \
        reach it; Iris keeps trying";
    Some(warning("tailnet_stale", message, hint).severity(severity))
}

/// Whether people find the node under the name of the configuration.
fn name(node: &Status, config: &Tailnet) -> Option<Warning> {
    let full = node.dns_name.as_deref()?;
    let label = full.split('.').next().unwrap_or_default();
    let wanted = &config.hostname;
    if config.mode != Mode::Embedded || label.is_empty() || label.eq_ignore_ascii_case(wanted) {
        return None;
    }
    let lower = wanted.to_ascii_lowercase();
    let number = label
        .strip_prefix(&lower)
        .and_then(|rest| rest.strip_prefix('-'));
    let is_taken = number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    let (message, hint) = if is_taken {
        (
            format!(
                "the node's name on the tailnet is {label:?}, because another node is already called \
                 {wanted:?}: http://{lower} leads there, and the gateway is at http://{label}"
            ),
            "remove or rename the other node in the tailnet's admin console, then rename this one; or \
             set tailnet.hostname to the name that it has",
        )
    } else {
        (
            format!(
                "the node's name on the tailnet is {label:?}, while tailnet.hostname is {wanted:?}: \
                 the gateway is at http://{label}"
            ),
            "restart Iris if the setting has just changed; else rename the node in the tailnet's admin \
             console, or set tailnet.hostname to the name that it has",
        )
    };
    Some(warning("node_name", message, hint))
}

/// When the node's key expires, in Unix milliseconds; `None` where it does not.
#[must_use]
pub fn key_expires_at(node: &Status) -> Option<i64> {
    let at: jiff::Timestamp = node.key_expiry.as_deref()?.parse().ok()?;
    // Go's zero time says that it does not.
    Some(at.as_millisecond()).filter(|at| *at > 0)
}

fn key_expiry(node: &Status, now: i64) -> Option<Warning> {
    let (severity, when) = ends(key_expires_at(node)?, now)?;
    let message = format!(
        "the node's key {when}; after that, callers on the tailnet can't reach the gateway"
    );
    let hint = "disable key expiry for this node in the tailnet's admin console, or tag it";
    Some(warning("node_key_expires", message, hint).severity(severity))
}

#[cfg(test)]
mod tests {
    use super::super::DAY_MS;
    use super::*;
    use crate::base::clock;

    #[test]
    fn keys_that_expire_are_told_of_in_time_and_more_gravely_near_the_end() {
        let now = clock::unix_ms();
        let expiring = |days: i64| {
            let at = jiff::Timestamp::from_millisecond(now + days * DAY_MS + 60_000).unwrap();
            let node = Status {
                state: State::Running,
                key_expiry: Some(at.to_string()),
                ..Status::default()
            };
            key_expiry(&node, now).map(|one| (one.severity, one.message))
        };
        assert_eq!(expiring(15), None);
        let (severity, message) = expiring(10).unwrap();
        assert_eq!(severity, Severity::Warning);
        assert!(message.contains("expires in 10 days"), "{message}");
        assert_eq!(expiring(2).unwrap().0, Severity::Critical);
        assert!(expiring(-1).unwrap().1.contains("has expired"));
        let never = Status {
            key_expiry: Some("0001-01-01T00:00:00Z".to_owned()),
            ..Status::default()
        };
        assert_eq!(key_expiry(&never, now), None);
        assert_eq!(key_expires_at(&never), None);
    }

    fn node(state: State, trouble: Option<TroubleKind>) -> Status {
        Status {
            state,
            trouble: trouble.map(|kind| Trouble {
                kind,
                message: "its own\nwords".to_owned(),
            }),
            down_since: (state != State::Running).then_some(0),
            heard_at: Some(0),
            in_poll: true,
            ..Status::default()
        }
    }

    #[test]
    fn a_node_that_nobody_can_reach_has_an_alert_for_each_cause() {
        let refused = Some(TroubleKind::Refused);
        let unknown = Some(TroubleKind::Unknown);
        let failed = Some(TroubleKind::Failed);
        for (state, trouble, link, expected) in [
            (State::Running, None, false, None),
            (State::Running, failed, false, None),
            (State::Running, unknown, false, Some("node_unknown")),
            (State::NeedsLogin, None, true, Some("node_signed_out")),
            (State::NeedsLogin, None, false, Some("node_not_joined")),
            (State::NeedsLogin, refused, false, Some("node_refused")),
            (State::NoState, failed, false, Some("node_not_joined")),
            (State::NoState, None, false, Some("node_not_joined")),
            (State::Starting, None, false, Some("node_not_joined")),
            (
                State::NeedsMachineAuth,
                None,
                false,
                Some("node_unapproved"),
            ),
            (State::Stopped, None, false, Some("node_stopped")),
        ] {
            let mut node = node(state, trouble);
            node.auth_url = link.then(|| "https://x.test/a".to_owned());
            let found = super::state(&node, JOINING_MS);
            let kind = found.as_ref().map(|one| one.kind);
            assert_eq!(kind, expected, "{state:?} {trouble:?}");
            if let (Some(found), Some(_)) = (found, trouble) {
                assert!(found.message.ends_with(": its own words"), "{found:?}");
            }
            if state != State::Running {
                assert_eq!(super::state(&node, STARTING_MS - 1), None, "{state:?}");
            }
        }
    }

    #[test]
    fn a_control_server_that_is_not_heard_is_told_of_with_what_that_means() {
        let mut node = node(State::Running, Some(TroubleKind::Failed));
        let of = |node: &Status, now| silence(node, now).map(|one| (one.severity, one.message));
        // A message each minute is all there is.
        assert_eq!(of(&node, 74_999), None);
        let (severity, message) = of(&node, 75_000).unwrap();
        assert_eq!(severity, Severity::Warning);
        assert!(message.contains("75 seconds ago"), "{message}");
        assert!(message.contains("a withdrawn grant"), "{message}");
        assert!(message.ends_with(": its own words"), "{message}");
        node.heard_at = Some(100_000);
        node.silent_since = Some(50_000);
        assert_eq!(of(&node, 109_999), None);
        assert!(of(&node, 110_000).is_some());
        node.heard_at = None;
        node.silent_since = Some(STARTING_MS);
        assert_eq!(of(&node, 2 * STARTING_MS - 1), None);
        let (_, message) = of(&node, 2 * STARTING_MS).unwrap();
        assert!(message.contains("not heard since the start"), "{message}");
        node.heard_at = Some(100_000);
        node.silent_since = None;
        node.is_stale = true;
        let (severity, message) = of(&node, 100_001).unwrap();
        assert_eq!(severity, Severity::Critical);
        assert!(message.contains("are refused"), "{message}");
    }

    #[test]
    fn a_name_that_is_not_the_configured_one_is_told_of_with_both() {
        let config = |hostname: &str, mode| Tailnet {
            hostname: hostname.to_owned(),
            mode,
            ..Tailnet::default()
        };
        let of = |full: &str, hostname: &str, mode| {
            let mut node = node(State::Running, None);
            node.dns_name = Some(full.to_owned());
            name(&node, &config(hostname, mode)).map(|one| one.message)
        };
        let embedded = Mode::Embedded;
        assert_eq!(of("ai.tail.test", "ai", embedded), None);
        assert_eq!(of("ai.tail.test", "AI", embedded), None);
        assert_eq!(of("box.tail.test", "ai", Mode::Host), None);
        let taken = of("ai-1.tail.test", "ai", embedded).unwrap();
        for part in ["\"ai-1\"", "\"ai\"", "another node", "http://ai-1"] {
            assert!(taken.contains(part), "{taken}");
        }
        let other = of("ai-two.tail.test", "ai", embedded).unwrap();
        assert!(!other.contains("another node"), "{other}");
        assert!(other.contains("\"ai-two\"") && other.contains("\"ai\""));
    }

    #[test]
    fn what_a_control_server_says_stays_one_short_line() {
        let trouble = Trouble {
            kind: TroubleKind::Failed,
            message: format!("a\r\nb\t{}", "é".repeat(1_000)),
        };
        let words = words(&trouble);
        assert!(words.starts_with("a b é") && words.ends_with('…'));
        assert_eq!(words.chars().count(), MAX_WORDS + 1);
    }
}
