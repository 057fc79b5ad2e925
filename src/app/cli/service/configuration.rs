//! The configuration of a service: which one, whether it is valid, and whether everything that it
//! refers to will be there for an account that isn't yours. All of it is known before the first
//! change is made.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::layout::{CREDENTIALS, Layout, Manager, Scope};
use super::{as_root, environment, installed_text};
use crate::app::cli::is_variable;
use crate::config::{self, Finding, Severity};
use crate::exchange::rules::Rules;

/// A configuration that was found.
pub(super) struct Given {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// What stands in `${…}`.
    pub(super) references: BTreeSet<String>,
}

/// What a valid configuration needs beside it.
#[derive(Debug)]
pub(super) struct Needs {
    /// Variables that it refers to, with their values.
    pub(super) variables: Vec<(String, String)>,
    pub(super) warnings: usize,
}

/// Keys that can be had at the installation.
pub(super) struct Keys<'a> {
    /// A variable of the user who installs.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The file of variables that is installed.
    pub(super) environment: &'a str,
    /// The auth key that is given or installed.
    pub(super) auth_key: Option<&'a str>,
    /// The file of a key that is given now.
    pub(super) auth_key_file: Option<&'a Path>,
    /// Whether `sudo` has taken the user's variables away.
    pub(super) by_sudo: bool,
}

impl Given {
    /// The configuration that is named, else the one in this folder, else the installed one.
    pub(super) fn find(named: Option<&Path>, layout: &Layout) -> anyhow::Result<Self> {
        let path = config::find(named, Some(&layout.state)).context(
            "found no configuration: expected ./iris.hujson, or name one with --config FILE; \
             `iris init` writes one",
        )?;
        let text = if path == layout.config() {
            installed_text(&path)
        } else {
            config::text(&path)
        };
        let text =
            text.with_context(|| format!("cannot read the configuration {}", path.display()))?;
        Ok(Self {
            references: config::references(&text),
            path,
            text,
        })
    }

    /// Variables that it refers to.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        let names = self.references.iter().map(String::as_str);
        names.filter(|name| !name.starts_with("file:"))
    }

    /// Checks it as `iris check` does, with what the service will find.
    pub(super) fn check(&self, layout: &Layout, keys: &Keys<'_>) -> anyhow::Result<Needs> {
        self.check_files(layout, keys)?;
        let variables = self.values(layout, keys)?;
        let lookup = |name: &str| {
            if let Some(path) = name.strip_prefix("file:") {
                return content(&layout.state.join(path), layout, keys);
            }
            let value = variables.iter().find(|(one, _)| one == name);
            value.map(|(_, value)| value.clone())
        };
        let findings = match config::parse(&self.text, &lookup) {
            Ok(loaded) => Rules::compile(loaded, 0).findings,
            Err(findings) => findings,
        };
        let (errors, others): (Vec<Finding>, Vec<Finding>) = findings
            .into_iter()
            .partition(|one| one.severity == Severity::Error);
        if !errors.is_empty() {
            bail!(config::refusal(&self.path, &errors));
        }
        let warnings = others
            .iter()
            .filter(|one| one.severity == Severity::Warning);
        Ok(Needs {
            warnings: warnings.count(),
            variables,
        })
    }

    fn check_files(&self, layout: &Layout, keys: &Keys<'_>) -> anyhow::Result<()> {
        let seen = layout.auth_key_seen();
        let names = self
            .references
            .iter()
            .filter_map(|name| name.strip_prefix("file:"));
        let files = names.map(|name| (name, layout.state.join(name)));
        let files: Vec<(&str, PathBuf)> = files.collect();
        if let Some(given) = keys.auth_key_file {
            ensure!(
                files.iter().any(|(_, path)| *path == seen),
                "the key in {} would not be used: add \"auth_key\": \"${{file:{}}}\" to the \
                 section \"tailnet\" of {}",
                given.display(),
                seen.display(),
                self.path.display()
            );
        }
        for (name, path) in files {
            if path == seen {
                ensure!(
                    keys.auth_key.is_some(),
                    "{} refers to \"${{file:{name}}}\": name a file with the key with \
                     --auth-key-file FILE",
                    self.path.display()
                );
            } else if let Some(folder) = layout.hidden(&path) {
                bail!(
                    "{} refers to \"${{file:{name}}}\", but the service can't see {folder}: move \
                     the file to {}, with mode 644 or the group iris and mode 640, and change the \
                     reference",
                    self.path.display(),
                    layout.keys.display()
                );
            } else if Path::new(name).is_relative() && !path.exists() {
                bail!(
                    "{} refers to \"${{file:{name}}}\", which the service looks for at {}: copy \
                     the file there, or use an absolute path",
                    self.path.display(),
                    path.display()
                );
            }
        }
        Ok(())
    }

    fn values(&self, layout: &Layout, keys: &Keys<'_>) -> anyhow::Result<Vec<(String, String)>> {
        let mut values = Vec::new();
        let mut missing = Vec::new();
        for name in self.variables() {
            ensure!(
                is_variable(name),
                "{} refers to \"${{{name}}}\", which can't be a variable: use letters, digits and \
                 underscores",
                self.path.display()
            );
            let value = (keys.variable)(name);
            let Some(value) = value.or_else(|| environment::value(keys.environment, name)) else {
                missing.push(name);
                continue;
            };
            let odd = |char: char| char.is_control() && char != '\n' && char != '\t';
            ensure!(
                !value.contains(odd),
                "the value of {name} has a control character in it, which a service manager does \
                 not accept; set {name} to the key alone"
            );
            values.push((name.to_owned(), value));
        }
        if !missing.is_empty() {
            let file = layout.environment();
            let owner = if layout.keys_are_roots() {
                ", owned by root"
            } else {
                ""
            };
            let is_one = missing.len() == 1;
            let (are, them) = if is_one {
                ("is", "it")
            } else {
                ("are", "them")
            };
            // They may be set: sudo drops variables unless --preserve-env names them.
            let set = if keys.by_sudo {
                let command = as_root::command(missing.iter().copied())?;
                format!("set {them} and have sudo pass {them} on, by\n\n  {command}\n\n")
            } else {
                format!("set {them}, ")
            };
            bail!(
                "{} refers to {}, which {are} not set here: {set}or write {}=\"…\" to {} (mode \
                 600{owner})",
                self.path.display(),
                missing.join(", "),
                missing[0],
                file.display(),
            );
        }
        Ok(values)
    }
}

/// What a file will hold for the service.
fn content(path: &Path, layout: &Layout, keys: &Keys<'_>) -> Option<String> {
    if path == layout.auth_key_seen() {
        return keys.auth_key.map(str::to_owned);
    }
    let by_systemd = layout.manager == Manager::Systemd && layout.scope == Scope::Machine;
    if by_systemd && path.starts_with(CREDENTIALS) {
        // Credentials of the user's own are there only while the service runs.
        return Some("value".to_owned());
    }
    let text = config::text(path).ok()?;
    Some(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::layout::Person;
    use super::*;

    fn layout(scope: Scope, dir: &Path) -> Layout {
        let person = Person {
            home: dir.into(),
            config: dir.join("config"),
            state: dir.join("state"),
            sudo_user: None,
        };
        Layout::new(Manager::Systemd, scope, &person)
    }

    fn given(dir: &Path, auth_key: &str, apikey: &str) -> (Given, Layout) {
        let path = dir.join("iris.hujson");
        let text = serde_json::json!({
            "tailnet": { "auth_key": auth_key },
            "providers": { "p": { "baseurl": "http://p", "models": ["m"], "apikey": apikey } },
            "grants": [{ "src": ["a@example.com"],
                "app": { config::CAPABILITY: [{ "role": "admin" }] } }],
        });
        std::fs::write(&path, text.to_string()).unwrap();
        let layout = layout(Scope::Machine, dir);
        (Given::find(Some(&path), &layout).unwrap(), layout)
    }

    const CREDENTIAL: &str = "${file:/run/credentials/iris.service/authkey}";

    fn keys<'a>(
        variable: &'a dyn Fn(&str) -> Option<String>,
        environment: &'a str,
        auth_key: Option<&'a str>,
    ) -> Keys<'a> {
        Keys {
            variable,
            environment,
            auth_key,
            auth_key_file: auth_key.map(|_| Path::new("/key")),
            by_sudo: false,
        }
    }

    #[test]
    fn values_come_from_here_or_from_what_is_installed() {
        let dir = tempfile::tempdir().unwrap();
        let (given, layout) = given(dir.path(), CREDENTIAL, "${A_KEY}");
        let here = |name: &str| (name == "A_KEY").then(|| "here".to_owned());
        let none = |_: &str| None;
        let installed = "A_KEY=there\n";
        let value = |keys: &Keys<'_>| given.check(&layout, keys).unwrap().variables[0].1.clone();
        assert_eq!(value(&keys(&here, installed, Some("k"))), "here");
        assert_eq!(value(&keys(&none, installed, Some("k"))), "there");
        let error = given
            .check(&layout, &keys(&none, "", Some("k")))
            .unwrap_err();
        let expected = "refers to A_KEY, which is not set here: set it, or write A_KEY=\"…\" to \
                        /etc/iris/environment (mode 600, owned by root)";
        assert!(error.to_string().ends_with(expected), "{error}");
        let by_sudo = Keys {
            by_sudo: true,
            ..keys(&none, "", Some("k"))
        };
        let error = given.check(&layout, &by_sudo).unwrap_err().to_string();
        let expected = "which is not set here: set it and have sudo pass it on, by\n\n  sudo \
                        --preserve-env=A_KEY /";
        assert!(error.contains(expected), "{error}");
        assert!(
            error.contains("\n\nor write A_KEY=\"…\" to /etc/iris"),
            "{error}"
        );
        let odd = |_: &str| Some("\u{1b}[31m".to_owned());
        let error = given
            .check(&layout, &keys(&odd, "", Some("k")))
            .unwrap_err();
        assert!(error.to_string().contains("control character"), "{error}");
    }

    #[test]
    fn what_the_service_could_not_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let none = |_: &str| None;
        for (auth_key, apikey, key, wanted) in [
            (
                CREDENTIAL,
                "",
                None,
                "name a file with the key with --auth-key-file",
            ),
            (
                "",
                "",
                Some("k"),
                "the key in /key would not be used: add \"auth_key\": \"${file:/run",
            ),
            (
                "",
                "${file:/home/ada/key}",
                None,
                "the service can't see /home: move the file to /etc/iris",
            ),
            (
                "",
                "${file:no-such-key}",
                None,
                "looks for at /var/lib/iris/no-such-key: copy",
            ),
            ("", "${a-b}", None, "which can't be a variable"),
            (
                "",
                "${file:/no/such/key}",
                None,
                "unsubstituted macros: [file:/no/such/key]",
            ),
        ] {
            let (given, layout) = given(dir.path(), auth_key, apikey);
            let error = given.check(&layout, &keys(&none, "", key)).unwrap_err();
            assert!(error.to_string().contains(wanted), "{error}");
        }
        // Credentials that a user added to the unit are there once it runs.
        let (given, layout) = given(dir.path(), "", "${file:/run/credentials/iris.service/mine}");
        given.check(&layout, &keys(&none, "", None)).unwrap();
    }

    #[test]
    fn a_configuration_has_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(Scope::User, dir.path());
        let missing = Given::find(Some(Path::new("/no/such.hujson")), &layout)
            .err()
            .unwrap();
        assert!(
            format!("{missing:#}").starts_with("cannot read the configuration /no/such.hujson")
        );
    }
}
