//! Reports: sums over the requests of a time, by whatever they are told apart.
//!
//! Whole UTC days are read from the sums that are kept by day, and whole hours from those by hour. Other
//! ranges, and hours of callers, are read from the entries themselves.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use super::sums::{Sums, Totals};
use crate::records::{Error, Outcome, marks};

/// A day in milliseconds.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// An hour in milliseconds.
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// The longest time that is read from the entries: two days.
const ENTRIES_MS: i64 = 2 * DAY_MS;

/// Groups of a report at most.
pub(crate) const GROUPS: usize = 10_000;

/// By what a report tells requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// A UTC hour.
    Hour,
    /// A UTC day.
    Day,
    Login,
    Model,
    Provider,
    Agent,
    Api,
    Status,
    Outcome,
    /// The value of the report's header.
    Header,
    /// The value of the report's label.
    Label,
    /// The application that spoke for a person.
    Via,
}

/// What requests of one group have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Integer(i64),
    Text(String),
}

/// Which requests to add up, and how. An empty list does not filter; one with several values
/// takes any of them.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Started at this time or later, in unix milliseconds.
    pub from: i64,
    /// Started before this time.
    pub to: i64,
    pub groups: Vec<Group>,
    pub logins: Vec<String>,
    pub models: Vec<String>,
    pub providers: Vec<String>,
    pub agents: Vec<String>,
    pub apis: Vec<String>,
    pub statuses: Vec<u16>,
    pub outcomes: Vec<Outcome>,
    /// Only requests with this header, by its name in lower case, or with this label, by its name in
    /// [`marks`].
    pub mark: Option<String>,
    /// And with one of these values of it.
    pub mark_values: Vec<String>,
}

/// What a report says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Usage {
    /// In the order of their keys.
    pub groups: Vec<UsageGroup>,
    /// Over all groups. A request with two values of the header counts for both.
    pub totals: Totals,
}

/// The requests that have the same in every group.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
#[schemars(inline)]
pub struct UsageGroup {
    /// The name of each group and what the requests have in it.
    #[serde(flatten)]
    #[schemars(schema_with = "key_schema")]
    pub key: IndexMap<&'static str, String>,
    #[serde(flatten)]
    pub totals: Totals,
}

/// Groups by their keys.
pub(crate) type Groups = BTreeMap<Vec<Part>, Sums>;

/// What one tool was called on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[schemars(inline)]
pub struct ToolUse {
    pub name: String,
    /// A UTC date.
    pub day: String,
    pub calls: u64,
    /// Requests whose answers called it.
    pub requests: u64,
}

/// The keys that a row can have.
fn key_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let text = |group: &Group| {
        let text = serde_json::json!({ "type": "string" });
        (group.as_str().to_owned(), text)
    };
    let properties: serde_json::Map<_, _> = Group::ALL.iter().map(text).collect();
    schemars::json_schema!({ "type": "object", "properties": properties })
}

impl Group {
    const ALL: [Group; 12] = [
        Group::Hour,
        Group::Day,
        Group::Login,
        Group::Model,
        Group::Provider,
        Group::Agent,
        Group::Api,
        Group::Status,
        Group::Outcome,
        Group::Header,
        Group::Label,
        Group::Via,
    ];

    /// Its name in an answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Group::Hour => "hour",
            Group::Day => "day",
            Group::Login => "login",
            Group::Model => "model",
            Group::Provider => "provider",
            Group::Agent => "agent",
            Group::Api => "api",
            Group::Status => "status",
            Group::Outcome => "outcome",
            Group::Header => "header",
            Group::Label => "label",
            Group::Via => "via",
        }
    }

    pub fn parse(text: &str) -> Option<Group> {
        Group::ALL.into_iter().find(|group| group.as_str() == text)
    }

    /// What an answer says for a part of a key.
    fn name(self, part: Part) -> String {
        let time = |ms: i64, length: usize| {
            let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
            time.to_string().chars().take(length).collect::<String>()
        };
        match (self, part) {
            (Group::Day, Part::Integer(day)) => time(day.saturating_mul(DAY_MS), 10),
            (Group::Hour, Part::Integer(hour)) => time(hour.saturating_mul(HOUR_MS), 13) + ":00Z",
            (_, Part::Integer(number)) => number.to_string(),
            (_, Part::Text(text)) => text,
        }
    }
}

impl Report {
    pub(crate) fn is_of_days(&self) -> bool {
        self.from % DAY_MS == 0 && self.to % DAY_MS == 0 && !self.groups.contains(&Group::Hour)
    }

    /// Whether it can be answered at all.
    pub(super) fn check(&self) -> Result<(), Error> {
        let mark = self.mark.as_deref();
        if self.groups.contains(&Group::Header) && !mark.is_some_and(marks::is_header) {
            return Err(Error::Report("a report by header must name the header"));
        }
        if self.groups.contains(&Group::Label) && !mark.is_some_and(marks::is_label) {
            return Err(Error::Report("a report by label must name the label"));
        }
        if self.groups.contains(&Group::Via) && mark != Some(marks::VIA) {
            return Err(Error::Report(
                "a report by application takes no header or label",
            ));
        }
        if !self.is_of_days() && self.to.saturating_sub(self.from) > ENTRIES_MS {
            return Err(Error::Report(
                "reports by hour, and of times that are not whole UTC days, cover 48 hours at most",
            ));
        }
        Ok(())
    }

    /// What it says of these groups; more than 10,000 are refused.
    pub(crate) fn usage(&self, groups: Groups) -> Result<Usage, Error> {
        if groups.len() > GROUPS {
            return Err(Error::Report(
                "the report has more than 10000 groups; ask for fewer days or groups",
            ));
        }
        let mut totals = Sums::default();
        let groups = groups.into_iter().map(|(key, sums)| {
            totals.add(&sums);
            let named = self.groups.iter().zip(key);
            UsageGroup {
                key: named
                    .map(|(group, part)| (group.as_str(), group.name(part)))
                    .collect(),
                totals: sums.totals(),
            }
        });
        Ok(Usage {
            groups: groups.collect(),
            totals: totals.totals(),
        })
    }
}
