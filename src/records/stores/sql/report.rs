//! Reports as statements over the sums by day, or over the entries.

use super::query::Filter;
use super::row::{self, COUNTERS, limit};
use super::sums::{self, ALL};
use super::value::{Row, Value};
use super::{Connection, Failure, rollup};
use crate::records::reports::report::{DAY_MS, GROUPS, Groups, Part};
use crate::records::reports::sums::{Measured, Sums};
use crate::records::{EntryId, Group, Report, Scope};

/// The groups of a report, of one more than there may be at most.
pub(crate) fn groups(
    connection: &mut dyn Connection,
    scope: &Scope,
    report: &Report,
) -> Result<Groups, Failure> {
    if report.is_of_days() {
        days(connection, scope, report)
    } else {
        entries(connection, scope, report)
    }
}

impl Group {
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
}

impl Report {
    /// The conditions that lists of values make, and the bits of the columns they look at.
    fn filter<'q>(&'q self, filter: &mut Filter<'q>, scope: &'q Scope, of_sums: bool) -> i64 {
        let mut bits = 0;
        let mut any = |group: Group, values: Vec<Value<'q>>| {
            if !values.is_empty() {
                bits |= group.bit();
                let places: Vec<_> = values.into_iter().map(|value| filter.bind(value)).collect();
                let column = group.column(of_sums);
                filter
                    .conditions
                    .push(format!("{column} IN ({})", places.join(", ")));
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

/// Reads sums by day.
fn days(
    connection: &mut dyn Connection,
    scope: &Scope,
    report: &Report,
) -> Result<Groups, Failure> {
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
        filter.conditions.push(format!("{condition} {place}"));
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
    let mut groups = Groups::new();
    connection.query(&sql, values, &mut |mut row| {
        let key = report.groups.iter().map(|group| group.read(&mut row));
        let key = key.collect::<Result<_, _>>()?;
        groups.insert(key, Sums::read(&mut row, ALL)?);
        Ok(())
    })?;
    Ok(groups)
}

/// Adds up the entries themselves.
fn entries(
    connection: &mut dyn Connection,
    scope: &Scope,
    report: &Report,
) -> Result<Groups, Failure> {
    let mut groups = Groups::new();
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
    Ok(groups)
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
