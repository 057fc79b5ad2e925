//! Asking where the key of a provider is: in a variable, in a file, or typed now. What is typed is
//! only promised a file here; it is written along with the configuration.

use std::cell::RefCell;
use std::path::PathBuf;

use super::key::{AWS_VARIABLES, Credential, Key, KeyPlace};
use super::provider::Provider;
use super::service::{BEDROCK_VARIABLE, GOOGLE_VARIABLE, Service};
use super::terminal::{ask, ask_secret, choose};
use crate::app::cli::{is_variable, set};

/// The keys that are asked for.
pub(super) struct Keys {
    /// Where typed keys are kept.
    folder: PathBuf,
    /// Files there that are written at the end.
    promised: RefCell<Vec<PathBuf>>,
}

impl Keys {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            promised: RefCell::default(),
        }
    }

    /// Where the key of a provider is; `None` if it has none.
    pub(super) fn ask(
        &self,
        service: &Service,
        provider: &Provider,
    ) -> anyhow::Result<Option<Key>> {
        match service.credential {
            Credential::Aws => self.aws(service, provider),
            Credential::ServiceAccount => account(service).map(Some),
            Credential::None => self.plain(&provider.usual_variable(), service, provider),
            Credential::Key(variable) => self.plain(variable, service, provider),
        }
    }

    fn plain(
        &self,
        variable: &str,
        service: &Service,
        provider: &Provider,
    ) -> anyhow::Result<Option<Key>> {
        let is_set = set(variable).is_some();
        let named = format!(
            "In the environment variable {variable}, which is {}",
            state(is_set)
        );
        let typed = "I type it now";
        let mut choices = vec![typed, "In another environment variable", "In a file"];
        choices.insert(usize::from(!is_set), &named);
        choices.push("It has no key");
        let question = "  Where is its key? It is never written into the configuration.";
        let chosen = choose(question, &choices)?;
        match (chosen, is_set) {
            (0, true) | (1, false) => Ok(Some(Key::variable(variable))),
            (0 | 1, _) => self.typed(variable, provider).map(Some),
            (2, _) => {
                let name = ask("  The variable's name", None, |text| {
                    anyhow::ensure!(
                        is_variable(text),
                        "{text:?} is not a variable's name: use letters, digits and '_'"
                    );
                    Ok(text.to_owned())
                })?;
                Ok(Some(Key::variable(&name)))
            }
            (3, _) => ask("  The file's name", None, |text| in_file(service, text)).map(Some),
            _ => Ok(None),
        }
    }

    /// A key that is typed, and where it goes.
    fn typed(&self, variable: &str, provider: &Provider) -> anyhow::Result<Key> {
        let secret = ask_secret("  The key")?;
        let path = self.free_file(&provider.id);
        let save = format!("Save it to {}, which only you can read", path.display());
        let leave = format!("Don't save it; {variable} will be set when the gateway starts");
        if choose("  Where should it be kept?", &[&save, &leave])? == 0 {
            self.promised.borrow_mut().push(path.clone());
            return Ok(Key::stored(secret, &path));
        }
        Ok(Key::kept_elsewhere(secret, variable))
    }

    /// A file for a key that holds none yet.
    fn free_file(&self, id: &str) -> PathBuf {
        let promised = self.promised.borrow();
        let is_free =
            |path: &PathBuf| !promised.contains(path) && !path.try_exists().unwrap_or(true);
        let first = self.folder.join(format!("{id}.key"));
        let others = (2..1_000).map(|nth| self.folder.join(format!("{id}-{nth}.key")));
        let mut all = std::iter::once(first.clone()).chain(others);
        all.find(is_free).unwrap_or(first)
    }

    fn aws(&self, service: &Service, provider: &Provider) -> anyhow::Result<Option<Key>> {
        let [id, secret, _] = AWS_VARIABLES;
        let state = state(set(id).is_some() && set(secret).is_some());
        let keys = format!("Keys of AWS in {id} and {secret}, which are {state}");
        let bedrock = format!("A Bedrock API key, in {BEDROCK_VARIABLE} or typed now");
        if choose("  With which credential?", &[&keys, &bedrock])? == 0 {
            return Ok(Some(Key::at(&KeyPlace::Aws, service.credential)));
        }
        self.plain(BEDROCK_VARIABLE, service, provider)
    }
}

fn state(is_set: bool) -> &'static str {
    if is_set { "set" } else { "not set here" }
}

/// The key file of a Google service account.
fn account(service: &Service) -> anyhow::Result<Key> {
    let usual = std::env::var(GOOGLE_VARIABLE).ok();
    let question = "  Which file holds the JSON key of a service account?";
    ask(question, usual.as_deref(), |text| in_file(service, text))
}

/// A key in a file that can be read.
fn in_file(service: &Service, text: &str) -> anyhow::Result<Key> {
    let place: KeyPlace = format!("file:{text}").parse()?;
    if let KeyPlace::File(path) = &place {
        std::fs::File::open(path)
            .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    }
    Ok(Key::at(&place, service.credential))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_what_the_kind_of_provider_takes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "k").unwrap();
        let path = path.to_str().unwrap();
        // A person's own server may have the name of a kind.
        let provider = Provider::new(Service::at("vertex"), "http://vertex:8000", None);
        assert_eq!(provider.id, "vertex");
        let key = in_file(Service::at("vertex"), path).unwrap();
        assert_eq!(key.text, format!("${{file:{path}}}"));
        let account = in_file(Service::named("vertex").unwrap(), path).unwrap();
        assert_eq!(account.text, format!("keyfile::${{file:{path}}}"));
        assert!(in_file(Service::at(""), "/nonexistent/key").is_err());
    }

    #[test]
    fn a_file_is_promised_once() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::new(dir.path().to_owned());
        std::fs::write(dir.path().join("p.key"), "").unwrap();
        let second = dir.path().join("p-2.key");
        assert_eq!(keys.free_file("p"), second);
        keys.promised.borrow_mut().push(second);
        assert_eq!(keys.free_file("p"), dir.path().join("p-3.key"));
    }
}
