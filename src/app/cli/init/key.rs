//! Where a provider's key is. The configuration names the place and never holds the key: what is
//! typed goes into a file of its own, or stays in a variable that the gateway is started with.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;

use crate::app::cli::is_variable;
use crate::base::secret::Secret;
use crate::config;

/// The variables of AWS's own programs.
pub(super) const AWS_VARIABLES: [&str; 3] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// As `apikey` has it.
    pub(super) text: String,
    /// What stands in `${…}` there.
    pub(super) references: Vec<String>,
    /// What was typed, and is not in its place yet.
    pub(super) typed: Option<Secret>,
    /// The file that it is written to; without one it has to be in the variable.
    pub(super) file: Option<PathBuf>,
}

/// A place for a key, as it is written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyPlace {
    Env(String),
    File(PathBuf),
    /// The variables of AWS's own programs.
    Aws,
}

impl FromStr for KeyPlace {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text == "aws" {
            return Ok(Self::Aws);
        }
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            anyhow::ensure!(
                !path.contains('}'),
                "the name of the key's file must not have a '}}': {path:?}"
            );
            return Ok(Self::File(std::path::absolute(path)?));
        }
        let name = text.strip_prefix("env:").unwrap_or_default();
        anyhow::ensure!(
            is_variable(name),
            "key= does not say where the key is; write key=env:NAME or key=file:PATH (the key itself \
             is never written into the configuration)"
        );
        Ok(Self::Env(name.to_owned()))
    }
}

impl Key {
    pub(super) fn variable(name: &str) -> Self {
        Self::of(String::new(), &[name.to_owned()])
    }

    pub(super) fn file(path: &Path) -> Self {
        Self::of(String::new(), &[format!("file:{}", path.display())])
    }

    /// The keys of AWS's own programs.
    pub(super) fn aws(with_session: bool) -> Self {
        let count = if with_session { 3 } else { 2 };
        let names: Vec<String> = AWS_VARIABLES[..count]
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        Self::of(String::new(), &names)
    }

    pub(super) fn service_account_file(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self::of(
            "keyfile::".to_owned(),
            &[format!("file:{}", path.display())],
        )
    }

    /// A variable with a service account's key file, in base64.
    pub(super) fn service_account_variable(name: &str) -> Self {
        Self::of("keyfile::".to_owned(), &[name.to_owned()])
    }

    fn of(prefix: String, references: &[String]) -> Self {
        let places: Vec<String> = references
            .iter()
            .map(|reference| format!("${{{reference}}}"))
            .collect();
        Self {
            text: prefix + &places.join(":"),
            references: references.to_vec(),
            typed: None,
            file: None,
        }
    }

    /// A typed key that goes into a file.
    pub(super) fn stored(secret: Secret, path: &Path) -> Self {
        Self {
            typed: Some(secret),
            file: Some(path.to_owned()),
            ..Self::file(path)
        }
    }

    /// A typed key that the variable is to hold.
    pub(super) fn kept_elsewhere(secret: Secret, variable: &str) -> Self {
        Self {
            typed: Some(secret),
            ..Self::variable(variable)
        }
    }

    /// The values of what it names, as far as they are only typed.
    pub(super) fn values(&self) -> Vec<(String, Secret)> {
        let values = self.references.iter().zip(&self.typed);
        values
            .map(|(reference, secret)| (reference.clone(), secret.clone()))
            .collect()
    }

    /// What it names and nobody has set.
    pub(super) fn missing(&self, config: &Path) -> Vec<&str> {
        let is_missing =
            |reference: &&String| self.typed.is_none() && !config::is_there(reference, config);
        let missing = self.references.iter().filter(is_missing);
        missing.map(String::as_str).collect()
    }

    /// Variables that the gateway must be started with.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        let named = self.references.iter().map(String::as_str);
        named.filter(|reference| !reference.starts_with("file:"))
    }

    /// Puts what was typed in its place, if that is a file: which.
    ///
    /// # Errors
    /// When the file is there already, or can't be written.
    pub(super) fn store(&self) -> anyhow::Result<Option<&Path>> {
        let (Some(secret), Some(path)) = (&self.typed, &self.file) else {
            return Ok(None);
        };
        config::store(path, secret)
            .with_context(|| format!("cannot write the key to {}", path.display()))?;
        Ok(Some(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_a_key_is_none() {
        let place = |text: &str| text.parse::<KeyPlace>();
        assert_eq!(place("env:A_1").unwrap(), KeyPlace::Env("A_1".to_owned()));
        assert_eq!(
            place("file:/run/k").unwrap(),
            KeyPlace::File("/run/k".into())
        );
        for wrong in [
            "",
            "sk-1234",
            "env:",
            "env:1A",
            "env:A-B",
            "file:",
            "file:/a}b",
        ] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_configuration_names_places_only() {
        assert_eq!(Key::variable("A").text, "${A}");
        assert_eq!(
            Key::aws(true).text,
            "${AWS_ACCESS_KEY_ID}:${AWS_SECRET_ACCESS_KEY}:${AWS_SESSION_TOKEN}"
        );
        assert_eq!(
            Key::service_account_file(Path::new("/sa.json")).text,
            "keyfile::${file:/sa.json}"
        );
        let secret = Secret::new("sk-typed".to_owned());
        let stored = Key::stored(secret.clone(), Path::new("/state/keys/p.key"));
        assert_eq!(stored.text, "${file:/state/keys/p.key}");
        assert_eq!(stored.variables().count(), 0);
        assert!(stored.missing(Path::new("iris.hujson")).is_empty());
        let kept = Key::kept_elsewhere(secret, "P_API_KEY");
        assert_eq!(kept.variables().collect::<Vec<_>>(), ["P_API_KEY"]);
        assert!(!format!("{kept:?}{stored:?}").contains("sk-typed"));
        let missing = Key::variable("IRIS_TEST_NOT_SET");
        assert_eq!(missing.missing(Path::new("x")), ["IRIS_TEST_NOT_SET"]);
    }
}
