//! Real servers and clients, which the scripts of `tests/servers` build and install once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// What a script has prepared, by name.
pub struct Parts(HashMap<String, PathBuf>);

impl Parts {
    /// Runs a script, which says on standard error what is missing and how long it takes.
    pub fn prepare(script: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let path = crate::root().join("tests/servers").join(script);
        let output = Command::new(path)
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("tests/servers/{script} doesn't start"))?;
        ensure!(
            output.status.success(),
            "tests/servers/{script} failed; its message is above"
        );
        let text = String::from_utf8(output.stdout)?;
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let parts = lines.map(|(name, path)| (name.to_owned(), path.into()));
        Ok(Self(parts.collect()))
    }

    pub fn get(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.get(name).cloned();
        path.with_context(|| format!("{name} was not prepared"))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &PathBuf)> {
        self.0.iter()
    }
}
