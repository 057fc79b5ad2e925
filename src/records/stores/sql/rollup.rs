//! Sums by day and hour, kept as entries are written, so that a report need not read the entries.
//!
//! What is not about callers is added up by *kind*: model, provider, agent, API, status and outcome. What
//! is, by caller, and within a caller's day by kind. A record that carries headers adds to the sums of each of
//! them as well; the number 0 stands for no header.

use std::borrow::Cow;
use std::collections::HashMap;

use super::names::{self, Name, Names};
use super::row::{Numbers, limit};
use super::sums::{self, REPORTED};
use super::value::{Row, Rows, Value, key};
use super::{Connection, Failure, Question, places};
use crate::base::quick_hash::QuickHash;
use crate::records::journal::packed::Shared;
use crate::records::journal::packed::unpacked::Journaled;
use crate::records::reports::report::{DAY_MS, HOUR_MS};
use crate::records::reports::sums::{Measured, Sums};

/// The number of no header.
pub(super) const NO_HEADER: i64 = 0;

/// Keys that are asked for in one statement.
const ASKED: usize = 100;

/// A header as it is stored.
fn header<'b>((name, value): &(Shared<'b>, Shared<'b>)) -> Name<'b> {
    vec![
        Value::key(name.text, limit::HEADER_NAME),
        Value::key(value.text, limit::HEADER_VALUE),
    ]
}

/// Headers as they are stored, each name and value once.
pub(super) fn distinct<'b>(
    headers: &[(Shared<'b>, Shared<'b>)],
) -> Vec<(Cow<'b, str>, Cow<'b, str>)> {
    let mut all: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            (
                key(name.text, limit::HEADER_NAME),
                key(value.text, limit::HEADER_VALUE),
            )
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// A table of sums: the columns that tell its rows apart, of which all but the last are the same in many
/// rows, and those of the sums.
struct Table {
    name: &'static str,
    keys: [&'static str; 3],
    columns: &'static str,
}

const BY_DAY: Table = Table {
    name: "usage_days",
    keys: ["header", "day", "kind"],
    columns: REPORTED,
};
const BY_HOUR: Table = Table {
    name: "usage_hours",
    keys: ["header", "hour", "kind"],
    columns: REPORTED,
};
const BY_CALLER: Table = Table {
    name: "usage_callers",
    keys: ["header", "day", "caller"],
    columns: REPORTED,
};
/// Beside them, because they take far more room.
const KINDS_OF_CALLER: Table = Table {
    name: "usage_kinds",
    keys: ["header", "day", "caller"],
    columns: "kinds",
};

impl Table {
    fn select(&self) -> String {
        let [first, second, last] = self.keys;
        format!(
            "SELECT {last}, {} FROM {} WHERE {first} = $1 AND {second} = $2 AND {last} IN ({})",
            self.columns,
            self.name,
            places(2, ASKED)
        )
    }

    fn upsert(&self) -> String {
        let keys = self.keys.join(", ");
        let columns = self.columns;
        let count = self.keys.len() + columns.split(',').count();
        let replaced = columns
            .split(", ")
            .map(|column| format!("{column} = excluded.{column}"));
        format!(
            "INSERT INTO {} ({keys}, {columns}) VALUES ({}) ON CONFLICT ({keys}) DO UPDATE SET {}",
            self.name,
            places(0, count),
            replaced.collect::<Vec<_>>().join(", ")
        )
    }

    /// Asks for the rows that are there for `wanted`, which are in order.
    fn ask(&self, wanted: &[Key]) -> Vec<(Question<'static>, (i64, i64))> {
        let sql = self.select();
        let alike = wanted.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1));
        let some = alike.flat_map(|alike| alike.chunks(ASKED));
        let asked = some.map(|some| {
            let (first, second, last) = some[0];
            let mut values: Vec<Value<'_>> = vec![first.into(), second.into()];
            values.extend(some.iter().map(|(_, _, last)| Value::Integer(*last)));
            // The same statement for any number of keys.
            values.resize(2 + ASKED, last.into());
            ((sql.clone().into(), values), (first, second))
        });
        asked.collect()
    }
}

/// A row that is there.
type There = (Key, Row);

/// The rows that are there for what is added to each table, asked for together.
fn there<const N: usize>(
    connection: &mut dyn Connection,
    wanted: &[(&Table, Vec<Key>); N],
) -> Result<[Vec<There>; N], Failure> {
    let mut questions = Vec::new();
    let mut places = Vec::new();
    // Rows are read, added to and written: nodes that share a database do this one after the other.
    if let Some(alone) = connection.alone() {
        questions.push((alone.into(), Vec::new()));
        places.push(None);
    }
    for (nth, (table, wanted)) in wanted.iter().enumerate() {
        for (question, at) in table.ask(wanted) {
            questions.push(question);
            places.push(Some((nth, at)));
        }
    }
    let mut found = [const { Vec::new() }; N];
    for (rows, place) in connection.ask(questions)?.into_iter().zip(places) {
        let Some((nth, (first, second))) = place else {
            continue;
        };
        for mut row in rows {
            let last = row.integer()?;
            found[nth].push(((first, second, last), row));
        }
    }
    Ok(found)
}

/// What tells a row from others: a header, a time, and a kind or a caller.
type Key = (i64, i64, i64);

/// One record in one row: the row's key, the record's kind, and its place among all.
type One = (Key, i64, usize);

/// What a group of records adds, in the order of the rows.
struct Added {
    hours: Vec<One>,
    /// By kind within a row.
    callers: Vec<One>,
    /// The nodes of callers, by day.
    nodes: Vec<Key>,
}

impl Added {
    /// With room for so many records, of which some carry headers.
    fn with_capacity(records: usize) -> Added {
        Added {
            hours: Vec::with_capacity(2 * records),
            callers: Vec::with_capacity(2 * records),
            nodes: Vec::with_capacity(records),
        }
    }

    fn sort(&mut self) {
        self.hours.sort_unstable();
        self.callers.sort_unstable();
        self.nodes.sort_unstable();
        self.nodes.dedup();
    }
}

/// The records that are new, with their places among all.
fn new<'r, R>(records: &'r [R], is_new: &'r [bool]) -> impl Iterator<Item = (usize, &'r R)> {
    records.iter().enumerate().filter(|(nth, _)| is_new[*nth])
}

/// Adds the records that are new to the sums; `measured` has what each adds. To be called in the transaction that
/// writes them.
pub(super) fn add(
    connection: &mut dyn Connection,
    names: &mut Names,
    records: &[&Journaled<'_>],
    is_new: &[bool],
    numbers: &Numbers,
    measured: &[Measured],
) -> Result<(), Failure> {
    let mut added = Added::with_capacity(records.len());
    // Those of all records at once: two nodes that write the same new ones do it in the same order.
    let carried = new(records, is_new).flat_map(|(_, one)| &one.marks);
    let carried = carried.map(|one| ((one.0.number, one.1.number), one));
    let carried = names.numbers_by_key(connection, &names::HEADERS, carried, header)?;
    let mut carried = carried.into_iter();
    let mut headers = Vec::new();
    for (nth, one) in new(records, is_new) {
        let (caller, kind) = (numbers.callers[nth], numbers.kinds[nth]);
        let at = one.started_at();
        let (day, hour) = (at.div_euclid(DAY_MS), at.div_euclid(HOUR_MS));
        headers.clear();
        headers.push(NO_HEADER);
        headers.extend(carried.by_ref().take(one.marks.len()));
        headers.sort_unstable();
        headers.dedup();
        for &header in &headers {
            added.hours.push(((header, hour, kind), kind, nth));
            added.callers.push(((header, day, caller), kind, nth));
        }
        added.nodes.push((numbers.nodes[nth], day, caller));
    }
    added.sort();
    let hours = summed(&added.hours, measured);
    let days = by_day(&hours);
    let callers = summed(&added.callers, measured);
    let keys = |sums: &[(Key, Sums)]| sums.iter().map(|(key, _)| *key).collect::<Vec<_>>();
    let [days_there, hours_there, callers_there, kinds_there] = there(
        connection,
        &[
            (&BY_DAY, keys(&days)),
            (&BY_HOUR, keys(&hours)),
            (&BY_CALLER, keys(&callers)),
            (&KINDS_OF_CALLER, keys(&callers)),
        ],
    )?;
    write(connection, &BY_DAY, days, days_there)?;
    write(connection, &BY_HOUR, hours, hours_there)?;
    write(connection, &BY_CALLER, callers, callers_there)?;
    write_kinds(connection, &added.callers, measured, kinds_there)?;
    let sql = "INSERT INTO node_days (node, day, caller) VALUES ($1, $2, $3) \
        ON CONFLICT (node, day, caller) DO NOTHING";
    let seen = added.nodes.into_iter().map(key_values);
    connection.insert(sql, seen.collect())
}

/// The sums of each row, whose records stand together.
fn summed(ones: &[One], measured: &[Measured]) -> Vec<(Key, Sums)> {
    let rows = ones.chunk_by(|one, other| one.0 == other.0);
    rows.map(|ones| (ones[0].0, sum(ones, measured))).collect()
}

/// The sums of days, from those of hours.
fn by_day(hours: &[(Key, Sums)]) -> Vec<(Key, Sums)> {
    let day = |(header, hour, kind): Key| (header, hour.div_euclid(DAY_MS / HOUR_MS), kind);
    let mut nths: Vec<(Key, usize)> = hours
        .iter()
        .enumerate()
        .map(|(nth, (key, _))| (day(*key), nth))
        .collect();
    nths.sort_unstable();
    let days = nths.chunk_by(|one, other| one.0 == other.0).map(|nths| {
        let mut sums = hours[nths[0].1].1.clone();
        for (_, nth) in &nths[1..] {
            sums.add(&hours[*nth].1);
        }
        (nths[0].0, sums)
    });
    days.collect()
}

/// The sums of some records.
fn sum(ones: &[One], measured: &[Measured]) -> Sums {
    let mut sums = Sums::default();
    for (.., nth) in ones {
        sums.add_one(&measured[*nth]);
    }
    sums
}

fn key_values<'v>((first, second, last): Key) -> [Value<'v>; 3] {
    [first, second, last].map(Value::Integer)
}

fn write(
    connection: &mut dyn Connection,
    table: &Table,
    sums: Vec<(Key, Sums)>,
    there: Vec<There>,
) -> Result<(), Failure> {
    let mut there: HashMap<Key, Row, QuickHash> = there.into_iter().collect();
    let mut rows = Rows::default();
    for (key, mut sums) in sums {
        let is_known = match there.remove(&key) {
            Some(mut before) => sums.add_reported(&mut before)?,
            None => true,
        };
        let [requests, input, output, cost, rest] = sums.reported();
        // What was counted before cannot be added up any more.
        let rest = if is_known { rest } else { Value::Null };
        let sums = [requests, input, output, cost, rest];
        rows.push(key_values(key).into_iter().chain(sums));
    }
    connection.insert(&table.upsert(), rows)
}

fn write_kinds(
    connection: &mut dyn Connection,
    ones: &[One],
    measured: &[Measured],
    there: Vec<There>,
) -> Result<(), Failure> {
    let mut before: HashMap<Key, Vec<u8>, QuickHash> = HashMap::default();
    for (key, mut row) in there {
        before.insert(key, row.maybe_bytes()?.unwrap_or_default());
    }
    let mut kinds = Vec::new();
    let mut rows = Rows::default();
    for ones in ones.chunk_by(|one, other| one.0 == other.0) {
        let key = ones[0].0;
        kinds.clear();
        let by_kind = ones.chunk_by(|one, other| one.1 == other.1);
        kinds.extend(by_kind.map(|ones| (ones[0].1, sum(ones, measured))));
        let before = before.get(&key).map_or(&[][..], Vec::as_slice);
        let kinds = [Value::Bytes(sums::with_kinds(before, &kinds)?.into())];
        rows.push(key_values(key).into_iter().chain(kinds));
    }
    connection.insert(&KINDS_OF_CALLER.upsert(), rows)
}
