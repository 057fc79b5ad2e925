//! The section `prices`: what models cost, where the built-in table is wrong or silent.

use super::declare::{Kind, Section, Setting, Way};
use super::hujson::Value;
use super::section;
use super::table::Item;
use crate::base::money::{Price, Problem, Table};

section! {
    /// What stands beside the rates of a model.
    struct Beside {
        /// Tokens that the model can read.
        context_window_tokens: Option<u64> => Way::new(Kind::Integer(0, i64::MAX), tokens),
        /// Tokens that it can write.
        max_output_tokens: Option<u64> => Way::new(Kind::Integer(0, i64::MAX), tokens),
        /// Whether the price differs from request to request.
        variable: bool,
        /// Prices of other ways to ask.
        modes: Modes,
    }
}

section! {
    /// Rates of other ways to ask.
    struct Modes {
        /// Prices of batches.
        batch: Option<Table>,
        /// Prices of the service tier `priority`.
        priority: Option<Table>,
        /// Prices of the service tier `flex`.
        flex: Option<Table>,
    }
}

/// A price that can't be read is an error: a guess in its place would be charged.
impl Setting for Price {
    const KIND: Kind = Kind::Prices(Beside::keys);

    fn read(item: &Item<'_>) -> Option<Self> {
        let table = item.table()?;
        let mut standard = Table::default();
        let keys = Beside::keys();
        let is_key = |name: &str| keys.iter().any(|key| key.name == name);
        for (key, item) in table.besides(is_key) {
            rate(&mut standard, key, &item);
        }
        let beside = Beside::of(table)?;
        if standard.named().next().is_none() {
            item.warn("this prices nothing: it has neither input nor output");
        }
        Some(Self {
            standard,
            context_window: beside.context_window_tokens,
            max_output: beside.max_output_tokens,
            variable: beside.variable,
            batch: beside.modes.batch,
            priority: beside.modes.priority,
            flex: beside.modes.flex,
        })
    }
}

impl Setting for Table {
    const KIND: Kind = Kind::Prices(Vec::new);

    fn read(item: &Item<'_>) -> Option<Self> {
        let mut read = Self::default();
        for (key, item) in item.table()?.named() {
            rate(&mut read, key, &item);
        }
        Some(read)
    }
}

fn rate(table: &mut Table, key: &str, item: &Item<'_>) {
    // The shortest text of a number has all the digits that were written.
    let text = match &item.node.value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => format!("a {}", other.kind()),
    };
    match table.set(key, &text) {
        Ok(()) => {}
        Err(Problem::UnknownField) => {
            item.warn(format!("unknown config key \"{key}\""));
        }
        Err(Problem::NoNumber) => {
            let message = format!(
                "invalid price {text:?}; write dollars for a million tokens, as in \"1.25\""
            );
            item.error(message);
        }
    }
}

/// A number of tokens.
fn tokens(item: &Item<'_>) -> Option<Option<u64>> {
    let read = item.integer()?;
    let tokens = u64::try_from(read).ok();
    if tokens.is_none() {
        item.error(format!("{read} is not a number of tokens"));
    }
    Some(tokens)
}
