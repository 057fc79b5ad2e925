//! The section `prices`: what models cost, where the built-in table is wrong or silent.

use indexmap::IndexMap;

use super::hujson::Value;
use super::table::Item;
use crate::base::money::{Price, Problem, Table};

/// Reads prices by `model` or `provider/model`. A price that can't be read is an error: a
/// guess in its place would be charged.
pub(super) fn read(item: &Item<'_>) -> IndexMap<String, Price> {
    let Some(all) = item.table() else {
        return IndexMap::new();
    };
    all.named()
        .filter_map(|(name, item)| Some((name.to_owned(), price(&item)?)))
        .collect()
}

fn price(item: &Item<'_>) -> Option<Price> {
    let mut read = Price::default();
    for (key, item) in item.table()?.named() {
        match key {
            "context_window_tokens" => read.context_window = tokens(&item),
            "max_output_tokens" => read.max_output = tokens(&item),
            "variable" => read.variable = item.boolean().unwrap_or_default(),
            "modes" => modes(&mut read, &item),
            _ => rate(&mut read.standard, key, &item),
        }
    }
    if read.standard.named().next().is_none() {
        let message = "this prices nothing: it has neither input nor output";
        item.findings.warn(item.node.at, &item.path, message);
    }
    Some(read)
}

fn modes(price: &mut Price, item: &Item<'_>) {
    let Some(modes) = item.table() else {
        return;
    };
    let of = |name: &'static str| modes.get(name).and_then(|item| table(&item));
    price.batch = of("batch");
    price.priority = of("priority");
    price.flex = of("flex");
    modes.finish();
}

fn table(item: &Item<'_>) -> Option<Table> {
    let mut read = Table::default();
    for (key, item) in item.table()?.named() {
        rate(&mut read, key, &item);
    }
    Some(read)
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
            let message = format!("unknown config key \"{key}\"");
            item.findings.warn(item.node.at, &item.path, message);
        }
        Err(Problem::NoNumber) => {
            let message = format!(
                "invalid price {text:?}; write dollars for a million tokens, as in \"1.25\""
            );
            item.findings.error(item.node.at, &item.path, message);
        }
    }
}

fn tokens(item: &Item<'_>) -> Option<u64> {
    let read = item.integer()?;
    let tokens = u64::try_from(read).ok();
    if tokens.is_none() {
        let message = format!("{read} is not a number of tokens");
        item.findings.error(item.node.at, &item.path, message);
    }
    tokens
}
