//! The sections `chat`, which says where conversations are kept, and `chat_models`: which models
//! the chat offers, and what it calls them. Aperture does not say how it is written, so that each
//! form that one would think of is read: a list of names, a list of objects, or an object from a
//! name to what it is called.

use super::hujson::Value;
use super::table::{Item, Table};

/// How the chat is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chat {
    /// Where conversations are kept.
    pub history: History,
}

/// Where conversations are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// In the browser that they were had in.
    #[default]
    Browser,
    /// Beside the records, for their owner alone.
    Ledger,
}

pub(super) fn section(table: Table<'_>) -> Chat {
    let words = [("browser", History::Browser), ("ledger", History::Ledger)];
    let history = table.choice("history", &words).unwrap_or_default();
    table.finish();
    Chat { history }
}

/// A model of the chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatModel {
    /// As `model` or `provider/model`.
    pub model: String,
    /// What people are shown instead.
    pub label: Option<String>,
}

pub(super) fn models(item: &Item<'_>) -> Vec<ChatModel> {
    match &item.node.value {
        Value::Object(_) => {
            let Some(table) = item.table() else {
                return Vec::new();
            };
            let named = table.named();
            named
                .map(|(name, item)| ChatModel {
                    model: name.to_owned(),
                    label: label(&item),
                })
                .collect()
        }
        _ => item
            .items()
            .into_iter()
            .flatten()
            .filter_map(|item| model(&item))
            .collect(),
    }
}

fn model(item: &Item<'_>) -> Option<ChatModel> {
    if !matches!(item.node.value, Value::Object(_)) {
        let model = item.string()?.to_owned();
        return Some(ChatModel { model, label: None });
    }
    let table = item.table()?;
    let (id, label) = (table.string("id"), called(&table));
    let model = table.string("model").or(id);
    table.finish();
    let Some(model) = model else {
        let message = "an entry of chat_models has no \"model\"";
        item.findings.warn(item.node.at, &item.path, message);
        return None;
    };
    Some(ChatModel { model, label })
}

/// A text, or an object with a name.
fn label(item: &Item<'_>) -> Option<String> {
    if !matches!(item.node.value, Value::Object(_)) {
        return item
            .string()
            .map(str::to_owned)
            .filter(|label| !label.is_empty());
    }
    let table = item.table()?;
    let label = called(&table);
    table.finish();
    label
}

/// What an object calls its model.
fn called(table: &Table<'_>) -> Option<String> {
    let label = table.string("label");
    table.string("name").or(label)
}
