//! Where a provider's key is. The configuration names the place and never holds the key: a typed key
//! is saved in its own file, or has to be in a variable when the gateway starts.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;

use crate::app::cli::{is_variable, set};
use crate::base::secret::Secret;
use crate::config;

/// The variables of AWS's own programs.
pub(super) const AWS_VARIABLES: [&str; 3] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// How a provider authenticates callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// Not at all, unless it asks for a key.
    None,
    /// By a key, which usually stands in this variable.
    Key(&'static str),
    /// By keys of AWS, or by one of Bedrock.
    Aws,
    /// By the key file of a service account.
    ServiceAccount,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// As `apikey` has it.
    pub(super) text: String,
    /// What stands in `${…}` there.
    pub(super) references: Vec<String>,
    /// What was typed and isn't saved yet.
    pub(super) typed: Option<Secret>,
    /// The file to save it in; without one it must be in the variable.
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
    /// A key at a place, in the form that a kind of provider takes. A variable with the key file of a
    /// service account has it in base64.
    pub(super) fn at(place: &KeyPlace, credential: Credential) -> Self {
        let is_account = credential == Credential::ServiceAccount;
        match place {
            KeyPlace::Env(name) => Self::of(is_account, &[name]),
            KeyPlace::File(path) => Self::of(is_account, &[&format!("file:{}", path.display())]),
            KeyPlace::Aws if set(AWS_VARIABLES[2]).is_some() => Self::of(false, &AWS_VARIABLES),
            KeyPlace::Aws => Self::of(false, &AWS_VARIABLES[..2]),
        }
    }

    pub(super) fn variable(name: &str) -> Self {
        Self::of(false, &[name])
    }

    fn of(is_account: bool, references: &[&str]) -> Self {
        let places: Vec<String> = references.iter().map(|one| format!("${{{one}}}")).collect();
        let prefix = if is_account { "keyfile::" } else { "" };
        Self {
            text: format!("{prefix}{}", places.join(":")),
            references: references.iter().map(|one| (*one).to_owned()).collect(),
            typed: None,
            file: None,
        }
    }

    /// A typed key that goes into a file.
    pub(super) fn stored(secret: Secret, path: &Path) -> Self {
        Self {
            typed: Some(secret),
            file: Some(path.to_owned()),
            ..Self::of(false, &[&format!("file:{}", path.display())])
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

    /// The references that are not set.
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

    /// Writes what was typed to its file, if it has one, and returns the path. A file that is there
    /// already is an error.
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
            Key::of(false, &AWS_VARIABLES).text,
            "${AWS_ACCESS_KEY_ID}:${AWS_SECRET_ACCESS_KEY}:${AWS_SESSION_TOKEN}"
        );
        let file = KeyPlace::File("/sa.json".into());
        let account = Key::at(&file, Credential::ServiceAccount);
        assert_eq!(account.text, "keyfile::${file:/sa.json}");
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
