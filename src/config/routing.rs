//! The sections `model_aliases`, `default_models` and `routing`: how a request finds its way among
//! models and providers that could all answer.

use std::time::Duration;

use indexmap::IndexMap;

use super::declare::{Key, Kind, Setting, Way};
use super::hujson::{Position, Value};
use super::readers::{Count, Named};
use super::table::{Item, Table};
use super::{section, words};
use crate::formats;

section! {
    /// Other names for models.
    #[derive(Clone, Debug)]
    pub struct Aliases {
        /// How an alias picks among its destinations, where it does not say.
        strategy: Strategy,
        /// Aliases by name.
        #[key(required)]
        models: IndexMap<String, Alias> => Named("alias"),
    }
    check: check_aliases
}

section! {
    /// One alias.
    #[derive(Clone, Debug)]
    pub struct Alias {
        /// What it stands for, as `provider/model`, in order.
        #[key(required)]
        dst: Vec<Destination> => Way::new(DESTINATIONS, destinations),
        /// How one is picked; without it as `model_aliases.strategy` says.
        own_strategy as "strategy": Option<Strategy>,
    }
    beside {
        /// How one is picked.
        strategy: Strategy,
        /// Where it stands.
        at: Position,
    }
    check: check_alias
}

section! {
    /// A model that an alias may stand for.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Destination {
        /// As `provider/model`.
        #[key(required)]
        model: String,
        /// Its share with the strategy `weighted`.
        weight: u32 = 1 => WEIGHT,
    }
    check: check_destination
}

words! {
    /// How an alias picks among its destinations.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Strategy {
        /// The first that exists, and no other.
        #[default]
        First = "" | "first",
        /// Each in its turn; the others help out.
        RoundRobin = "round_robin",
        /// By weight; the others help out.
        Weighted = "weighted",
        /// The one with the fewest open requests; the others help out.
        LeastBusy = "least_busy",
        /// The first, and the others in order when it fails.
        Failover = "failover",
        /// The first, until a budget that pays for it is below its `warn_below`; then the next, and so on. The others help out too.
        Budget = "budget",
    }
}

fn check_alias(mut read: Alias, table: &Table<'_>) -> Alias {
    read.at = table.at;
    if read.dst.is_empty() {
        table.warn(format!(
            "the alias {:?} has no dst and stands for nothing",
            table.name
        ));
    }
    read
}

fn check_aliases(mut read: Aliases, table: &Table<'_>) -> Aliases {
    for (name, alias) in &mut read.models {
        alias.strategy = alias.own_strategy.unwrap_or(read.strategy);
        if alias.strategy == Strategy::Weighted && alias.dst.iter().all(|one| one.weight == 0) {
            let path = format!("{}.models.{name}", table.path);
            let message = format!("the alias {name:?} has no destination with a weight");
            table.findings.warn(alias.at, &path, message);
        }
    }
    read
}

/// `"provider/model"`, or `{"model": "provider/model", "weight": 3}`.
const DESTINATIONS: Kind = Kind::List(&Kind::Any(&[Kind::Text, Destination::KIND]));

fn destinations(item: &Item<'_>) -> Option<Vec<Destination>> {
    let read = item.items()?.filter_map(|item| match &item.node.value {
        Value::String(model) => Some(Destination {
            model: model.clone(),
            ..Destination::default()
        }),
        _ => Destination::read(&item),
    });
    Some(read.collect())
}

fn check_destination(read: Destination, table: &Table<'_>) -> Option<Destination> {
    let has_model = table
        .get("model")
        .is_some_and(|item| matches!(item.node.value, Value::String(_)));
    if !has_model {
        table.warn("this destination names no model");
    }
    has_model.then_some(read)
}

/// A share of the requests.
const WEIGHT: Way<u32> = Way::new(Kind::Integer(0, u32::MAX as i64), |item| {
    let weight = u32::try_from(item.integer()?).ok();
    if weight.is_none() {
        item.error_of_parent("a weight is a number from 0 on");
    }
    weight
})
.json(|weight| Some((*weight).into()));

/// Models of requests that name none, by the key of their endpoint. Formats declare the keys.
#[derive(Clone, Debug, Default)]
pub struct DefaultModels(Vec<(&'static str, String)>);

impl DefaultModels {
    /// The model of requests to an endpoint.
    #[must_use]
    pub fn get(&self, endpoint: &str) -> Option<&str> {
        let mut all = self.iter();
        all.find(|(name, _)| *name == endpoint)
            .map(|(_, model)| model)
    }

    /// Every endpoint that has one, with it.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(endpoint, model)| (*endpoint, &**model))
    }
}

fn endpoints() -> Vec<Key> {
    let all = formats::ALL.iter().flat_map(|format| format.default_models);
    let mut keys: Vec<_> = all
        .map(|one| Key::new(one.key, Kind::Text, one.text))
        .collect();
    keys.sort_by_key(|key| key.name);
    keys
}

impl Setting for DefaultModels {
    const KIND: Kind = Kind::Object(endpoints);

    fn read(item: &Item<'_>) -> Option<Self> {
        let table = item.table()?;
        let keys = endpoints().into_iter();
        let models = keys.filter_map(|key| Some((key.name, table.string(key.name)?)));
        let models = models.filter(|(_, model)| !model.is_empty()).collect();
        table.finish();
        Some(Self(models))
    }
}

words! {
    /// How providers of equal preference share the requests for a model.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Share {
        /// A conversation stays with one, for the sake of its cache; new ones go to the least busy.
        #[default]
        Affinity = "affinity",
        /// The one with the fewest open requests.
        LeastBusy = "least_busy",
        /// Each in its turn.
        RoundRobin = "round_robin",
        /// The first by its id.
        First = "first",
    }
}

section! {
    /// How requests find their way among providers that could all answer.
    #[derive(Clone, Copy, Debug)]
    pub struct Routing {
        /// Among providers of equal preference. `affinity` keeps a conversation with one, for its cache.
        equal: Share,
        /// Whether another is asked when one fails before anything has reached the caller.
        failover: bool = true,
        /// How many are asked for one request at most.
        attempts: u32 = 3 => Count(1, 10),
        /// Failures in a row after which a provider, or one of its models, is paused; 0 for never.
        eject_after: u32 = 5 => Count(0, 1_000),
        /// For how long, the first time.
        eject_for: Duration = Duration::from_secs(10),
        /// For how long at most.
        eject_at_most: Duration = Duration::from_mins(5),
    }
}
