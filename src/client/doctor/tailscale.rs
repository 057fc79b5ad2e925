//! What this machine's own Tailscale says of itself, which names the cause where a gateway isn't found.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::wire::harmless;

/// The program, and where the app for macOS has it.
const PROGRAMS: [&str; 2] = [
    "tailscale",
    "/Applications/Tailscale.app/Contents/MacOS/Tailscale",
];
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often its end is looked for.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of an answer that are read. The state of a machine without its peers has some thousand.
const LENGTH: u64 = 1 << 20;

/// What is in the way, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) what: String,
    pub(super) fix: &'static str,
}

impl Trouble {
    fn new(what: impl Into<String>, fix: &'static str) -> Self {
        Self {
            what: what.into(),
            fix,
        }
    }
}

/// What Tailscale says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) trouble: Option<Trouble>,
    /// The tailnet has `MagicDNS` turned off, so that no name leads to a node.
    pub(super) has_no_names: bool,
}

/// Asks Tailscale's own program.
pub(super) fn ask() -> Said {
    for program in PROGRAMS {
        let mut command = Command::new(program);
        command.args(["status", "--json", "--peers=false"]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let Ok(child) = command.stdout(Stdio::piped()).spawn() else {
            continue;
        };
        let Some((is_well, answer)) = finish(child) else {
            let what = format!("`{program} status` gave no answer within {PATIENCE:?}");
            return Said {
                trouble: Some(Trouble::new(what, "start Tailscale again")),
                has_no_names: false,
            };
        };
        return match serde_json::from_slice(&answer) {
            Ok(status) => read(&status),
            Err(_) if is_well => Said::default(),
            Err(_) => Said {
                trouble: Some(Trouble::new(
                    "Tailscale is installed and doesn't run",
                    "start it; on Linux: `sudo systemctl enable --now tailscaled`",
                )),
                has_no_names: false,
            },
        };
    }
    Said {
        trouble: Some(Trouble::new(
            "Tailscale isn't installed, or not where this program finds it",
            "install it from https://tailscale.com/download, then sign in",
        )),
        has_no_names: false,
    }
}

/// Waits for the end of a program; whether it went well, and what it wrote. `None` if it took too long,
/// and was ended.
fn finish(mut child: Child) -> Option<(bool, Vec<u8>)> {
    let mut output = child.stdout.take()?.take(LENGTH);
    // Read beside the waiting, because a full pipe would keep the program from ending.
    let reading = std::thread::spawn(move || {
        let mut read = Vec::new();
        // What broke off isn't JSON, which is found by reading it.
        let _ = output.read_to_end(&mut read);
        read
    });
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        match child.try_wait() {
            Ok(None) => std::thread::park_timeout(PAUSE),
            Ok(Some(status)) => return Some((status.success(), reading.join().ok()?)),
            Err(_) => break,
        }
    }
    // It may have ended just now.
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Reads the status of `tailscaled` (`ipnstate.Status` in Tailscale's source).
fn read(status: &Value) -> Said {
    let own = &status["Self"];
    let state = status["BackendState"].as_str().unwrap_or_default();
    let trouble = match state {
        "NeedsLogin" => Some(Trouble::new(
            "Tailscale is signed out",
            "sign in: `tailscale up`, then `tailscale status`",
        )),
        "NeedsMachineAuth" => Some(Trouble::new(
            "this machine waits for an admin's approval",
            "ask an admin of the tailnet to approve it on the page Machines",
        )),
        "Stopped" => Some(Trouble::new("Tailscale is stopped", "`tailscale up`")),
        "Starting" | "NoState" => Some(Trouble::new(
            "Tailscale is starting",
            "wait some seconds, and try again",
        )),
        "InUseOtherUser" => Some(Trouble::new(
            "another user of this machine is signed in to Tailscale",
            "sign that user out of Tailscale",
        )),
        "Running" if own["Expired"] == true => Some(Trouble::new(
            "the key of this machine has expired",
            "sign in again: `tailscale up --force-reauth`",
        )),
        "Running" if own["Online"] == false => Some(Trouble::new(
            "Tailscale doesn't reach its control server",
            "`tailscale netcheck` shows what this machine's network lets through",
        )),
        "Running" => None,
        other => Some(Trouble::new(
            format!("Tailscale is in the state {:?}", harmless(other)),
            "`tailscale status` says more",
        )),
    };
    let names = &status["CurrentTailnet"]["MagicDNSEnabled"];
    Said {
        trouble,
        has_no_names: *names == false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_state_has_a_cause_and_something_to_do() {
        for (status, what) in [
            (json!({ "BackendState": "NeedsLogin" }), "signed out"),
            (json!({ "BackendState": "NeedsMachineAuth" }), "approval"),
            (json!({ "BackendState": "Stopped" }), "stopped"),
            (json!({ "BackendState": "NoState" }), "starting"),
            (json!({ "BackendState": "InUseOtherUser" }), "another user"),
            (
                json!({ "BackendState": "Running", "Self": { "Expired": true, "Online": false } }),
                "expired",
            ),
            (
                json!({ "BackendState": "Running", "Self": { "Online": false } }),
                "control server",
            ),
            (json!({ "BackendState": "\u{1b}[31m" }), "state"),
            (json!({}), "state"),
        ] {
            let trouble = read(&status).trouble.unwrap();
            assert!(trouble.what.contains(what), "{status} {trouble:?}");
            assert!(!trouble.what.contains('\u{1b}') && !trouble.fix.is_empty());
        }
    }

    #[test]
    fn a_machine_that_is_online_is_in_no_trouble() {
        let status = json!({
            "BackendState": "Running",
            "Self": { "Online": true, "Expired": false },
            "CurrentTailnet": { "MagicDNSEnabled": false },
        });
        let said = read(&status);
        assert_eq!((said.trouble, said.has_no_names), (None, true));
        let status = json!({ "BackendState": "Running" });
        assert_eq!(read(&status), Said::default());
    }
}
