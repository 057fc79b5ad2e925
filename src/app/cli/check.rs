//! `iris check`.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Places, print, print_json};
use crate::config::{self, Finding, Severity};
use crate::exchange::rules::Rules;

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
            print(&human(
                &path.display().to_string(),
                &findings,
                errors,
                warnings,
            ));
        }
        Ok(if valid {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn human(path: &str, findings: &[Finding], errors: usize, warnings: usize) -> String {
    let mut out = String::new();
    for finding in findings {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{path}:{finding}");
    }
    let count =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (errors, warnings) = (count(errors, "error"), count(warnings, "warning"));
    let _ = writeln!(out, "{path}: {errors}, {warnings}");
    out
}
