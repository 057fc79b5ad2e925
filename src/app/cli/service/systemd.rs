//! systemd: the text of the unit, which is `config/iris.service`, and what `systemctl` knows of it.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::layout::{Layout, Scope};
use super::output;
use super::step::Step;
use crate::app::cli::{harmless, status_line};

/// The unit with all of its restrictions; the only copy.
const UNIT: &str = include_str!("../../../../config/iris.service");
/// What stands in it for the program and for the file of variables.
const PROGRAM: &str = "ExecStart=/usr/local/bin/iris serve";
const ENVIRONMENT: &str = "EnvironmentFile=-/etc/iris/environment";
pub(super) const SOCKET: &str = "/etc/systemd/system/iris.socket";

/// Restrictions that take root, or name spaces that not every system lets a user have. The manager
/// of a user would not start a unit that asks for them.
const OF_THE_MACHINE: [&str; 20] = [
    "AmbientCapabilities",
    "CapabilityBoundingSet",
    "PrivateDevices",
    "PrivateTmp",
    "PrivateUsers",
    "ProcSubset",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "RemoveIPC",
    "StateDirectory",
    "StateDirectoryMode",
    "User",
    // A user's manager knows no network.
    "Wants",
];

/// The unit for a program at this path.
pub(super) fn unit(layout: &Layout, program: &Path) -> String {
    let program = format!("ExecStart={} serve", word(program));
    let environment = format!("EnvironmentFile=-{}", specified(&layout.environment()));
    let whole = UNIT
        .replace(PROGRAM, &program)
        .replace(ENVIRONMENT, &environment);
    if layout.scope == Scope::Machine {
        return whole;
    }
    let state = specified(&layout.state);
    let mut out = String::new();
    // The comments above a line speak of it.
    let mut comments = String::new();
    for line in whole.lines() {
        let key = line.split('=').next().unwrap_or_default();
        if line.starts_with('#') {
            comments.push_str(line);
            comments.push('\n');
            continue;
        }
        let comments = std::mem::take(&mut comments);
        if OF_THE_MACHINE.contains(&key) || line == "After=network-online.target" {
            continue;
        }
        out.push_str(&comments);
        match key {
            "WorkingDirectory" => {
                // Writing to a string does not fail.
                let _ = writeln!(out, "WorkingDirectory={state}");
                let variable = format!("IRIS_STATE_DIR={}", layout.state.display());
                let _ = writeln!(out, "Environment={}", word(Path::new(&variable)));
            }
            "WantedBy" => out.push_str("WantedBy=default.target\n"),
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// A path in which systemd is to replace nothing.
fn specified(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

/// The same as one word of a line that is taken apart. In a program's path and in `Environment=` a
/// dollar sign means itself.
fn word(path: &Path) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-+=".contains(char);
    let path = specified(path);
    if path.chars().all(plain) {
        return path;
    }
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The part of the unit that has root read the auth key.
pub(super) fn credential(layout: &Layout) -> String {
    format!(
        "# Written by `iris service install --auth-key-file`.\n[Service]\nLoadCredential=authkey:{}\n",
        specified(&layout.auth_key())
    )
}

pub(super) fn systemctl<'a>(scope: Scope, words: &[&'a str]) -> Vec<&'a str> {
    let scope: &[&str] = match scope {
        Scope::Machine => &["systemctl"],
        Scope::User => &["systemctl", "--user"],
    };
    [scope, words].concat()
}

/// Has the unit start with the machine or the session.
pub(super) fn enable(scope: Scope) -> Vec<Step> {
    let systemctl = |words: &[&str]| Step::run(&systemctl(scope, words));
    vec![
        systemctl(&["daemon-reload"]),
        systemctl(&["enable", "--quiet", "iris.service"]),
    ]
}

/// Whether a user's own manager runs.
pub(super) fn of_user() -> anyhow::Result<()> {
    let output = output(&systemctl(Scope::User, &["show", "--property", "Version"]))?;
    ensure!(
        output.status.success(),
        "your account has no systemd manager of its own in this session ({}): log in directly \
         rather than with su or sudo, or run `loginctl enable-linger` as root for it",
        harmless(String::from_utf8_lossy(&output.stderr).trim())
    );
    Ok(())
}

/// What systemd says of the unit.
pub(super) struct State(HashMap<String, String>);

impl State {
    pub(super) fn ask(scope: Scope) -> anyhow::Result<Self> {
        let properties = "LoadState,ActiveState,SubState,StatusText,UnitFileState,MainPID,\
                          ActiveEnterTimestamp,NeedDaemonReload";
        let words = ["show", "iris.service", "--property", properties];
        let output = output(&systemctl(scope, &words))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let said = harmless(said.trim());
        ensure!(output.status.success(), "systemctl: {said}");
        let text = String::from_utf8_lossy(&output.stdout);
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), harmless(value)));
        Ok(Self(pairs.collect()))
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(super) fn is_running(&self) -> bool {
        self.get("ActiveState") == "active"
    }
}

/// Starts or restarts the service, and waits until it says where it serves or what it waits for.
pub(super) fn restart(layout: &Layout, patience: Duration) -> anyhow::Result<String> {
    let scope = layout.scope;
    let begun = jiff::Timestamp::now().as_second();
    let restarted = output(&systemctl(scope, &["restart", "iris.service"]))?;
    let end = Instant::now() + patience;
    while restarted.status.success() {
        let state = State::ask(scope)?;
        if !state.is_running() {
            break;
        }
        let line = state.get("StatusText");
        if status_line::is_settled(line) || Instant::now() > end {
            return Ok(line.to_owned());
        }
        super::pause(Duration::from_millis(200));
    }
    let since = format!("--since=@{begun}");
    let mut journal = vec!["journalctl", "-u", "iris.service", "--no-pager", &since];
    journal.extend((scope == Scope::User).then_some("--user"));
    // Only what the program wrote, and not what systemd says of it.
    journal.extend(["_TRANSPORT=stdout", "-o", "cat"]);
    let log = output(&journal);
    let log = log.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let said = String::from_utf8_lossy(&restarted.stderr);
    let reason = reason(&log.unwrap_or_default()).unwrap_or_else(|| harmless(said.trim()));
    bail!(
        "the service is installed but does not start: {reason}\nsystemd keeps trying. The log: {}",
        layout.log_command()
    )
}

/// Why a gateway ended, by its log: the error that it ended with, and the lines that belong to it.
pub(super) fn reason(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().collect();
    let last = lines.iter().rposition(|line| line.starts_with("error: "))?;
    // Log lines are JSON.
    let all = lines[last..]
        .iter()
        .take_while(|line| !line.starts_with('{'));
    let all: Vec<String> = all.map(|line| harmless(line)).collect();
    Some(all.join("\n").trim_start_matches("error: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::layout::{Manager, Person};
    use super::*;

    fn layout(scope: Scope) -> Layout {
        let person = Person {
            home: "/home/ada".into(),
            config: "/home/ada/.config".into(),
            state: "/home/ada/.local/state".into(),
            sudo_user: None,
        };
        Layout::new(Manager::Systemd, scope, &person)
    }

    #[test]
    fn the_unit_is_the_file_in_config() {
        let layout = layout(Scope::Machine);
        assert_eq!(unit(&layout, &layout.program), UNIT);
        let odd = unit(&layout, Path::new("/opt/50% \"off\" $x/iris"));
        assert!(
            odd.contains("\nExecStart=\"/opt/50%% \\\"off\\\" $x/iris\" serve\n"),
            "{odd}"
        );
        assert_eq!(odd.lines().count(), UNIT.lines().count());
    }

    #[test]
    fn a_user_gets_the_restrictions_that_take_no_root() {
        let layout = layout(Scope::User);
        let unit = unit(&layout, &layout.program);
        for line in [
            "ExecStart=/home/ada/.local/bin/iris serve",
            "EnvironmentFile=-/home/ada/.config/iris/environment",
            "WorkingDirectory=/home/ada/.local/state/iris",
            "Environment=IRIS_STATE_DIR=/home/ada/.local/state/iris",
            "WantedBy=default.target",
            "NoNewPrivileges=yes",
            "MemoryDenyWriteExecute=yes",
            "SystemCallFilter=@system-service",
            "Restart=on-failure",
            "Type=notify",
        ] {
            assert!(unit.lines().any(|one| one == line), "{line}: {unit}");
        }
        for part in [
            "User=",
            "Protect",
            "PrivateUsers",
            "Capabilit",
            "network",
            "%S",
            "/etc/",
        ] {
            assert!(!unit.contains(part), "{part}: {unit}");
        }
        // Each that is left out exists, so that a new one is thought about.
        for key in OF_THE_MACHINE {
            assert!(UNIT.contains(&format!("\n{key}=")), "{key}");
        }
    }

    #[test]
    fn the_reason_is_the_last_error_and_its_lines() {
        let log = "{\"level\":\"INFO\"}\nerror: the first\nerror: the configuration has errors\n\
                   iris.hujson:1:1: error: no\n  help: do\n{\"level\":\"INFO\"}\n";
        let expected = "the configuration has errors\niris.hujson:1:1: error: no\n  help: do";
        assert_eq!(reason(log).as_deref(), Some(expected));
        assert_eq!(reason("{\"level\":\"INFO\"}"), None);
    }
}
