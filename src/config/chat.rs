//! The sections `chat`, which says where conversations are kept, and `chat_models`: which models
//! the chat offers, and what it calls them. Aperture does not say how it is written, so that each
//! form that one would think of is read: a list of names, a list of objects, or an object from a
//! name to what it is called.

use super::declare::{Kind, Section, Setting};
use super::hujson::Value;
use super::table::Item;
use super::{section, words};

section! {
    /// How the chat is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Chat {
        /// Where conversations are kept: in the browser, or beside the records, for their owner alone.
        history: History,
    }
}

words! {
    /// Where conversations are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum History {
        /// In the browser that they were had in.
        #[default]
        Browser = "browser",
        /// Beside the records, for their owner alone.
        Ledger = "ledger",
    }
}

/// A model of the chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatModel {
    /// As `model` or `provider/model`.
    pub model: String,
    /// What people are shown instead.
    pub label: Option<String>,
}

section! {
    /// A model of a list.
    struct Listed {
        /// As `model` or `provider/model`.
        model: Option<String>,
        /// The same.
        id: Option<String>,
        /// What people are shown instead.
        name: Option<String>,
        /// The same.
        label: Option<String>,
    }
}

section! {
    /// What an object calls its model.
    struct Called {
        /// What people are shown instead.
        name: Option<String>,
        /// The same.
        label: Option<String>,
    }
}

/// The models, as a list or by name.
pub(super) const MODELS: Kind = Kind::Any(&[
    Kind::List(&Kind::Any(&[Kind::Text, Listed::KIND])),
    Kind::Map("model", &Kind::Any(&[Kind::Text, Called::KIND])),
]);

pub(super) fn models(item: &Item<'_>) -> Option<Option<Vec<ChatModel>>> {
    if !matches!(item.node.value, Value::Object(_)) {
        let items = item.items().into_iter().flatten();
        return Some(Some(items.filter_map(|item| listed(&item)).collect()));
    }
    let table = item.table()?;
    let named = table.named().map(|(name, item)| ChatModel {
        model: name.to_owned(),
        label: called(&item),
    });
    Some(Some(named.collect()))
}

fn listed(item: &Item<'_>) -> Option<ChatModel> {
    if !matches!(item.node.value, Value::Object(_)) {
        let model = item.string()?.to_owned();
        return Some(ChatModel { model, label: None });
    }
    let read = Listed::of(item.table()?)?;
    let Some(model) = read.model.or(read.id) else {
        item.warn("an entry of chat_models has no \"model\"");
        return None;
    };
    let label = read.name.or(read.label);
    Some(ChatModel { model, label })
}

/// A text, or an object with a name.
fn called(item: &Item<'_>) -> Option<String> {
    if !matches!(item.node.value, Value::Object(_)) {
        let label = item.string().map(str::to_owned);
        return label.filter(|label| !label.is_empty());
    }
    let read = Called::of(item.table()?)?;
    read.name.or(read.label)
}
