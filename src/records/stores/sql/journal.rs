//! The journal as rows, and its records as the rows that they are folded into: entries, what goes with them,
//! and what they add up to.

use std::collections::{HashMap, HashSet};

use super::row::limit;
use super::value::{Row, Value};
use super::{
    Connection, Failure, Names, Question, balances, capture, committing, exports, outbox, purge,
    rollup, row, rows, session,
};
use crate::base::bucket::Settlement;
use crate::base::panics;
use crate::records::Record;
use crate::records::journal::packed::{Journaled, Unpacked};
use crate::records::journal::retention::Policy;
use crate::records::journal::{Folded, Group, Journal, LeftOut};

pub(crate) const APPEND: &str = "INSERT INTO journal (id, records, content) VALUES ($1, $2, $3) \
    ON CONFLICT (id) DO NOTHING";

const DELETE: &str = "DELETE FROM journal WHERE id = $1";

const INSERT_HEADER: &str = "INSERT INTO entry_headers (name, value, entry, nth) \
    VALUES ($1, $2, $3, $4) ON CONFLICT (name, value, entry) DO NOTHING";

const INSERT_TOOL: &str = "INSERT INTO entry_tools (entry, position, name, nth, params) \
    VALUES ($1, $2, $3, $4, $5)";

/// Rows that are looked at for one batch, and bytes of those that are read.
const ROWS: usize = 256;
const BYTES: u64 = 8 << 20;

/// Bytes that they unpack to, beyond which a batch takes no further row.
const PLAIN: usize = 32 << 20;

impl Journal for dyn Connection + '_ {
    fn append(&mut self, group: &Group<'_>) -> Result<bool, Failure> {
        let settlements = group.settlements();
        committing(self, |connection| {
            if settlements.is_empty() && !group.is_again {
                panics::point("ledger");
                let appended = connection.execute_and_commit(APPEND, vec![row_of(group)])?;
                return Ok(appended.into_iter().sum::<u64>() > 0);
            }
            if !append(connection, group)? {
                connection.rollback();
                return Ok(false);
            }
            // Last, because other nodes wait for the rows of buckets.
            let levels = balances::settle(connection, &settlements)?;
            balances::store(connection, levels)?;
            Ok(true)
        })
    }

    fn try_append(&mut self, group: &Group<'_>) -> Result<(), Failure> {
        trying(self, |connection| {
            append(connection, group)?;
            balances::settle(connection, &group.settlements()).map(drop)
        })
    }

    fn unfolded(&mut self, unreadable: &HashSet<String>) -> Result<Option<String>, Failure> {
        let most = unreadable.len() + 1;
        let sql = format!("SELECT id FROM journal ORDER BY id DESC LIMIT {most}");
        let last = rows(self, &sql, Vec::new(), Row::text)?;
        Ok(last.into_iter().find(|id| !unreadable.contains(id)))
    }

    fn length(&mut self) -> Result<u64, Failure> {
        let sql = "SELECT CAST(COALESCE(SUM(records), 0) AS BIGINT) FROM journal";
        let counts = rows(self, sql, Vec::new(), Row::count)?;
        Ok(counts.into_iter().sum())
    }

    fn fold(
        &mut self,
        policy: &Policy,
        left_out: &LeftOut,
        most: usize,
    ) -> Result<Folded, Failure> {
        committing(self, |connection| {
            let mut batch = batch(connection, left_out, most)?;
            if batch.rows.is_empty() {
                connection.rollback();
                return Ok(batch.folded);
            }
            // They are of use again once what they stand for is committed.
            let mut names = std::mem::take(connection.names());
            fill(connection, &mut names, &mut batch, policy)?;
            let ids = batch.rows.iter().map(|id| vec![Value::text(id)]);
            connection.execute_and_commit(DELETE, ids.collect())?;
            *connection.names() = names;
            Ok(batch.folded)
        })
    }

    fn waiting(&mut self, left_out: &LeftOut, most: usize) -> Result<Vec<Journaled>, Failure> {
        let batch = trying(self, |connection| batch(connection, left_out, most))?;
        Ok(batch.records)
    }

    fn try_fold(&mut self, record: &Journaled, policy: &Policy) -> Result<(), Failure> {
        // What is undone has no number to remember.
        let mut names = Names::default();
        trying(self, |connection| {
            let records = std::slice::from_ref(record);
            insert(connection, &mut names, records, policy).map(drop)
        })
    }

    fn purge(&mut self, policy: &Policy, now: i64) -> Result<(u64, bool), Failure> {
        purge::batch(self, policy, now)
    }
}

/// Runs `work` in a transaction and undoes it.
fn trying<T>(
    connection: &mut dyn Connection,
    work: impl FnOnce(&mut dyn Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    connection.begin()?;
    let done = work(connection);
    connection.rollback();
    done
}

impl<'g> Group<'g> {
    fn settlements(&self) -> Vec<&'g Settlement> {
        let all = self.records.iter();
        all.filter_map(|record| record.settlement.as_ref())
            .collect()
    }
}

fn row_of<'g>(group: &Group<'g>) -> Vec<Value<'g>> {
    vec![
        group.packed.id.as_str().into(),
        (group.packed.count as u64).into(),
        Value::Bytes(group.packed.content.as_slice().into()),
    ]
}

/// Appends the row of a group, unless an earlier try has done it.
fn append(connection: &mut dyn Connection, group: &Group<'_>) -> Result<bool, Failure> {
    let appended = connection.execute(APPEND, vec![row_of(group)])?;
    panics::point("ledger");
    // A row that another node has folded meanwhile is gone, and its entries are there. They are looked for
    // after the row was appended: a try that is still under way would have held that up.
    if appended.into_iter().sum::<u64>() == 0 {
        return Ok(false);
    }
    Ok(!group.is_again || !is_folded(connection, group)?)
}

/// Whether an entry of a group is there, and so all of them.
fn is_folded(connection: &mut dyn Connection, group: &Group<'_>) -> Result<bool, Failure> {
    let sql = format!("SELECT place FROM requests WHERE {}", row::IS_ONE);
    let questions = group.records.iter().map(|record| {
        let id = record.entry.id.as_str();
        (sql.as_str().into(), row::found_by(id))
    });
    let answers = connection.ask(questions.collect())?;
    Ok(answers.iter().any(|rows| !rows.is_empty()))
}

/// What is folded together.
#[derive(Default)]
struct Batch {
    /// Rows of the journal.
    rows: Vec<String>,
    /// Their records, in the order of their ids.
    records: Vec<Journaled>,
    /// Those who were to get them, with the ids of entries.
    exports: HashMap<String, Vec<String>>,
    folded: Folded,
}

/// Reads and locks the first rows of the journal.
fn batch(
    connection: &mut dyn Connection,
    left_out: &LeftOut,
    most: usize,
) -> Result<Batch, Failure> {
    // Rows that are left out take no place of others.
    let looked_at = ROWS + left_out.rows.len();
    let sql = format!(
        "SELECT id, records, LENGTH(content) FROM journal ORDER BY id LIMIT {looked_at}{}",
        connection.lock()
    );
    let waiting = rows(connection, &sql, Vec::new(), |row| {
        Ok((row.text()?, row.count()?, row.count()?))
    })?;
    let mut batch = Batch::default();
    batch.folded.is_more = waiting.len() == looked_at;
    let (mut records, mut bytes) = (0, 0);
    let mut wanted = Vec::new();
    for (id, count, length) in waiting {
        if left_out.rows.contains(&id) {
            continue;
        }
        records += count;
        bytes += length;
        if !wanted.is_empty() && (records > most as u64 || bytes > BYTES) {
            batch.folded.is_more = true;
            break;
        }
        wanted.push(id);
    }
    // What can't be read is all that there is.
    batch.folded.is_more &= !wanted.is_empty();
    let content = |id: &String| -> Question<'static> {
        let sql = "SELECT content FROM journal WHERE id = $1";
        (sql.into(), vec![Value::text(id.clone())])
    };
    let contents = connection.ask(wanted.iter().map(content).collect())?;
    let mut plain = 0;
    for (id, content) in wanted.into_iter().zip(contents) {
        let Some(mut row) = content.into_iter().next() else {
            continue;
        };
        let content = row.maybe_bytes()?.unwrap_or_default();
        plain += Unpacked::size(&content);
        if !batch.rows.is_empty() && plain > PLAIN {
            batch.folded.is_more = true;
            break;
        }
        match Unpacked::read(&content) {
            Ok(unpacked) => batch.add(id, unpacked, left_out),
            Err(failure) => batch.folded.unreadable.push((id, failure)),
        }
    }
    // Neighbours in the tables are written one after the other.
    batch
        .records
        .sort_unstable_by(|one, other| one.record.entry.id.cmp(&other.record.entry.id));
    batch.folded.records = batch.records.len();
    Ok(batch)
}

impl Batch {
    fn add(&mut self, id: String, unpacked: Unpacked, left_out: &LeftOut) {
        let records = unpacked.records.into_iter();
        let records: Vec<Journaled> = records
            .filter(|one| !left_out.entries.contains(one.record.entry.id.as_str()))
            .collect();
        for exporter in unpacked.exporters {
            let ids = records.iter().map(|one| one.record.entry.id.to_string());
            self.exports.entry(exporter).or_default().extend(ids);
        }
        self.records.extend(records);
        self.folded.last = Some(id.clone());
        self.rows.push(id);
    }
}

/// Writes what a batch is folded into.
fn fill(
    connection: &mut dyn Connection,
    names: &mut Names,
    batch: &mut Batch,
    policy: &Policy,
) -> Result<(), Failure> {
    let new = insert(connection, names, &batch.records, policy)?;
    batch.folded.skipped = batch.records.len() - new.len();
    let has_deliveries = |one: &&Journaled| !one.record.deliveries.is_empty();
    batch.folded.has_deliveries = new.iter().any(has_deliveries);
    let keep = policy.keep();
    batch.folded.has_dropped = new.iter().any(|one| {
        !keep.captures && one.capture.is_some() || !keep.tools && !one.record.tools.is_empty()
    });
    let skips = batch.folded.skipped > 0;
    let new: Vec<&str> = new.iter().map(|one| one.record.entry.id.as_str()).collect();
    let is_new: HashSet<&str> = new.iter().copied().collect();
    for (exporter, entries) in &batch.exports {
        let entries = entries.iter().map(String::as_str);
        let entries = entries.filter(|id| !skips || is_new.contains(id));
        exports::queue(connection, exporter, entries)?;
    }
    // One that has begun since they were packed gets them too.
    for exporter in &policy.exporters {
        let got = batch.exports.get(exporter).map_or(0, Vec::len);
        if got < batch.records.len() {
            exports::queue(connection, exporter, new.iter().copied())?;
        }
    }
    Ok(())
}

/// Writes entries and what goes with them. Returns the records that were not there before.
fn insert<'r>(
    connection: &mut dyn Connection,
    names: &mut Names,
    records: &'r [Journaled],
    policy: &Policy,
) -> Result<Vec<&'r Journaled>, Failure> {
    let keep = policy.keep();
    let (is_new, numbers) = row::insert(connection, names, records)?;
    panics::point("ledger-fold");
    let places = numbers.places.iter().copied();
    let new: Vec<(&Journaled, i64)> = records
        .iter()
        .zip(places)
        .zip(&is_new)
        .filter_map(|(new, is_new)| is_new.then_some(new))
        .collect();
    let headers = new
        .iter()
        .flat_map(|(one, place)| header_rows(&one.record, *place));
    super::insert(connection, INSERT_HEADER, headers.collect())?;
    if keep.tools {
        let tools = new
            .iter()
            .flat_map(|(one, place)| tool_rows(&one.record, *place));
        super::insert(connection, INSERT_TOOL, tools.collect())?;
    }
    let new: Vec<&Journaled> = new.into_iter().map(|(one, _)| one).collect();
    if keep.captures {
        let captures = new.iter().filter_map(|one| {
            let capture = one.capture.as_ref()?;
            Some(capture::write(one.record.entry.id.as_str(), capture))
        });
        super::insert(connection, capture::INSERT, captures.collect())?;
    }
    if !new.is_empty() {
        let all: Vec<&Record> = records.iter().map(|one| &one.record).collect();
        rollup::add(connection, names, &all, &is_new, &numbers)?;
        let new: Vec<&Record> = new.iter().map(|one| &one.record).collect();
        session::add(connection, names, &new)?;
        outbox::add(connection, &new)?;
    }
    Ok(new)
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
