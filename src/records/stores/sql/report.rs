//! Reports as statements over the sums by day and hour, or over the entries.

use std::collections::HashMap;

use super::query::Filter;
use super::row::{self, limit};
use super::sums::{self, REPORTED};
use super::value::{Row, Value};
use super::{Connection, Failure, rollup, rows};
use crate::records::reports::report::{DAY_MS, GROUPS, Groups, HOUR_MS, Part};
use crate::records::reports::sums::Sums;
use crate::records::{EntryId, Group, Report, Scope};

/// The groups of a report, of one more than there may be at most.
pub(crate) fn groups(
    connection: &mut dyn Connection,
    scope: &Scope,
    report: &Report,
) -> Result<Groups, Failure> {
    let is_of_callers = *scope != Scope::Everyone
        || !report.logins.is_empty()
        || report.groups.contains(&Group::Login);
    if report.is_of_days() && is_of_callers {
        return by_caller(connection, scope, report);
    }
    if report.is_of_days() {
        return Ok(by_kind(connection, report, &DAYS)?.groups);
    }
    let is_of_hours = report.from % HOUR_MS == 0 && report.to % HOUR_MS == 0;
    if is_of_hours && !is_of_callers {
        let found = by_kind(connection, report, &HOURS)?;
        if found.is_whole {
            return Ok(found.groups);
        }
    }
    entries(connection, scope, report)
}

impl Group {
    /// What it is called in SQL, where `time` is an expression for the milliseconds of a row.
    fn column(self, time: &str) -> String {
        match self {
            Group::Day => format!("({time}) / {DAY_MS}"),
            Group::Hour => format!("({time}) / {HOUR_MS}"),
            Group::Login => "callers.login".to_owned(),
            Group::Header | Group::Label | Group::Via => "headers.value".to_owned(),
            group => format!("kinds.{}", group.as_str()),
        }
    }

    /// Whether a kind says it.
    fn is_of_kind(self) -> bool {
        !matches!(
            self,
            Group::Day | Group::Hour | Group::Login | Group::Header | Group::Label | Group::Via
        )
    }

    fn read(self, row: &mut Row) -> Result<Part, Failure> {
        Ok(match self {
            Group::Day | Group::Hour | Group::Status => Part::Integer(row.integer()?),
            _ => Part::Text(row.text()?),
        })
    }
}

/// Groups that are being filled; beyond the bound only their count matters, and it is known.
struct Filled {
    groups: Groups,
    /// Whether all that was read had its sums.
    is_whole: bool,
}

impl Filled {
    fn new(report: &Report) -> Filled {
        let mut groups = Groups::new();
        if report.groups.is_empty() {
            groups.insert(Vec::new(), Sums::default());
        }
        Filled {
            groups,
            is_whole: true,
        }
    }

    fn at(&mut self, key: Vec<Part>) -> Option<&mut Sums> {
        if self.groups.len() > GROUPS && !self.groups.contains_key(&key) {
            return None;
        }
        Some(self.groups.entry(key).or_default())
    }
}

impl Report {
    fn read_key(&self, row: &mut Row) -> Result<Vec<Part>, Failure> {
        let key = self.groups.iter().map(|group| group.read(row));
        key.collect()
    }

    /// The conditions on kinds. Returns whether there are any.
    fn kinds<'q>(&'q self, filter: &mut Filter<'q>) -> bool {
        let before = filter.conditions.len();
        let keys = |values: &'q [String], limit| {
            let keys = values.iter().map(|value| Value::wanted(value, limit));
            keys.collect::<Vec<_>>()
        };
        filter.any("kinds.model", keys(&self.models, limit::MODEL));
        filter.any("kinds.provider", keys(&self.providers, limit::PROVIDER));
        filter.any("kinds.agent", keys(&self.agents, limit::AGENT));
        filter.any("kinds.api", keys(&self.apis, limit::API));
        let statuses = self.statuses.iter().map(|status| i64::from(*status).into());
        filter.any("kinds.status", statuses.collect());
        let outcomes = self.outcomes.iter().map(|outcome| outcome.as_str().into());
        filter.any("kinds.outcome", outcomes.collect());
        filter.conditions.len() > before
    }

    /// The conditions on callers.
    fn callers<'q>(&'q self, filter: &mut Filter<'q>, scope: &'q Scope) {
        let logins = self.logins.iter();
        let logins = logins.map(|login| Value::wanted(login, limit::LOGIN));
        filter.any("callers.login", logins.collect());
        filter.within("callers.caller", scope);
    }

    /// The conditions on headers and labels.
    fn headers<'q>(&'q self, filter: &mut Filter<'q>) {
        let name = self.mark.as_deref();
        filter.equal("headers.name", name, limit::HEADER_NAME);
        let values = self.mark_values.iter();
        let values = values.map(|value| Value::wanted(value, limit::HEADER_VALUE));
        filter.any("headers.value", values.collect());
    }

    /// Which header's or label's sums are read. Returns what stands before their table.
    fn header_of<'q>(&'q self, filter: &mut Filter<'q>, table: &str) -> &'static str {
        if self.mark.is_none() {
            let condition = format!("{table}.header = {}", rollup::NO_HEADER);
            filter.conditions.push(condition);
            return "";
        }
        self.headers(filter);
        filter
            .conditions
            .push(format!("{table}.header = headers.n"));
        "headers CROSS JOIN "
    }
}

/// A table of sums by kind, and the column that has the time, in steps of so many milliseconds.
struct Steps {
    table: &'static str,
    column: &'static str,
    length: i64,
}

const DAYS: Steps = Steps {
    table: "usage_days",
    column: "day",
    length: DAY_MS,
};
const HOURS: Steps = Steps {
    table: "usage_hours",
    column: "hour",
    length: HOUR_MS,
};

/// Reads sums by kind.
fn by_kind(
    connection: &mut dyn Connection,
    report: &Report,
    steps: &Steps,
) -> Result<Filled, Failure> {
    let Steps {
        table,
        column,
        length,
    } = *steps;
    let mut filter = Filter::default();
    let before = report.header_of(&mut filter, table);
    for (operator, time) in [(">=", report.from), ("<", report.to)] {
        let place = filter.bind((time / length).into());
        let condition = format!("{table}.{column} {operator} {place}");
        filter.conditions.push(condition);
    }
    let mut after = "";
    if report.kinds(&mut filter) || report.groups.iter().any(|group| group.is_of_kind()) {
        after = " CROSS JOIN kinds";
        filter.conditions.push(format!("kinds.n = {table}.kind"));
    }
    let (conditions, values) = filter.into_parts();
    let time = format!("{table}.{column} * {length}");
    let by = report.groups.iter().map(|group| group.column(&time));
    let selected: Vec<_> = by.chain([REPORTED.to_owned()]).collect();
    let sql = format!(
        "SELECT {} FROM {before}{table}{after} {conditions}",
        selected.join(", ")
    );
    let mut filled = Filled::new(report);
    connection.query(&sql, values, &mut |mut row| {
        let key = report.read_key(&mut row)?;
        if let Some(sums) = filled.at(key) {
            let is_whole = sums.add_reported(&mut row)?;
            filled.is_whole &= is_whole;
        }
        Ok(())
    })?;
    Ok(filled)
}

/// Reads sums by caller and day.
fn by_caller(
    connection: &mut dyn Connection,
    scope: &Scope,
    report: &Report,
) -> Result<Groups, Failure> {
    let kinds = kinds(connection, report)?;
    let (table, summed) = match kinds {
        Some(_) => ("usage_kinds", "kinds"),
        None => ("usage_callers", REPORTED),
    };
    let mut filter = Filter::default();
    let before = report.header_of(&mut filter, table);
    let (from, to) = (report.from / DAY_MS, report.to / DAY_MS);
    let is_of_few = *scope != Scope::Everyone || !report.logins.is_empty();
    if is_of_few && to - from < 1_000 {
        // Each day by itself: the rows of one caller are looked up, instead of all of the time.
        let days = (from..to).map(|day| day.to_string());
        let days = days.collect::<Vec<_>>().join(", ");
        filter.conditions.push(format!("{table}.day IN ({days})"));
        let mut few = std::mem::take(&mut filter.conditions);
        report.callers(&mut filter, scope);
        let callers = std::mem::take(&mut filter.conditions).join(" AND ");
        few.push(format!(
            "{table}.caller IN (SELECT callers.n FROM callers WHERE {callers})"
        ));
        filter.conditions = few;
    } else {
        for (operator, day) in [(">=", from), ("<", to)] {
            let place = filter.bind(day.into());
            filter
                .conditions
                .push(format!("{table}.day {operator} {place}"));
        }
        report.callers(&mut filter, scope);
    }
    filter
        .conditions
        .push(format!("callers.n = {table}.caller"));
    let (conditions, values) = filter.into_parts();
    // What a kind says is filled in for each of them.
    let time = format!("{table}.day * {DAY_MS}");
    let by = report.groups.iter().filter(|group| !group.is_of_kind());
    let by = by.map(|group| group.column(&time));
    let selected: Vec<_> = by.chain([summed.to_owned()]).collect();
    let sql = format!(
        "SELECT {} FROM {before}{table} CROSS JOIN callers {conditions}",
        selected.join(", ")
    );
    let mut filled = Filled::new(report);
    connection.query(&sql, values, &mut |mut row| {
        let groups = report.groups.iter();
        let key = groups.map(|group| {
            Ok(if group.is_of_kind() {
                Part::Integer(0)
            } else {
                group.read(&mut row)?
            })
        });
        let key = key.collect::<Result<Vec<Part>, Failure>>()?;
        let Some(kinds) = &kinds else {
            if let Some(sums) = filled.at(key) {
                sums.add_reported(&mut row)?;
            }
            return Ok(());
        };
        let bytes = row.maybe_bytes()?.unwrap_or_default();
        sums::each_kind(&bytes, |kind, add| {
            let Some(parts) = kinds.get(&kind) else {
                return Ok(());
            };
            let mut parts = parts.iter();
            let named = report.groups.iter().zip(&key).map(|(group, part)| {
                let named = if group.is_of_kind() {
                    parts.next()
                } else {
                    None
                };
                named.unwrap_or(part).clone()
            });
            match filled.at(named.collect()) {
                Some(sums) => add(sums),
                None => Ok(()),
            }
        })
    })?;
    Ok(filled.groups)
}

/// The kinds that a report takes, with what its groups are called in them; `None` where it does not look
/// at kinds.
fn kinds(
    connection: &mut dyn Connection,
    report: &Report,
) -> Result<Option<HashMap<i64, Vec<Part>>>, Failure> {
    let mut filter = Filter::default();
    let by = report.groups.iter().filter(|group| group.is_of_kind());
    let by: Vec<Group> = by.copied().collect();
    if !report.kinds(&mut filter) && by.is_empty() {
        return Ok(None);
    }
    let (conditions, values) = filter.into_parts();
    let columns = ["kinds.n".to_owned()].into_iter();
    let columns = columns.chain(by.iter().map(|group| group.column("")));
    let columns: Vec<_> = columns.collect();
    let sql = format!("SELECT {} FROM kinds {conditions}", columns.join(", "));
    let found = rows(connection, &sql, values, |row| {
        let number = row.integer()?;
        let parts = by.iter().map(|group| group.read(row));
        Ok((number, parts.collect::<Result<_, _>>()?))
    })?;
    Ok(Some(found.into_iter().collect()))
}

/// Adds up the entries themselves.
fn entries(
    connection: &mut dyn Connection,
    scope: &Scope,
    report: &Report,
) -> Result<Groups, Failure> {
    let mut filter = Filter::default();
    let is_of_few = *scope != Scope::Everyone || !report.logins.is_empty();
    let mut before = "requests CROSS JOIN callers";
    if is_of_few {
        before = "callers CROSS JOIN requests";
    }
    let mut after = "";
    if report.mark.is_some() {
        after = " CROSS JOIN entry_headers AS headers";
        filter
            .conditions
            .push("headers.entry = requests.place".to_owned());
    }
    report.headers(&mut filter);
    report.callers(&mut filter, scope);
    report.kinds(&mut filter);
    for (operator, time) in [(">=", report.from), ("<", report.to)] {
        let place = filter.bind(EntryId::place_at(time).into());
        let condition = format!("requests.place {operator} {place}");
        filter.conditions.push(condition);
    }
    for joined in ["callers.n = requests.caller", "kinds.n = requests.kind"] {
        filter.conditions.push(joined.to_owned());
    }
    let (conditions, values) = filter.into_parts();
    let time = row::STARTED_AT;
    let by = report.groups.iter().map(|group| group.column(time));
    let by = by.chain(["kinds.outcome".to_owned(), "requests.rest".to_owned()]);
    let sql = format!(
        "SELECT {} FROM {before} CROSS JOIN kinds{after} {conditions}",
        by.collect::<Vec<_>>().join(", ")
    );
    let mut filled = Filled::new(report);
    connection.query(&sql, values, &mut |mut row| {
        let key = report.read_key(&mut row)?;
        let one = row::measured(&mut row)?;
        if let Some(sums) = filled.at(key) {
            sums.add_one(&one);
        }
        Ok(())
    })?;
    Ok(filled.groups)
}
