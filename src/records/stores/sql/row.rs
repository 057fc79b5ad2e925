//! An entry as a row. What entries are looked for by stands in columns of numbers; the rest is one JSON
//! array (see `rest`), which is read with the row. The view `entries` shows all of it in columns.

use super::names::{self, Name, Names};
use super::rest::{Read, Rests, Summed};
use super::value::{Row, Value};
use super::{Connection, Failure, Question, rows};
use crate::records::journal::packed::unpacked::{Journaled, JournaledEntry};
use crate::records::reports::sums::Measured;
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

fn caller<'b>(entry: &JournaledEntry<'b>) -> Name<'b> {
    vec![
        Value::key(entry.caller.text, limit::CALLER),
        Value::key(entry.login.text, limit::LOGIN),
    ]
}

fn node<'b>(entry: &JournaledEntry<'b>) -> Name<'b> {
    vec![Value::key(entry.node_id.text, limit::NODE)]
}

fn kind<'b>(entry: &JournaledEntry<'b>) -> Name<'b> {
    vec![
        Value::key(entry.model.text, limit::MODEL),
        Value::key(entry.provider.text, limit::PROVIDER),
        Value::key(entry.agent.text, limit::AGENT),
        Value::key(entry.api.text, limit::API),
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

impl Numbers {
    fn of(
        connection: &mut dyn Connection,
        names: &mut Names,
        records: &[&Journaled<'_>],
    ) -> Result<Numbers, Failure> {
        let entries = || records.iter().map(|one| &one.entry);
        let callers = entries().map(|one| ((one.caller.number, one.login.number), one));
        let callers = names.numbers_by_key(connection, &names::CALLERS, callers, caller)?;
        let nodes = entries().map(|one| (one.node_id.number, one));
        let nodes = names.numbers_by_key(connection, &names::NODES, nodes, node)?;
        let kinds = entries().map(|one| {
            let texts = [one.model, one.provider, one.agent, one.api].map(|text| text.number);
            ((texts, one.status, one.outcome as u8), one)
        });
        let kinds = names.numbers_by_key(connection, &names::KINDS, kinds, kind)?;
        Ok(Numbers {
            callers,
            kinds,
            nodes,
            places: records.iter().map(|one| one.place).collect(),
        })
    }

    /// The values of [`INSERT`] for the record at a place.
    fn row<'r>(&self, nth: usize, one: &Journaled<'r>, rest: &'r str) -> [Value<'r>; 7] {
        [
            self.places[nth].into(),
            one.entry.id.into(),
            Value::key(one.entry.session.text, limit::SESSION),
            self.callers[nth].into(),
            self.nodes[nth].into(),
            self.kinds[nth].into(),
            Value::Text(rest.into()),
        ]
    }
}

/// Writes entries. Says of each whether it is new, and what it is known by.
pub(super) fn insert(
    connection: &mut dyn Connection,
    names: &mut Names,
    records: &[&Journaled<'_>],
) -> Result<(Vec<bool>, Numbers), Failure> {
    let mut numbers = Numbers::of(connection, names, records)?;
    let rests = Rests::of(records)?;
    let mut is_new = vec![false; records.len()];
    // Rows that lie side by side are written one after the other.
    let mut left: Vec<usize> = (0..records.len()).collect();
    left.sort_by_key(|&nth| numbers.places[nth]);
    while !left.is_empty() {
        let rows = left.iter();
        let rows = rows.map(|&nth| numbers.row(nth, records[nth], rests.of_nth(nth)));
        let inserted = connection.insert_free(INSERT, "place", rows.collect())?;
        let mut taken = Vec::new();
        for (nth, is_inserted) in left.into_iter().zip(inserted) {
            is_new[nth] = is_inserted;
            if !is_inserted {
                taken.push(nth);
            }
        }
        let asked = taken
            .iter()
            .map(|&nth| (numbers.places[nth], records[nth].entry.id));
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
    let read = |count: i64| count.max(0).cast_unsigned();
    let counts = rest.6.map(|count| count.map(read));
    let sound = rest.21.unwrap_or_default().map(|count| count.map(read));
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
        tokens: Tokens::of_counts(counts, rest.7 != 0).with_sound(sound),
        cost: rest.8,
        cost_basis: rest.9.map(Into::into),
        own_credential: rest.22 != 0,
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
        own_credential: rest.22 != 0,
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
    use crate::records::journal::packed::Texts;
    use crate::records::journal::packed::tests::unpacked;
    use crate::records::journal::retention::Policy;
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
            let which: Vec<Record> = which.iter().map(|nth| of(*nth).into()).collect();
            let row = unpacked(&which.iter().collect::<Vec<_>>(), &Policy::default());
            let mut read = Vec::new();
            row.read_into(&mut Texts::default(), &mut read).unwrap();
            let which: Vec<&Journaled<'_>> = read.iter().collect();
            let (is_new, numbers) = insert(open, &mut names, &which).unwrap();
            (is_new, numbers.places)
        };
        let first = EntryId::place_of(of(0).id.as_str());
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
}
