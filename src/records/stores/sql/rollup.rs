//! Sums by day and hour, kept as entries are written, so that a report need not read the entries.
//!
//! What is not about callers is added up by *kind*: model, provider, agent, API, status and outcome. What
//! is, by caller, and within a caller's day by kind. A record that carries headers adds to the sums of each of
//! them as well; the number 0 stands for no header.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::names::{self, Name, Names};
use super::row::{Numbers, limit};
use super::sums::{self, REPORTED};
use super::value::{Row, Value, key};
use super::{Connection, Failure, Question, places};
use crate::records::Record;
use crate::records::reports::report::{DAY_MS, HOUR_MS};
use crate::records::reports::sums::{Measured, Sums};

/// The number of no header.
pub(super) const NO_HEADER: i64 = 0;

/// Keys that are asked for in one statement.
const ASKED: usize = 100;

/// A header as it is stored.
fn header((name, value): &(String, String)) -> Name<'_> {
    vec![
        Value::text(key(name, limit::HEADER_NAME)),
        Value::text(key(value, limit::HEADER_VALUE)),
    ]
}

/// Headers as they are stored, each name and value once.
pub(super) fn distinct(headers: &[(String, String)]) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let mut all: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            (
                key(name, limit::HEADER_NAME),
                key(value, limit::HEADER_VALUE),
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

/// What a group of records adds.
#[derive(Default)]
struct Added {
    days: BTreeMap<Key, Sums>,
    hours: BTreeMap<Key, Sums>,
    callers: BTreeMap<Key, Sums>,
    /// By kind, in their order.
    kinds: BTreeMap<Key, BTreeMap<i64, Sums>>,
    /// The nodes of callers, by day.
    nodes: BTreeSet<Key>,
}

/// Adds the records that are `new` to the sums. To be called in the transaction that writes them.
pub(super) fn add(
    connection: &mut dyn Connection,
    names: &mut Names,
    records: &[&Record],
    is_new: &[bool],
    numbers: &Numbers,
) -> Result<(), Failure> {
    let mut added = Added::default();
    let new = || records.iter().enumerate().filter(|(nth, _)| is_new[*nth]);
    // Those of all records at once: two nodes that write the same new ones do it in the same order.
    let carried = new().flat_map(|(_, record)| record.headers.iter().map(header));
    let carried = names.numbers(connection, &names::HEADERS, carried)?;
    let mut carried = carried.into_iter();
    for (nth, record) in new() {
        let measured = Measured::of(&record.entry);
        let (caller, kind) = (numbers.callers[nth], numbers.kinds[nth]);
        let at = record.entry.id.started_at();
        let (day, hour) = (at.div_euclid(DAY_MS), at.div_euclid(HOUR_MS));
        let mut headers = vec![NO_HEADER];
        headers.extend(carried.by_ref().take(record.headers.len()));
        headers.sort_unstable();
        headers.dedup();
        for header in headers {
            let days = added.days.entry((header, day, kind)).or_default();
            days.add_one(&measured);
            let own = (header, day, caller);
            added.callers.entry(own).or_default().add_one(&measured);
            let kinds = added.kinds.entry(own).or_default();
            kinds.entry(kind).or_default().add_one(&measured);
            let hours = added.hours.entry((header, hour, kind)).or_default();
            hours.add_one(&measured);
        }
        added.nodes.insert((numbers.nodes[nth], day, caller));
    }
    let keys = |added: &BTreeMap<Key, Sums>| added.keys().copied().collect::<Vec<_>>();
    let [days, hours, callers, kinds] = there(
        connection,
        &[
            (&BY_DAY, keys(&added.days)),
            (&BY_HOUR, keys(&added.hours)),
            (&BY_CALLER, keys(&added.callers)),
            (&KINDS_OF_CALLER, keys(&added.callers)),
        ],
    )?;
    write(connection, &BY_DAY, added.days, days)?;
    write(connection, &BY_HOUR, added.hours, hours)?;
    write(connection, &BY_CALLER, added.callers, callers)?;
    write_kinds(connection, &added.kinds, kinds)?;
    let sql = "INSERT INTO node_days (node, day, caller) VALUES ($1, $2, $3) \
        ON CONFLICT (node, day, caller) DO NOTHING";
    let seen = added.nodes.into_iter().map(|key| key_values(key).to_vec());
    connection.insert(sql, seen.collect())
}

fn key_values<'v>((first, second, last): Key) -> [Value<'v>; 3] {
    [first, second, last].map(Value::Integer)
}

fn write(
    connection: &mut dyn Connection,
    table: &Table,
    mut added: BTreeMap<Key, Sums>,
    there: Vec<There>,
) -> Result<(), Failure> {
    let mut unknown = Vec::new();
    for (key, mut row) in there {
        if let Some(sums) = added.get_mut(&key)
            && !sums.add_reported(&mut row)?
        {
            unknown.push(key);
        }
    }
    let rows = added.iter().map(|(key, sums)| {
        let mut row: Vec<Value<'_>> = key_values(*key)
            .into_iter()
            .chain(sums.reported())
            .collect();
        if unknown.contains(key) {
            // What was counted before cannot be added up any more.
            row.pop();
            row.push(Value::Null);
        }
        row
    });
    connection.insert(&table.upsert(), rows.collect())
}

fn write_kinds(
    connection: &mut dyn Connection,
    added: &BTreeMap<Key, BTreeMap<i64, Sums>>,
    there: Vec<There>,
) -> Result<(), Failure> {
    let mut before: HashMap<Key, Vec<u8>> = HashMap::new();
    for (key, mut row) in there {
        before.insert(key, row.maybe_bytes()?.unwrap_or_default());
    }
    let rows = added.iter().map(|(key, kinds)| {
        let before = before.get(key).map_or(&[][..], Vec::as_slice);
        let kinds = sums::with_kinds(before, kinds)?;
        let kinds = [Value::Bytes(kinds.into())];
        Ok(key_values(*key).into_iter().chain(kinds).collect())
    });
    let rows = rows.collect::<Result<Vec<_>, Failure>>()?;
    connection.insert(&KINDS_OF_CALLER.upsert(), rows)
}
