//! One line that says where a gateway serves, or what it waits for. `iris serve` gives it to the
//! service manager and to the log, and `iris service` reads it there, so that the link to sign in at
//! is where people look first.

use super::harmless;
use crate::app::systemd::Manager;
use crate::app::{Running, Served};
use crate::net::tailnet::{State, Status};

const JOINING: &str = "joining the tailnet";
const OPENING: &str = "opening its ports on the tailnet";
/// What a log line of it begins with.
const SERVING: &str = "serving ";
const SIGN_IN: &str = "sign in at ";

/// Reports each change, for as long as the gateway runs.
pub(super) async fn follow(running: &Running, manager: &Manager) {
    let mut last = String::new();
    running
        .follow(|served, status| {
            let line = line(served, status);
            if line != last {
                tracing::info!("{line}");
                manager.serving(&line);
                last = line;
            }
        })
        .await;
}

fn line(served: &[Served], node: Option<&Status>) -> String {
    let on_tailnet = served.iter().filter(|one| one.tailnet);
    let here = served.iter().filter(|one| !one.tailnet);
    let places: Vec<&str> = on_tailnet.chain(here).map(|one| one.url.as_str()).collect();
    let mut parts = Vec::new();
    if !places.is_empty() {
        parts.push(format!("{SERVING}{}", places.join(" and ")));
    }
    if let Some(status) = node {
        let is_open = served.iter().any(|one| one.tailnet);
        parts.extend(match (status.state, &status.auth_url) {
            (State::Running, _) if is_open => None,
            (State::Running, _) => Some(OPENING.to_owned()),
            (State::NeedsLogin, Some(url)) => {
                Some(format!("{SIGN_IN}{} to join the tailnet", harmless(url)))
            }
            (State::NeedsMachineAuth, _) => {
                Some("waiting for an admin of the tailnet to approve this node".to_owned())
            }
            (State::Stopped, _) => Some("the node has stopped".to_owned()),
            _ => Some(JOINING.to_owned()),
        });
    }
    parts.join("; ")
}

/// Whether nothing more will happen until a person does something.
pub(super) fn is_settled(line: &str) -> bool {
    let begins = [SERVING, SIGN_IN, "waiting"]
        .iter()
        .any(|start| line.starts_with(start));
    begins && !is_on_its_way(line)
}

fn is_on_its_way(line: &str) -> bool {
    line.ends_with(JOINING) || line.ends_with(OPENING)
}

/// The last such line of a log in JSON.
pub(super) fn last_in(log: &str) -> Option<String> {
    let messages = log.lines().rev().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(line["message"].as_str()?.to_owned())
    });
    let mut lines = messages.filter(|message| is_settled(message) || is_on_its_way(message));
    lines.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(url: &str, tailnet: bool) -> Served {
        Served {
            url: url.to_owned(),
            tailnet,
        }
    }

    fn node(state: State, link: Option<&str>) -> Status {
        Status {
            state,
            auth_url: link.map(str::to_owned),
            ..Status::default()
        }
    }

    #[test]
    fn it_says_where_or_what_is_missing() {
        let here = [served("http://127.0.0.1:8088", false)];
        let both = [here[0].clone(), served("http://ai", true)];
        let link = Some("https://login.test/a/1");
        for (served, node, wanted, settled) in [
            (&here[..], None, "serving http://127.0.0.1:8088", true),
            (
                &both[..],
                Some(node(State::Running, None)),
                "serving http://ai and http://127.0.0.1:8088",
                true,
            ),
            (
                &[],
                Some(node(State::NoState, None)),
                "joining the tailnet",
                false,
            ),
            (
                &here[..],
                Some(node(State::NeedsLogin, None)),
                "serving http://127.0.0.1:8088; joining the tailnet",
                false,
            ),
            (
                &[],
                Some(node(State::NeedsLogin, link)),
                "sign in at https://login.test/a/1 to join the tailnet",
                true,
            ),
            (
                &here[..],
                Some(node(State::Running, None)),
                "serving http://127.0.0.1:8088; opening its ports on the tailnet",
                false,
            ),
            (
                &[],
                Some(node(State::NeedsMachineAuth, link)),
                "waiting for an admin of the tailnet to approve this node",
                true,
            ),
        ] {
            let line = line(served, node.as_ref());
            assert_eq!(line, wanted);
            assert_eq!(is_settled(&line), settled, "{line}");
        }
        // What a process says before it knows.
        assert!(!is_settled("serving") && !is_settled(""));
    }

    #[test]
    fn the_last_line_of_a_log_counts() {
        let log = "{\"level\":\"INFO\",\"message\":\"joining the tailnet\"}\nno JSON\n\
                   {\"message\":\"serving http://ai\"}\n{\"message\":\"a request\"}\n";
        assert_eq!(last_in(log).as_deref(), Some("serving http://ai"));
        assert_eq!(last_in("error: no\n"), None);
    }
}
