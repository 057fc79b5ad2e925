//! Which enabled providers serve a model, by each way to read its name.

use std::collections::HashMap;
use std::sync::Arc;

use super::Provider;
use crate::base::text::Text;

/// What Ollama adds to the name of a model that has no tag of its own.
pub(super) const LATEST: &str = ":latest";

/// From a model to the enabled providers that serve it.
pub(super) struct Catalog(HashMap<Text, Vec<Arc<Provider>>>);

/// Who serves a model.
pub(super) struct Serving<'a> {
    /// As it is listed.
    pub(super) model: &'a Text,
    pub(super) providers: Vec<&'a Arc<Provider>>,
}

/// A name that can be read in two ways.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ambiguous<'a> {
    /// The name.
    pub name: &'a str,
    /// The provider that is meant.
    pub meant: &'a str,
    /// Those that list a model by the whole name.
    pub others: Vec<&'a str>,
}

impl Catalog {
    pub(super) fn new(providers: &[Arc<Provider>]) -> Self {
        let mut by_model: HashMap<Text, Vec<Arc<Provider>>> = HashMap::new();
        for provider in providers.iter().filter(|provider| !provider.disabled) {
            for model in &provider.models {
                let serving = by_model.entry(model.into()).or_default();
                if !serving.iter().any(|other| other.id == provider.id) {
                    serving.push(Arc::clone(provider));
                }
            }
        }
        Self(by_model)
    }

    /// Enabled providers of a name, and the model as they list it, for each way to read the name: the
    /// one that names a provider comes first. A model's own name may begin with a provider's id, as
    /// those of aggregators do, and what `provider/model` means must not depend on what
    /// other providers list.
    ///
    /// Ollama lists `tiny:latest` and is asked for `tiny`, and its clients ask for `gpt-5:latest` where
    /// `gpt-5` is listed: such a name means the other one where no model has it exactly, so that grants,
    /// prices and records know one name, the listed one.
    pub(super) fn readings(&self, name: &str) -> Vec<Serving<'_>> {
        let is_tagged = |name: &str| name.rsplit('/').next().unwrap_or_default().contains(':');
        let exactly = self.exactly(name);
        if !exactly.is_empty() {
            return exactly;
        }
        match name.strip_suffix(LATEST) {
            Some(untagged) if !is_tagged(untagged) => self.exactly(untagged),
            None if !is_tagged(name) => self.exactly(&format!("{name}{LATEST}")),
            _ => exactly,
        }
    }

    fn exactly(&self, name: &str) -> Vec<Serving<'_>> {
        let qualified = name.split_once('/').and_then(|(id, model)| {
            let (model, providers) = self.0.get_key_value(model)?;
            let provider = providers.iter().find(|provider| provider.id == id)?;
            Some(Serving {
                model,
                providers: vec![provider],
            })
        });
        let bare = self.0.get_key_value(name);
        let bare = bare.map(|(model, providers)| Serving {
            model,
            providers: providers.iter().collect(),
        });
        qualified.into_iter().chain(bare).collect()
    }

    pub(super) fn ambiguous(&self) -> Vec<Ambiguous<'_>> {
        let names = self.0.iter().filter_map(|(name, providers)| {
            let (id, model) = name.split_once('/')?;
            let meant = self.0.get(model)?.iter().find(|one| one.id == id)?;
            Some(Ambiguous {
                name,
                meant: &meant.id,
                others: providers.iter().map(|one| one.id.as_str()).collect(),
            })
        });
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    }
}
