//! Reports: sums over the requests of a time, by whatever they are told apart.
//!
//! Whole UTC days are read from the sums that are kept by day; other ranges, and hours, from the
//! entries themselves.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use crate::records::reports::sums::{self, ALL, Measured, Sums};
use crate::records::stores::sql::query::{Filter, Scope};
use crate::records::stores::sql::rollup::{self, DAY_MS};
use crate::records::stores::sql::row;
use crate::records::stores::sql::row::{COUNTERS, limit};
use crate::records::stores::{Connection, Failure, Row, Value};
use crate::records::{EntryId, Error, Outcome, Totals};

/// An hour in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// The longest time that is read from the entries: two days.
const ENTRIES_MS: i64 = 2 * DAY_MS;

/// Groups of a report at most.
const GROUPS: usize = 10_000;

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
}

impl Group {
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
        }
    }

    pub fn parse(text: &str) -> Option<Group> {
        [
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
        ]
        .into_iter()
        .find(|group| group.as_str() == text)
    }

    /// The column's bit in a grain.
    fn bit(self) -> i64 {
        match self {
            Group::Hour | Group::Day => 0,
            Group::Login => rollup::LOGIN,
            Group::Model => rollup::MODEL,
            Group::Provider => rollup::PROVIDER,
            Group::Agent => rollup::AGENT,
            Group::Api => rollup::API,
            Group::Status => rollup::STATUS,
            Group::Outcome => rollup::OUTCOME,
            Group::Header => rollup::HEADER,
        }
    }

    /// What it is called in SQL, in the sums or among the entries.
    fn column(self, of_sums: bool) -> &'static str {
        match (self, of_sums) {
            (Group::Day, true) => "day",
            (Group::Day, false) => "entries.started_at / 86400000",
            (Group::Hour, _) => "entries.started_at / 3600000",
            (Group::Header, true) => "header_value",
            (Group::Header, false) => "entry_headers.value",
            (group, _) => group.as_str(),
        }
    }

    fn read(self, row: &mut Row) -> Result<Part, Failure> {
        Ok(match self {
            Group::Day | Group::Hour | Group::Status => Part::Integer(row.integer()?),
            _ => Part::Text(row.text()?),
        })
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

/// What requests of one group have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
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
    /// Only requests with this header, whose name is in lower case.
    pub header: Option<String>,
    /// And with one of these values of it.
    pub header_values: Vec<String>,
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
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UsageGroup {
    /// The name of each group and what the requests have in it.
    #[serde(flatten)]
    pub key: IndexMap<&'static str, String>,
    #[serde(flatten)]
    pub totals: Totals,
}

impl Report {
    fn is_of_days(&self) -> bool {
        self.from % DAY_MS == 0 && self.to % DAY_MS == 0 && !self.groups.contains(&Group::Hour)
    }

    /// Whether it can be answered at all.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.groups.contains(&Group::Header) && self.header.is_none() {
            return Err(Error::Report("a report by header must name the header"));
        }
        if !self.is_of_days() && self.to.saturating_sub(self.from) > ENTRIES_MS {
            return Err(Error::Report(
                "reports by hour, and of times that are not whole UTC days, cover 48 hours at most",
            ));
        }
        Ok(())
    }

    /// The conditions that lists of values make, and the bits of the columns they look at.
    fn filter<'q>(&'q self, filter: &mut Filter<'q>, scope: &'q Scope, of_sums: bool) -> i64 {
        let mut bits = 0;
        let mut any = |group: Group, values: Vec<Value<'q>>| {
            if !values.is_empty() {
                bits |= group.bit();
                let places: Vec<_> = values.into_iter().map(|value| filter.bind(value)).collect();
                let column = group.column(of_sums);
                filter.condition(format!("{column} IN ({})", places.join(", ")));
            }
        };
        let keys = |values: &'q [String], limit| {
            let keys = values.iter().map(|value| Value::wanted(value, limit));
            keys.collect::<Vec<_>>()
        };
        any(Group::Login, keys(&self.logins, limit::LOGIN));
        any(Group::Model, keys(&self.models, limit::MODEL));
        any(Group::Provider, keys(&self.providers, limit::PROVIDER));
        any(Group::Agent, keys(&self.agents, limit::AGENT));
        any(Group::Api, keys(&self.apis, limit::API));
        let statuses = self.statuses.iter().map(|status| i64::from(*status).into());
        any(Group::Status, statuses.collect());
        let outcomes = self.outcomes.iter().map(|outcome| outcome.as_str().into());
        any(Group::Outcome, outcomes.collect());
        any(
            Group::Header,
            keys(&self.header_values, limit::HEADER_VALUE),
        );
        if let Scope::Own(_) = scope {
            let column = if of_sums { "caller" } else { "entries.caller" };
            filter.within(column, scope);
            bits |= Group::Login.bit();
        }
        bits
    }
}

/// Answers a report that was checked; more than 10,000 groups are refused.
pub(crate) fn usage(
    connection: &mut dyn Connection,
    scope: &Scope,
    report: &Report,
) -> Result<Result<Usage, Error>, Failure> {
    let mut groups = BTreeMap::new();
    let whole = if report.is_of_days() {
        days(connection, scope, report, &mut groups)?
    } else {
        entries(connection, scope, report, &mut groups)?
    };
    if !whole {
        return Ok(Err(Error::Report(
            "the report has more than 10000 groups; ask for fewer days or groups",
        )));
    }
    let mut totals = Sums::default();
    let groups = groups.into_iter().map(|(key, sums): (Vec<Part>, Sums)| {
        totals.add(&sums);
        let named = report.groups.iter().zip(key);
        UsageGroup {
            key: named
                .map(|(group, part)| (group.as_str(), group.name(part)))
                .collect(),
            totals: sums.totals(),
        }
    });
    Ok(Ok(Usage {
        groups: groups.collect(),
        totals: totals.totals(),
    }))
}

/// Groups by their keys.
type Groups = BTreeMap<Vec<Part>, Sums>;

/// Reads sums by day; false when there are too many.
fn days(
    connection: &mut dyn Connection,
    scope: &Scope,
    report: &Report,
    groups: &mut Groups,
) -> Result<bool, Failure> {
    let mut filter = Filter::default();
    let mut bits = report.filter(&mut filter, scope, true);
    bits |= report
        .groups
        .iter()
        .fold(0, |bits, group| bits | group.bit());
    if report.header.is_some() {
        bits |= rollup::HEADER;
    }
    let header = report.header.as_deref().unwrap_or_default();
    for (condition, value) in [
        ("grain =", rollup::grain(bits).into()),
        ("header_name =", Value::wanted(header, limit::HEADER_NAME)),
        ("day >=", (report.from / DAY_MS).into()),
        ("day <", (report.to / DAY_MS).into()),
    ] {
        let place = filter.bind(value);
        filter.condition(format!("{condition} {place}"));
    }
    let (conditions, values) = filter.into_parts();
    let by: Vec<_> = report
        .groups
        .iter()
        .map(|group| group.column(true))
        .collect();
    let summed = sums::columns(ALL).into_iter();
    let summed = summed.map(|column| format!("CAST(COALESCE(SUM({column}), 0) AS BIGINT)"));
    let selected: Vec<_> = by.iter().map(ToString::to_string).chain(summed).collect();
    let grouped = if by.is_empty() {
        String::new()
    } else {
        format!("GROUP BY {}", by.join(", "))
    };
    let sql = format!(
        "SELECT {} FROM usage_daily {conditions} {grouped} LIMIT {}",
        selected.join(", "),
        GROUPS + 1
    );
    connection.query(&sql, values, &mut |mut row| {
        let key = report.groups.iter().map(|group| group.read(&mut row));
        let key = key.collect::<Result<_, _>>()?;
        groups.insert(key, Sums::read(&mut row, ALL)?);
        Ok(())
    })?;
    Ok(groups.len() <= GROUPS)
}

/// Adds up the entries themselves; false when there are too many groups.
fn entries(
    connection: &mut dyn Connection,
    scope: &Scope,
    report: &Report,
    groups: &mut Groups,
) -> Result<bool, Failure> {
    if report.groups.is_empty() {
        groups.insert(Vec::new(), Sums::default());
    }
    let [from, to] = [report.from, report.to].map(EntryId::floor);
    let mut filter = Filter::default();
    report.filter(&mut filter, scope, false);
    filter.than("entries.id", ">=", Some(&from));
    filter.than("entries.id", "<", Some(&to));
    let mut tables = "entries";
    if let Some(header) = &report.header {
        tables = "entries JOIN entry_headers ON entry_headers.entry_id = entries.id";
        filter.equal("entry_headers.name", Some(header), limit::HEADER_NAME);
    }
    let (conditions, values) = filter.into_parts();
    let by = report.groups.iter().map(|group| group.column(false));
    let measured = ["outcome"].into_iter().chain(COUNTERS);
    let measured = measured.chain(["cost", "duration_ms", "first_token_ms"]);
    let sql = format!(
        "SELECT {} FROM {tables} {conditions}",
        by.chain(measured).collect::<Vec<_>>().join(", ")
    );
    connection.query(&sql, values, &mut |mut row| {
        let key = report.groups.iter().map(|group| group.read(&mut row));
        let key: Vec<Part> = key.collect::<Result<_, _>>()?;
        let one = measure(&mut row)?;
        // Beyond the bound only the count matters, and it is known.
        if groups.len() <= GROUPS || groups.contains_key(&key) {
            groups.entry(key).or_default().add_one(&one);
        }
        Ok(())
    })?;
    Ok(groups.len() <= GROUPS)
}

fn measure(row: &mut Row) -> Result<Measured, Failure> {
    let outcome = row::outcome(row)?;
    let mut counts = [None; COUNTERS.len()];
    for count in &mut counts {
        *count = row.maybe_integer()?;
    }
    Ok(Measured {
        outcome,
        counts,
        cost: row.maybe_integer()?,
        duration_ms: row.maybe_real()?,
        first_token_ms: row.maybe_real()?,
    })
}
