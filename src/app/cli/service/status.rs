//! `iris service status`: what the service manager knows, for those who don't want to ask it in its
//! own language.

use std::process::{Command, ExitCode};

use clap::Args;

use super::layout::{LABEL, Layout, Manager};
use super::{Target, launchd, systemd};
use crate::app::cli::{exit_code, print, row, status_line, table};

/// Show whether the service runs, where it answers, and what it waits for.
///
/// Exits with 1 unless it runs.
#[derive(Args)]
pub(super) struct Status {
    #[command(flatten)]
    target: Target,
}

impl Status {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let layout = self.target.layout()?;
        if !layout.unit.exists() {
            print(&format!(
                "Not installed: there is no {}. `iris service install{}` installs it.\n",
                layout.unit.display(),
                self.target.option()
            ));
            return Ok(ExitCode::FAILURE);
        }
        self.target.own_manager(&layout)?;
        let (runs, mut rows) = match layout.manager {
            Manager::Systemd => of_systemd(&layout)?,
            Manager::Launchd => of_launchd(&layout),
        };
        rows.push(row("configuration", layout.config().display().to_string()));
        rows.push(row("log", layout.log_command()));
        print(&table(&rows));
        Ok(exit_code(runs))
    }
}

type Rows = Vec<[String; 2]>;

fn of_systemd(layout: &Layout) -> anyhow::Result<(bool, Rows)> {
    let state = systemd::State::ask(layout.scope)?;
    let mut rows = Rows::new();
    let runs = state.is_running();
    if runs {
        let since = format!("running since {}", state.get("ActiveEnterTimestamp"));
        rows.push(row("state", since));
        rows.push(row("says", state.get("StatusText")));
    } else {
        let (active, sub) = (state.get("ActiveState"), state.get("SubState"));
        rows.push(row("state", format!("{active}, {sub}")));
    }
    rows.push(match state.get("UnitFileState") {
        "enabled" => row("at boot", "starts"),
        other => row("at boot", other),
    });
    let mut unit = layout.unit.display().to_string();
    let text = std::fs::read_to_string(&layout.unit).unwrap_or_default();
    let starts = text
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let program = starts.and_then(|line| line.strip_suffix(" serve"));
    let rest = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("ExecStart="));
        lines.collect::<Vec<_>>().join("\n")
    };
    if rest(&systemd::unit(layout, &layout.program)) != rest(&text) {
        unit.push_str(", which is not this program's: `iris service install` replaces it");
    }
    rows.push(row("unit", unit));
    rows.push(row("program", program.unwrap_or_default()));
    Ok((runs, rows))
}

fn of_launchd(layout: &Layout) -> (bool, Rows) {
    let service = format!("{}/{LABEL}", launchd::domain(layout.scope));
    let output = Command::new("launchctl").args(["print", &service]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let runs = text.is_ok_and(|text| text.contains("state = running"));
    let state = if runs { "running" } else { "not running" };
    let mut rows = vec![row("state", state)];
    let log = std::fs::read_to_string(layout.log()).unwrap_or_default();
    let line = status_line::last_in(&log).filter(|_| runs);
    rows.extend(line.map(|line| row("says", line)));
    rows.push(row("property list", layout.unit.display().to_string()));
    (runs, rows)
}
