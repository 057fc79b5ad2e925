//! `iris check`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Places, exit_code, print, print_json};
use crate::config::{self, Severity};
use crate::exchange::rules::Rules;
use crate::wire::text::counted;

/// Validate a configuration. Exits with 1 on errors, and with --strict on warnings too.
#[derive(Args)]
pub(super) struct Check {
    /// The configuration.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Warnings count as errors, as they do when a configuration is saved.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: Places,
}

impl Check {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let path = self.file.clone().or_else(|| self.places.config());
        let Some(path) = path else {
            anyhow::bail!("there is no configuration; name one: iris check FILE");
        };
        let findings = match config::load(&path) {
            Ok(loaded) => Rules::compile(loaded, 0).findings,
            Err(findings) => findings,
        };
        let count = |severity| {
            findings
                .iter()
                .filter(|one| one.severity == severity)
                .count()
        };
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let valid = errors == 0 && !(self.strict && warnings > 0);
        if self.json {
            let report = json!({ "file": path, "valid": valid, "findings": findings });
            print_json(&report);
        } else {
            let path = path.display();
            let lines = findings.iter().map(|finding| format!("{path}:{finding}\n"));
            let (errors, warnings) = (counted(errors, "error"), counted(warnings, "warning"));
            print(&format!(
                "{}{path}: {errors}, {warnings}\n",
                lines.collect::<String>()
            ));
        }
        Ok(exit_code(valid))
    }
}
