//! The sections `model_aliases` and `routing`: how a request finds its way among models and
//! providers that could all answer.

use super::file::{Alias, Aliases, DefaultModels, Destination, Routing, Share, Strategy};
use super::table::{Item, Table};

/// Providers asked for one request, whatever the configuration says.
const MOST_ATTEMPTS: i64 = 10;

pub(super) fn aliases(table: Table<'_>) -> Aliases {
    let known = {
        let mut known = vec![("", Strategy::First)];
        known.extend(Strategy::WORDS);
        known
    };
    let strategy = table.choice("strategy", &known).unwrap_or_default();
    let mut read = Aliases::default();
    if let Some(models) = table.table("models") {
        for (name, item) in models.named() {
            let Some(alias) = item.table() else { continue };
            let dst: Vec<Destination> = alias
                .get("dst")
                .and_then(|item| item.items())
                .into_iter()
                .flatten()
                .filter_map(|item| destination(&item))
                .collect();
            if dst.is_empty() {
                let message = format!("the alias {name:?} has no dst and stands for nothing");
                item.findings.warn(item.node.at, &item.path, message);
            }
            let strategy = alias.choice("strategy", &known).unwrap_or(strategy);
            if strategy == Strategy::Weighted && dst.iter().all(|one| one.weight == 0) {
                let message = format!("the alias {name:?} has no destination with a weight");
                item.findings.warn(item.node.at, &item.path, message);
            }
            alias.finish();
            read.models.insert(name.to_owned(), Alias { dst, strategy });
        }
    }
    table.finish();
    read
}

/// `"provider/model"`, or `{"model": "provider/model", "weight": 3}`.
fn destination(item: &Item<'_>) -> Option<Destination> {
    if let super::hujson::Value::String(model) = &item.node.value {
        return Some(Destination {
            model: model.clone(),
            weight: 1,
        });
    }
    let table = item.table()?;
    let model = table.string("model");
    let weight = table.integer("weight").unwrap_or(1);
    if model.is_none() {
        table
            .findings
            .warn(table.at, &table.path, "this destination names no model");
    }
    let weight = u32::try_from(weight).unwrap_or_else(|_| {
        let message = "a weight is a number from 0 on";
        table
            .findings
            .error(table.position("weight"), &table.path, message);
        0
    });
    table.finish();
    Some(Destination {
        model: model?,
        weight,
    })
}

pub(super) fn default_models(table: Table<'_>) -> DefaultModels {
    let mut read = DefaultModels::default();
    for endpoint in DefaultModels::ENDPOINTS {
        if let Some(model) = table.string(endpoint).filter(|model| !model.is_empty()) {
            read.insert(endpoint, model);
        }
    }
    table.finish();
    read
}

pub(super) fn read(table: Table<'_>) -> Routing {
    let default = Routing::default();
    let shares = [
        ("affinity", Share::Affinity),
        ("least_busy", Share::LeastBusy),
        ("round_robin", Share::RoundRobin),
        ("first", Share::First),
    ];
    let count = |key, default: u32, least: i64, most: i64| {
        let Some(item) = table.get(key) else {
            return default;
        };
        let value = item
            .integer()
            .filter(|value| (least..=most).contains(value))
            .and_then(|value| u32::try_from(value).ok());
        value.unwrap_or_else(|| {
            let message = format!("this is a number from {least} to {most}");
            item.findings.error(item.node.at, &item.path, message);
            default
        })
    };
    let read = Routing {
        equal: table.choice("equal", &shares).unwrap_or(default.equal),
        failover: table.boolean("failover").unwrap_or(default.failover),
        attempts: count("attempts", default.attempts, 1, MOST_ATTEMPTS),
        eject_after: count("eject_after", default.eject_after, 0, 1_000),
        eject_for: table.duration("eject_for").unwrap_or(default.eject_for),
        eject_at_most: table
            .duration("eject_at_most")
            .unwrap_or(default.eject_at_most),
    };
    table.finish();
    read
}
