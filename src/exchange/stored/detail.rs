//! What is stored of a response beside whose it is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::bucket::Link;
use crate::base::text::Text;
use crate::policy::budget::Definitions;
use crate::records::Entry;
use crate::records::objects::Object;

/// The detail of an object.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::exchange) struct Detail {
    /// The number of the provider's key that it was asked for with.
    pub(in crate::exchange) key: usize,
    /// The model as the provider names it.
    pub(in crate::exchange) model: Text,
    /// Set while it is made in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::exchange) running: Option<Running>,
}

/// What it takes to end a response that is made in the background.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::exchange) struct Running {
    /// The API format of the request, by name.
    pub(in crate::exchange) format: String,
    /// Its record as far as the request tells.
    pub(in crate::exchange) entry: Entry,
    /// Bytes of the request that count as text.
    pub(in crate::exchange) asked_bytes: u64,
    /// The buckets that pay, those that pay together in one list.
    pub(in crate::exchange) buckets: Vec<Vec<Bucket>>,
}

/// A bucket that pays.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::exchange) struct Bucket {
    key: Text,
    name: Text,
    definition: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Text>,
}

impl Detail {
    pub(in crate::exchange) fn new(key: usize, model: &str) -> Self {
        Self {
            key,
            model: model.into(),
            running: None,
        }
    }

    pub(in crate::exchange) fn of(object: &Object) -> Option<Self> {
        serde_json::from_slice(&object.detail).ok()
    }

    /// As it is stored.
    pub(in crate::exchange) fn written(&self) -> Vec<u8> {
        // Texts and numbers: nothing that can't be written.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Bucket {
    pub(in crate::exchange) fn of(link: &Link) -> Self {
        Self {
            key: link.key.clone(),
            name: link.bucket.clone(),
            definition: link.template.clone(),
            before: link.before.clone(),
        }
    }
}

impl Running {
    /// The buckets that pay, as they are defined now. One whose definition is gone pays no more.
    pub(in crate::exchange) fn links(&self, definitions: &Definitions) -> Vec<Arc<[Link]>> {
        let link = |bucket: &Bucket| {
            Some(Link {
                key: bucket.key.clone(),
                bucket: bucket.name.clone(),
                template: bucket.definition.clone(),
                terms: definitions.terms(&bucket.definition)?,
                before: bucket.before.clone(),
            })
        };
        let chains = self.buckets.iter();
        chains
            .map(|chain| chain.iter().filter_map(link).collect())
            .collect()
    }
}
