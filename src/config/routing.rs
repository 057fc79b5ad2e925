//! The sections `model_aliases`, `default_models` and `routing`: how a request finds its way among
//! models and providers that could all answer.

use std::time::Duration;

use indexmap::IndexMap;

use super::declare::{Kind, Reader, Setting};
use super::hujson::{Position, Value};
use super::readers::{Count, Named};
use super::table::{Item, Table};
use super::{section, words};

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
        dst: Vec<Destination> => Destinations,
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
        weight: u32 = 1 => Weight,
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
    }
}

fn check_alias(mut read: Alias, table: &Table<'_>) -> Alias {
    read.at = table.at;
    if read.dst.is_empty() {
        let message = format!(
            "the alias {:?} has no dst and stands for nothing",
            table.name
        );
        table.warn(message);
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
struct Destinations;

impl Reader<Vec<Destination>> for Destinations {
    fn kind(&self) -> Kind {
        const FORMS: &[Kind] = &[Kind::Text, Destination::KIND];
        Kind::List(&Kind::Any(FORMS))
    }

    fn read(&self, item: &Item<'_>) -> Option<Vec<Destination>> {
        let read = item.items()?.filter_map(|item| match &item.node.value {
            Value::String(model) => Some(Destination {
                model: model.clone(),
                ..Destination::default()
            }),
            _ => Destination::read(&item),
        });
        Some(read.collect())
    }
}

fn check_destination(read: Destination, table: &Table<'_>) -> Option<Destination> {
    let has_model = table
        .get("model")
        .is_some_and(|item| matches!(item.node.value, Value::String(_)));
    if !has_model {
        let message = "this destination names no model";
        table.warn(message);
    }
    has_model.then_some(read)
}

/// A share of the requests.
struct Weight;

impl Reader<u32> for Weight {
    fn kind(&self) -> Kind {
        Kind::Integer(0, u32::MAX.into())
    }

    fn read(&self, item: &Item<'_>) -> Option<u32> {
        let weight = u32::try_from(item.integer()?).ok();
        if weight.is_none() {
            let message = "a weight is a number from 0 on";
            item.error_of_parent(message);
        }
        weight
    }

    fn json(&self, weight: &u32) -> Option<serde_json::Value> {
        Some((*weight).into())
    }
}

section! {
    /// Models of requests that name none.
    #[derive(Clone, Debug)]
    pub struct DefaultModels {
        /// Of `/v1/images/…`.
        #[key(example = r#""openai/gpt-image-1""#)]
        images: Option<String>,
        /// Of `/v1/moderations`.
        moderations: Option<String>,
        /// Of `/v1/audio/speech`.
        speech: Option<String>,
        /// Of `/v1/audio/transcriptions` and `/v1/audio/translations`.
        transcriptions: Option<String>,
    }
}

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
        let all = [
            ("images", &self.images),
            ("moderations", &self.moderations),
            ("speech", &self.speech),
            ("transcriptions", &self.transcriptions),
        ];
        all.into_iter().filter_map(|(endpoint, model)| {
            let model = model.as_deref().filter(|model| !model.is_empty())?;
            Some((endpoint, model))
        })
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
