//! An entry as a row. What entries are looked for by stands in columns of numbers; the rest is one JSON
//! array, which is read with the row. The view `entries` shows all of it in columns.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::names::{self, Name, Names};
use super::value::{Row, Value, stored};
use super::{Connection, Failure, Question, rows};
use crate::base::reasons::Reason;
use crate::records::journal::packed::Journaled;
use crate::records::reports::sums::{COUNTS, Measured, cost, counts};
use crate::records::{Entry, EntryId, Outcome, Tokens};

/// Bytes of what is part of a key; what is longer ends with a hash (`value::key`). All keys
/// together stay below the 2,704 bytes that `PostgreSQL` has room for.
pub(super) mod limit {
    pub(crate) const CALLER: usize = 384;
    pub(crate) const LOGIN: usize = 320;
    pub(crate) const SESSION: usize = 256;
    pub(crate) const NODE: usize = 128;
    pub(crate) const MODEL: usize = 256;
    pub(crate) const PROVIDER: usize = 128;
    pub(crate) const AGENT: usize = 64;
    pub(crate) const API: usize = 64;
    pub(crate) const HEADER_NAME: usize = 128;
    pub(crate) const HEADER_VALUE: usize = 256;
    pub(crate) const TOOL: usize = 256;
    pub(crate) const BUCKET: usize = 512;
}

/// Only a place that is taken is skipped. `INSERT OR IGNORE` would also drop, in silence, a
/// record that breaks another constraint.
pub(crate) const INSERT: &str = "INSERT INTO requests (place, id, session, caller, node, kind, rest) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (place) DO NOTHING";

/// The columns for [`read`], of `requests` with [`NAMED`].
pub(super) const SELECTED: &str = "requests.id, requests.session, callers.caller, callers.login, \
    nodes.node_id, kinds.model, kinds.provider, kinds.agent, kinds.api, kinds.status, kinds.outcome, \
    requests.rest, CASE WHEN EXISTS (SELECT 1 FROM captures WHERE captures.entry_id = requests.id) \
    THEN 1 ELSE 0 END AS captured";

/// What goes with `requests`, which stands before it: `SQLite` walks through tables in this order.
pub(super) const NAMED: &str = "CROSS JOIN callers CROSS JOIN nodes CROSS JOIN kinds";

/// What joins them.
pub(super) const JOINED: &str =
    "callers.n = requests.caller AND nodes.n = requests.node AND kinds.n = requests.kind";

/// The time of an entry, in Unix milliseconds.
pub(super) const STARTED_AT: &str = "requests.place >> 20";

const _: () = assert!(EntryId::RANDOM_BITS == 20);

/// The part of an entry by which nobody looks for it, in the order in which the view reads it.
#[derive(Serialize)]
struct Written<'r>(
    Cow<'r, str>,
    &'r [String],
    Cow<'r, str>,
    Cow<'r, str>,
    Cow<'r, str>,
    u8,
    [Option<i64>; COUNTS],
    u8,
    Option<i64>,
    Option<Cow<'r, str>>,
    Option<Cow<'r, str>>,
    u32,
    Option<f64>,
    Option<f64>,
    f64,
    Option<f64>,
    u64,
    u64,
    Cow<'r, str>,
    &'r RawValue,
    Option<Cow<'r, str>>,
);

/// The same as it is read.
#[derive(Deserialize)]
struct Read(
    String,
    Vec<String>,
    String,
    String,
    String,
    u8,
    [Option<i64>; COUNTS],
    u8,
    Option<i64>,
    Option<String>,
    Option<String>,
    u32,
    Option<f64>,
    Option<f64>,
    f64,
    Option<f64>,
    u64,
    u64,
    String,
    Vec<Reason>,
    Option<String>,
);

/// What reports take of it.
#[derive(Deserialize)]
struct Summed(
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    [Option<i64>; COUNTS],
    serde::de::IgnoredAny,
    Option<i64>,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    Option<f64>,
    f64,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
);

fn text(text: &str) -> Cow<'_, str> {
    stored(text.into())
}

fn rest(entry: &Entry, reasons: &str) -> Result<String, Failure> {
    let json = |error: serde_json::Error| Failure::Value(error.to_string());
    let finite = |ms: Option<f64>| ms.filter(|ms| ms.is_finite());
    let most = |count: u64| count.min(i64::MAX.cast_unsigned());
    let written = Written(
        text(&entry.node_name),
        &entry.tags,
        text(&entry.model_requested),
        text(&entry.method),
        text(&entry.path),
        entry.stream.into(),
        counts(&entry.tokens),
        entry.tokens.estimated.into(),
        cost(entry),
        entry.cost_basis.as_deref().map(text),
        entry.finish_reason.as_deref().map(text),
        entry.tool_calls,
        finite(entry.first_byte_ms),
        finite(entry.first_token_ms),
        finite(Some(entry.duration_ms)).unwrap_or(0.0),
        finite(entry.overhead_ms),
        most(entry.request_bytes),
        most(entry.response_bytes),
        text(&entry.user_agent),
        serde_json::from_str(reasons).map_err(json)?,
        entry.error.as_deref().map(text),
    );
    let written = serde_json::to_string(&written);
    written.map(without_zeros).map_err(json)
}

/// JSON whose texts have no zero characters: `PostgreSQL` reads none that has.
fn without_zeros(json: String) -> String {
    const ZERO: &str = "\\u0000";
    let mut left = json.as_str();
    let mut changed = String::new();
    while let Some(found) = memchr::memmem::find(left.as_bytes(), ZERO.as_bytes()) {
        let (before, rest) = left.split_at(found);
        // A backslash that follows another one is a character of the text.
        let escaping = before.bytes().rev().take_while(|byte| *byte == b'\\');
        let is_zero = escaping.count() % 2 == 0;
        changed.push_str(before);
        changed.push_str(if is_zero { "\\ufffd" } else { ZERO });
        left = &rest[ZERO.len()..];
    }
    if changed.is_empty() {
        return json;
    }
    changed + left
}

fn caller(entry: &Entry) -> Name<'_> {
    vec![
        Value::key(&entry.caller, limit::CALLER),
        Value::key(&entry.login, limit::LOGIN),
    ]
}

fn node(entry: &Entry) -> Name<'_> {
    vec![Value::key(&entry.node_id, limit::NODE)]
}

fn kind(entry: &Entry) -> Name<'_> {
    vec![
        Value::key(&entry.model, limit::MODEL),
        Value::key(&entry.provider, limit::PROVIDER),
        Value::key(&entry.agent, limit::AGENT),
        Value::key(&entry.api, limit::API),
        i64::from(entry.status).into(),
        entry.outcome.as_str().into(),
    ]
}

/// What records are known by in the tables: numbers, one for each record.
pub(super) struct Numbers {
    pub(super) callers: Vec<i64>,
    pub(super) kinds: Vec<i64>,
    pub(super) nodes: Vec<i64>,
    pub(super) places: Vec<i64>,
}

/// Writes entries. Says of each whether it is new, and what it is known by.
pub(super) fn insert(
    connection: &mut dyn Connection,
    names: &mut Names,
    records: &[Journaled],
) -> Result<(Vec<bool>, Numbers), Failure> {
    let entries = || records.iter().map(|one| &one.record.entry);
    let callers = names.numbers(connection, &names::CALLERS, entries().map(caller))?;
    let nodes = names.numbers(connection, &names::NODES, entries().map(node))?;
    let kinds = names.numbers(connection, &names::KINDS, entries().map(kind))?;
    let places: Vec<i64> = entries().map(|entry| entry.id.place()).collect();
    let mut numbers = Numbers {
        callers,
        kinds,
        nodes,
        places,
    };
    let mut is_new = vec![false; records.len()];
    // Rows that lie side by side are written one after the other.
    let mut left: Vec<usize> = (0..records.len()).collect();
    left.sort_by_key(|&nth| numbers.places[nth]);
    while !left.is_empty() {
        let rows = left
            .iter()
            .map(|&nth| values(&records[nth], &numbers, nth))
            .collect::<Result<_, _>>()?;
        let inserted = connection.insert_free(INSERT, "place", rows)?;
        let mut taken = Vec::new();
        for (nth, is_inserted) in left.into_iter().zip(inserted) {
            is_new[nth] = is_inserted;
            if !is_inserted {
                taken.push(nth);
            }
        }
        let asked = taken.iter().map(|&nth| {
            let id = records[nth].record.entry.id.as_str();
            (numbers.places[nth], id)
        });
        let mut are_there = are_there(connection, asked)?.into_iter();
        // Of the others, another entry of the same millisecond has the place.
        taken.retain(|_| are_there.next() == Some(false));
        for &nth in &taken {
            numbers.places[nth] += 1;
        }
        left = taken;
    }
    Ok((is_new, numbers))
}

fn values<'r>(
    one: &'r Journaled,
    numbers: &Numbers,
    nth: usize,
) -> Result<Vec<Value<'r>>, Failure> {
    let entry = &one.record.entry;
    Ok(vec![
        numbers.places[nth].into(),
        entry.id.as_str().into(),
        Value::key(&entry.session, limit::SESSION),
        numbers.callers[nth].into(),
        numbers.nodes[nth].into(),
        numbers.kinds[nth].into(),
        Value::Text(rest(entry, &one.reasons)?.into()),
    ])
}

/// Whether entries have their places.
fn are_there<'e>(
    connection: &mut dyn Connection,
    entries: impl Iterator<Item = (i64, &'e str)>,
) -> Result<Vec<bool>, Failure> {
    let sql = "SELECT 1 FROM requests WHERE place = $1 AND id = $2";
    let asked = entries.map(|(place, id)| (sql.into(), vec![place.into(), id.into()]));
    let asked: Vec<Question<'_>> = asked.collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let answers = connection.ask(asked)?;
    Ok(answers.iter().map(|rows| !rows.is_empty()).collect())
}

/// The conditions that an entry is found by, for its id. The values are [`found_by`].
pub(super) const IS_ONE: &str = "requests.place >= $1 AND requests.place < $2 AND requests.id = $3";

pub(super) fn found_by(id: &str) -> Vec<Value<'_>> {
    let from = EntryId::place_of(id);
    vec![
        from.into(),
        from.saturating_add(EntryId::PROBED).into(),
        Value::text(id),
    ]
}

/// The place of an id: that of its entry, or else where it would be.
pub(super) fn place(connection: &mut dyn Connection, id: &str) -> Result<i64, Failure> {
    let sql = format!("SELECT place FROM requests WHERE {IS_ONE}");
    let found = rows(connection, &sql, found_by(id), Row::integer)?;
    Ok(found.first().copied().unwrap_or(EntryId::place_of(id)))
}

pub(super) fn read(row: &mut Row) -> Result<Entry, Failure> {
    let id = EntryId(row.text()?.into());
    let session = row.text()?.into();
    let caller = row.text()?.into();
    let login = row.text()?.into();
    let node_id = row.text()?.into();
    let model = row.text()?.into();
    let provider = row.text()?.into();
    let agent = row.text()?.into();
    let api = row.text()?.into();
    let status = status(row)?;
    let outcome = outcome(row)?;
    let rest: Read = row.json()?;
    let counts = rest
        .6
        .map(|count| count.map(|count| count.max(0).cast_unsigned()));
    Ok(Entry {
        started_at: id.started_at(),
        id,
        session,
        caller,
        login,
        node_id,
        node_name: rest.0.into(),
        tags: rest.1,
        agent,
        api,
        model_requested: rest.2.into(),
        model,
        provider,
        method: rest.3.into(),
        path: rest.4.into(),
        status,
        outcome,
        stream: rest.5 != 0,
        tokens: Tokens::of_counts(counts, rest.7 != 0),
        cost: rest.8,
        cost_basis: rest.9.map(Into::into),
        finish_reason: rest.10,
        tool_calls: rest.11,
        first_byte_ms: rest.12,
        first_token_ms: rest.13,
        duration_ms: rest.14,
        overhead_ms: rest.15,
        request_bytes: rest.16,
        response_bytes: rest.17,
        user_agent: rest.18.into(),
        reasons: rest.19,
        error: rest.20,
        captured: row.integer()? != 0,
    })
}

/// What an entry adds to sums, from its outcome and its rest.
pub(super) fn measured(row: &mut Row) -> Result<Measured, Failure> {
    let outcome = outcome(row)?;
    let rest: Summed = row.json()?;
    Ok(Measured {
        outcome,
        counts: rest.6,
        cost: rest.8,
        duration_ms: Some(rest.14),
        first_token_ms: rest.13,
    })
}

fn status(row: &mut Row) -> Result<u16, Failure> {
    Ok(u16::try_from(row.integer()?).unwrap_or_default())
}

fn outcome(row: &mut Row) -> Result<Outcome, Failure> {
    let text = row.text()?;
    Outcome::parse(&text).ok_or_else(|| Failure::Value(format!("outcome {text:?}")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::records::archive::Archive;
    use crate::records::entry::tests::entry;
    use crate::records::stores::Store;
    use crate::records::stores::sqlite::SqliteStore;
    use crate::records::{Record, Scope};

    #[test]
    fn entries_whose_places_are_the_same_stand_side_by_side() {
        let store = SqliteStore::parse("sqlite::memory:", Path::new(".")).unwrap();
        let mut open = store.open_writer().unwrap();
        let of = |nth: usize| {
            let mut entry = entry(1_700_000_000_123, "ann@example.com", "s");
            entry.id = EntryId(format!("req_01hf7yat3v04hm{nth:0>12}").into());
            entry
        };
        let mut names = Names::default();
        let mut insert = |open: &mut dyn Connection, which: &[usize]| {
            let which = which.iter().map(|nth| journaled(of(*nth)));
            let which: Vec<Journaled> = which.collect();
            let (is_new, numbers) = insert(open, &mut names, &which).unwrap();
            (is_new, numbers.places)
        };
        let first = of(0).id.place();
        let inserted = insert(open.as_mut(), &[0, 1]);
        assert_eq!(inserted, (vec![true, true], vec![first, first + 1]));
        // One that is there is found, wherever it stands.
        let inserted = insert(open.as_mut(), &[2, 1, 0]);
        let places = vec![first + 2, first + 1, first];
        assert_eq!(inserted, (vec![true, false, false], places));
        for nth in 0..3 {
            let entry = of(nth);
            let place = place(open.as_mut(), entry.id.as_str()).unwrap();
            assert_eq!(place, first + i64::try_from(nth).unwrap());
            let found = open.request(&Scope::Everyone, entry.id.as_str()).unwrap();
            assert_eq!(found, Some(entry));
        }
    }

    fn journaled(entry: Entry) -> Journaled {
        let reasons = serde_json::to_string(&entry.reasons).unwrap().into();
        let record = Record::from(entry);
        Journaled {
            record,
            reasons,
            capture: None,
        }
    }

    #[test]
    fn json_loses_its_zero_characters_and_nothing_else() {
        let plain = r#"["a\\u0000","\\\\u0000"]"#.to_owned();
        assert_eq!(without_zeros(plain.clone()), plain);
        for text in ["\0", "a\0\0b", "\\\0\\u0000\0", "\\\\\0\u{fffd}"] {
            let json = without_zeros(serde_json::to_string(text).unwrap());
            let read: String = serde_json::from_str(&json).unwrap();
            assert_eq!(read, text.replace('\0', "\u{fffd}"));
        }
    }

    #[test]
    fn what_reports_take_stands_where_it_is_read() {
        let mut one = entry(5, "ann@example.com", "s");
        one.first_token_ms = Some(7.5);
        let written = rest(&one, "[]").unwrap();
        let values = vec![
            Value::text(one.outcome.as_str()),
            Value::Text(written.into()),
        ];
        let mut row = Row::new(values.into_iter().map(Value::into_owned).collect());
        let read = measured(&mut row).unwrap();
        let expected = Measured::of(&one);
        assert_eq!(read.outcome, expected.outcome);
        assert_eq!((read.counts, read.cost), (expected.counts, expected.cost));
        assert_eq!(read.duration_ms, expected.duration_ms);
        assert_eq!(read.first_token_ms, expected.first_token_ms);
    }
}
