//! launchd: the property list of a daemon or of an agent, and how it is started. The text is tested;
//! whether macOS does what it says can only be tried there.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::layout::{LABEL, Layout, Scope};
use super::step::{Run, Step, Wait};
use super::systemd;
use crate::app::cli::status_line;

/// Reads the file of variables, which launchd itself has no notion of, and becomes the program.
const SCRIPT: &str = "set -a; [ -r \"$1\" ] && . \"$1\"; exec \"$0\" serve";
/// As `TimeoutStopSec=` of the unit: running requests may end.
const EXIT_SECONDS: u32 = 90;

pub(super) fn plist(layout: &Layout, program: &Path) -> String {
    let text = |text: &Path| format!("<string>{}</string>", escaped(&text.to_string_lossy()));
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <!-- Written by `iris service install`; docs/SERVICE.md says what it does. -->\n\
         <plist version=\"1.0\">\n<dict>\n",
    );
    let mut pair = |key: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "  <key>{key}</key>\n  {value}");
    };
    pair("Label", &format!("<string>{LABEL}</string>"));
    if let Some(account) = &layout.account {
        pair("UserName", &text(Path::new(account)));
    }
    let (shell, environment) = (
        ["/bin/sh", "-c", SCRIPT].map(Path::new),
        layout.environment(),
    );
    let arguments = shell.into_iter().chain([program, &environment]);
    let arguments = arguments.map(|one| format!("    {}\n", text(one)));
    let arguments = format!("<array>\n{}  </array>", arguments.collect::<String>());
    pair("ProgramArguments", &arguments);
    let state = text(&layout.state);
    pair(
        "EnvironmentVariables",
        &format!("<dict>\n    <key>IRIS_STATE_DIR</key>\n    {state}\n  </dict>"),
    );
    pair("WorkingDirectory", &state);
    pair("StandardErrorPath", &text(&layout.log()));
    pair("RunAtLoad", "<true/>");
    pair(
        "KeepAlive",
        "<dict>\n    <key>SuccessfulExit</key>\n    <false/>\n  </dict>",
    );
    pair("ExitTimeOut", &format!("<integer>{EXIT_SECONDS}</integer>"));
    // 077 in octal: only the service's account reads what it writes.
    pair("Umask", "<integer>63</integer>");
    out.push_str("</dict>\n</plist>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The part of launchd that a service belongs to.
pub(super) fn domain(scope: Scope) -> String {
    match scope {
        Scope::Machine => "system".to_owned(),
        Scope::User => format!("gui/{}", rustix::process::getuid().as_raw()),
    }
}

/// Ends the service that runs.
pub(super) fn stop(scope: Scope) -> Step {
    let service = format!("{}/{LABEL}", domain(scope));
    Step::try_run(&["launchctl", "bootout", &service])
}

/// Starts the service now, and with the machine or the session.
pub(super) fn start(layout: &Layout) -> Vec<Step> {
    let domain = domain(layout.scope);
    let unit = layout.unit.display().to_string();
    let words = ["launchctl", "bootstrap", &domain, &unit];
    vec![
        stop(layout.scope),
        Step::run(&["launchctl", "enable", &format!("{domain}/{LABEL}")]),
        Step::Run(Run {
            // launchd refuses a successor until the one before has ended: the operation is "now in
            // progress", or "already in progress".
            wait: Some(Wait {
                codes: &[36, 37],
                until: "the old service has finished its requests",
                tries: EXIT_SECONDS + 10,
            }),
            ..Run::new(&words)
        }),
    ]
}

/// How much of the log there is before a start.
pub(super) fn logged(layout: &Layout) -> usize {
    std::fs::read(layout.log()).map_or(0, |log| log.len())
}

/// Waits until the log says where the service serves or what it waits for.
pub(super) fn wait(layout: &Layout, from: usize, patience: Duration) -> anyhow::Result<String> {
    let end = Instant::now() + patience;
    loop {
        let log = std::fs::read(layout.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(log.get(from..).unwrap_or_default());
        if let Some(reason) = systemd::reason(&log) {
            bail!(
                "the service is installed but does not start: {reason}\nlaunchd keeps trying. The \
                 log: {}",
                layout.log_command()
            );
        }
        let line = status_line::last_in(&log).unwrap_or_default();
        if status_line::is_settled(&line) || Instant::now() > end {
            return Ok(line);
        }
        super::pause(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{Manager, Person};
    use super::*;

    fn layout(scope: Scope) -> Layout {
        let person = Person {
            home: "/Users/ada & co".into(),
            config: "/Users/ada & co/.config".into(),
            state: "/Users/ada & co/.local/state".into(),
            sudo_user: Some("ada".to_owned()),
        };
        Layout::new(Manager::Launchd, scope, &person)
    }

    #[test]
    fn a_daemon_runs_as_the_one_who_installed_it() {
        let layout = layout(Scope::Machine);
        assert_eq!(
            layout.unit,
            Path::new("/Library/LaunchDaemons/local.iris.plist")
        );
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Written by `iris service install`; docs/SERVICE.md says what it does. -->
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>local.iris</string>
  <key>UserName</key>
  <string>ada</string>
  <key>ProgramArguments</key>
  <array>
    <string>/bin/sh</string>
    <string>-c</string>
    <string>set -a; [ -r "$1" ] &amp;&amp; . "$1"; exec "$0" serve</string>
    <string>/usr/local/bin/iris</string>
    <string>/usr/local/etc/iris/environment</string>
  </array>
  <key>EnvironmentVariables</key>
  <dict>
    <key>IRIS_STATE_DIR</key>
    <string>/usr/local/var/lib/iris</string>
  </dict>
  <key>WorkingDirectory</key>
  <string>/usr/local/var/lib/iris</string>
  <key>StandardErrorPath</key>
  <string>/usr/local/var/lib/iris/iris.log</string>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ExitTimeOut</key>
  <integer>90</integer>
  <key>Umask</key>
  <integer>63</integer>
</dict>
</plist>
"#;
        assert_eq!(plist(&layout, &layout.program), expected);
        let start: Vec<String> = start(&layout).iter().map(ToString::to_string).collect();
        assert_eq!(
            start,
            [
                "run launchctl bootout system/local.iris",
                "run launchctl enable system/local.iris",
                "run launchctl bootstrap system /Library/LaunchDaemons/local.iris.plist",
            ]
        );
    }

    #[test]
    fn an_agent_is_the_users_own() {
        let layout = layout(Scope::User);
        let plist = plist(&layout, &layout.program);
        assert!(!plist.contains("UserName"), "{plist}");
        assert!(
            plist.contains("<string>/Users/ada &amp; co/.local/bin/iris</string>"),
            "{plist}"
        );
        let agents = Path::new("/Users/ada & co/Library/LaunchAgents/local.iris.plist");
        assert_eq!(layout.unit, agents);
        assert!(domain(Scope::User).starts_with("gui/"));
    }

    /// The script that the property list has a shell run.
    #[test]
    fn the_script_reads_the_variables_if_there_are_any() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("environment");
        let run = || {
            let mut shell = std::process::Command::new("sh");
            let script = SCRIPT.replace(" serve", "");
            let output = shell
                .args(["-c", &script, "printenv"])
                .arg(&file)
                .env("KEY", "");
            let output = output.output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(run().lines().any(|line| line == "KEY="));
        std::fs::write(&file, "KEY=\"a \\$b\"\n").unwrap();
        assert!(run().lines().any(|line| line == "KEY=a $b"));
    }

    #[test]
    fn the_log_says_how_a_start_went() {
        let dir = tempfile::tempdir().unwrap();
        let mut layout = layout(Scope::User);
        layout.state = dir.path().into();
        let old = "error: of yesterday\n";
        std::fs::write(layout.log(), old).unwrap();
        let before = logged(&layout);
        let wait = || wait(&layout, before, Duration::ZERO);
        assert_eq!(wait().unwrap(), "");
        let line = "{\"message\":\"serving http://ai\"}\n";
        std::fs::write(layout.log(), format!("{old}{line}")).unwrap();
        assert_eq!(wait().unwrap(), "serving http://ai");
        std::fs::write(layout.log(), format!("{old}error: the port is taken\n")).unwrap();
        let error = wait().unwrap_err().to_string();
        assert!(
            error.contains("does not start: the port is taken"),
            "{error}"
        );
    }
}
