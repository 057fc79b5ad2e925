//! A group of records in one transaction: entries, what goes with them, and what they add up to.

use super::row::limit;
use super::value::Value;
use super::{
    Connection, Failure, balances, capture, committing, execute, exports, outbox, purge, rollup,
    row, session,
};
use crate::base::panics;
use crate::records::Record;
use crate::records::journal::Journal;
use crate::records::journal::retention::Policy;

const INSERT_HEADER: &str = "INSERT INTO entry_headers (name, value, entry, nth) \
    VALUES ($1, $2, $3, $4) ON CONFLICT (name, value, entry) DO NOTHING";

const INSERT_TOOL: &str = "INSERT INTO entry_tools (entry, position, name, nth, params) \
    VALUES ($1, $2, $3, $4, $5)";

impl Journal for dyn Connection + '_ {
    fn write(&mut self, records: &[&Record], policy: &Policy) -> Result<usize, Failure> {
        committing(self, |connection| fill(connection, records, policy))
    }

    fn purge(&mut self, policy: &Policy, now: i64) -> Result<(u64, bool), Failure> {
        purge::batch(self, policy, now)
    }
}

/// Writes all of it and commits.
fn fill(
    connection: &mut dyn Connection,
    records: &[&Record],
    policy: &Policy,
) -> Result<usize, Failure> {
    let keep = policy.keep();
    // They are of use again once what they stand for is committed.
    let mut names = std::mem::take(connection.names());
    let (is_new, numbers) = row::insert(connection, &mut names, records)?;
    panics::point("ledger");
    let places = numbers.places.iter().copied();
    let new: Vec<(&Record, i64)> = records
        .iter()
        .copied()
        .zip(places)
        .zip(&is_new)
        .filter_map(|(new, is_new)| is_new.then_some(new))
        .collect();
    let headers = new
        .iter()
        .flat_map(|(record, place)| header_rows(record, *place));
    execute(connection, INSERT_HEADER, headers.collect())?;
    if keep.tools {
        let tools = new
            .iter()
            .flat_map(|(record, place)| tool_rows(record, *place));
        execute(connection, INSERT_TOOL, tools.collect())?;
    }
    let new: Vec<&Record> = new.into_iter().map(|(record, _)| record).collect();
    if keep.captures {
        let captures = new.iter().filter_map(|record| {
            let capture = record.capture.as_ref()?;
            Some(capture::write(record.entry.id.as_str(), capture, keep.raws))
        });
        let captures = captures.collect::<Result<_, _>>()?;
        execute(connection, capture::INSERT, captures)?;
    }
    if !new.is_empty() {
        rollup::add(connection, &mut names, records, &is_new, &numbers)?;
        session::add(connection, &mut names, &new)?;
        exports::queue(connection, &new, &policy.exporters)?;
        outbox::add(connection, &new)?;
    }
    // Last, because other nodes wait for these rows.
    let settlements = new.iter().filter_map(|record| record.settlement.as_ref());
    let settlements: Vec<_> = settlements.collect();
    if settlements.is_empty() {
        connection.commit()?;
    } else {
        balances::settle(connection, &settlements)?;
    }
    *connection.names() = names;
    Ok(records.len() - new.len())
}

fn header_rows(record: &Record, place: i64) -> Vec<Vec<Value<'_>>> {
    let headers = rollup::distinct(&record.headers);
    let nth = |index: usize| nth(headers.iter().map(|(name, _)| &**name), index);
    let rows = headers.iter().enumerate().map(|(index, (name, value))| {
        let [name, value] = [name, value].map(|text| Value::text(text.clone()));
        vec![name, value, place.into(), nth(index)]
    });
    rows.collect()
}

fn tool_rows(record: &Record, entry: i64) -> Vec<Vec<Value<'_>>> {
    let tools = &record.tools;
    let nth = |place: usize| nth(tools.iter().map(|tool| tool.name.as_str()), place);
    let rows = tools.iter().enumerate().map(|(place, tool)| {
        vec![
            entry.into(),
            (place as u64).into(),
            Value::key(&tool.name, limit::TOOL),
            nth(place),
            tool.params.as_str().into(),
        ]
    });
    rows.collect()
}

/// How many of the names before the one at `place` are the same.
fn nth<'a>(mut names: impl Iterator<Item = &'a str> + Clone, place: usize) -> Value<'static> {
    let name = names.clone().nth(place);
    let before = names.by_ref().take(place);
    (before.filter(|other| Some(*other) == name).count() as u64).into()
}
