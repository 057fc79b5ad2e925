//! What an installation starts from, and the steps that follow from that alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::configuration::{Given, Needs};
use super::layout::Layout;
use super::step::{File, Step};
use super::{environment, systemd};

/// All that the steps are made from.
pub(super) struct Plan<'a> {
    pub(super) layout: &'a Layout,
    pub(super) given: &'a Given,
    pub(super) needs: &'a Needs,
    /// The installed file of variables.
    pub(super) environment: String,
    pub(super) auth_key: Option<String>,
    /// The running program, and where it is to be.
    pub(super) source: PathBuf,
    pub(super) program: PathBuf,
}

impl Plan<'_> {
    /// The step that puts the program in its place, unless it is there.
    pub(super) fn program(&self) -> anyhow::Result<Option<Step>> {
        let same = |a: &Path, b: &Path| fs::canonicalize(a).ok() == fs::canonicalize(b).ok();
        if self.program.exists() && same(&self.source, &self.program) {
            return Ok(None);
        }
        let contents = fs::read(&self.source)
            .with_context(|| format!("cannot read this program at {}", self.source.display()))?;
        Ok(Some(Step::File(File {
            path: self.program.clone(),
            contents,
            mode: 0o755,
            owner: None,
            what: format!("this program, from {}", self.source.display()),
        })))
    }

    /// Keys that the service gets beside its configuration.
    pub(super) fn keys(&self) -> Vec<Step> {
        let layout = self.layout;
        let owner = layout.account.clone().filter(|_| !layout.keys_are_roots());
        let file = |path: PathBuf, text: &str, what: String| {
            Step::File(File {
                path,
                contents: text.into(),
                mode: 0o600,
                owner: owner.clone(),
                what,
            })
        };
        let mut steps = Vec::new();
        let values = environment::with(&self.environment, &self.needs.variables);
        if !values.is_empty() {
            let names = self.needs.variables.iter().map(|(name, _)| name.as_str());
            let names: Vec<&str> = names.collect();
            let what = if names.is_empty() {
                "variables of your own".to_owned()
            } else {
                format!("the values of {}", names.join(", "))
            };
            steps.push(file(layout.environment(), &values, what));
        }
        if let Some(key) = &self.auth_key {
            steps.push(file(layout.auth_key(), key, "the auth key".to_owned()));
        }
        let has_key = self.auth_key.is_some() || layout.auth_key().exists();
        if let Some(path) = layout.credential().filter(|_| has_key) {
            steps.push(Step::File(File {
                path,
                contents: systemd::credential(layout).into_bytes(),
                mode: 0o644,
                owner: None,
                what: "has systemd hand over the auth key".to_owned(),
            }));
        }
        if !steps.is_empty() {
            let folder = Step::Directory {
                path: layout.keys.clone(),
                // Its files are root's, but other ones may be for the service to read.
                mode: if layout.keys_are_roots() {
                    0o711
                } else {
                    0o700
                },
                owner,
            };
            steps.insert(0, folder);
        }
        steps
    }
}
