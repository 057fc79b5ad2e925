//! The journal as rows, and its records as the rows that they are folded into: entries, what goes with them,
//! and what they add up to.

use std::collections::{HashMap, HashSet};

use super::row::limit;
use super::value::{Row, Rows, Value};
use super::{
    Connection, Failure, Names, Question, balances, capture, committing, exports, outbox, purge,
    rollup, row, rows, session,
};
use crate::base::bucket::Settlement;
use crate::base::panics;
use crate::records::journal::packed::unpacked::{Journaled, JournaledTool, Unpacked};
use crate::records::journal::packed::{Shared, Texts};
use crate::records::journal::retention::Policy;
use crate::records::journal::{Folded, Group, Journal, LeftOut};
use crate::records::reports::sums::Measured;

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
                let appended = connection.execute_and_commit(APPEND, Rows::one(row_of(group)))?;
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
            let Batch { rows, mut folded } = batch(connection, left_out, most)?;
            let read = Contents::of(&rows, left_out, &mut folded);
            if read.rows.is_empty() {
                connection.rollback();
                return Ok(folded);
            }
            // They are of use again once what they stand for is committed.
            let mut names = std::mem::take(connection.names());
            fill(connection, &mut names, &read, policy, &mut folded)?;
            let ids = read.rows.iter().map(|id| [Value::text(*id)]);
            connection.execute_and_commit(DELETE, ids.collect())?;
            *connection.names() = names;
            Ok(folded)
        })
    }

    fn waiting(&mut self, left_out: &LeftOut, most: usize) -> Result<Vec<Unpacked>, Failure> {
        let batch = trying(self, |connection| batch(connection, left_out, most))?;
        Ok(batch.rows.into_iter().map(|(_, row)| row).collect())
    }

    fn try_fold(&mut self, record: &Journaled<'_>, policy: &Policy) -> Result<(), Failure> {
        // What is undone has no number to remember.
        let mut names = Names::default();
        trying(self, |connection| {
            insert(connection, &mut names, &[record], policy).map(drop)
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
    let appended = connection.execute(APPEND, Rows::one(row_of(group)))?;
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

/// The first rows of the journal.
#[derive(Default)]
struct Batch {
    rows: Vec<(String, Unpacked)>,
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
            Ok(unpacked) => batch.rows.push((id, unpacked)),
            Err(failure) => batch.folded.unreadable.push((id, failure)),
        }
    }
    Ok(batch)
}

/// What is folded together.
#[derive(Default)]
struct Contents<'b> {
    /// Ids of rows of the journal.
    rows: Vec<&'b str>,
    records: Vec<Journaled<'b>>,
    /// Those who were to get them, with the ids of entries.
    exports: HashMap<&'b str, Vec<&'b str>>,
}

impl<'b> Contents<'b> {
    fn of(rows: &'b [(String, Unpacked)], left_out: &LeftOut, folded: &mut Folded) -> Contents<'b> {
        let mut read = Contents::default();
        let mut texts = Texts::default();
        for (id, row) in rows {
            let before = read.records.len();
            let exporters = match row.read_into(&mut texts, &mut read.records) {
                Ok(exporters) => exporters,
                Err(failure) => {
                    folded.unreadable.push((id.clone(), failure));
                    continue;
                }
            };
            if !left_out.entries.is_empty() {
                let is_left_out = |one: &mut Journaled<'_>| left_out.entries.contains(one.entry.id);
                read.records
                    .extract_if(before.., is_left_out)
                    .for_each(drop);
            }
            for exporter in exporters {
                let ids = read.records[before..].iter().map(|one| one.entry.id);
                read.exports.entry(exporter).or_default().extend(ids);
            }
            read.rows.push(id);
            folded.last = Some(id.clone());
        }
        folded.records = read.records.len();
        read
    }
}

/// Writes what a batch is folded into.
fn fill(
    connection: &mut dyn Connection,
    names: &mut Names,
    read: &Contents<'_>,
    policy: &Policy,
    folded: &mut Folded,
) -> Result<(), Failure> {
    // Neighbours in the tables are written one after the other.
    let mut records: Vec<&Journaled<'_>> = read.records.iter().collect();
    records.sort_unstable_by_key(|one| (one.place, one.entry.id));
    let new = insert(connection, names, &records, policy)?;
    folded.skipped = records.len() - new.len();
    folded.has_deliveries = new.iter().any(|one| !one.deliveries.is_empty());
    let keep = policy.keep();
    folded.has_dropped = new
        .iter()
        .any(|one| !keep.captures && one.capture.is_some() || !keep.tools && !one.tools.is_empty());
    let new = || new.iter().map(|one| one.entry.id);
    let is_new: HashSet<&str> = match folded.skipped {
        0 => HashSet::new(),
        _ => new().collect(),
    };
    for (exporter, entries) in &read.exports {
        let entries = entries.iter().copied();
        let entries = entries.filter(|id| folded.skipped == 0 || is_new.contains(id));
        exports::queue(connection, exporter, entries)?;
    }
    // One that has begun since they were packed gets them too.
    for exporter in &policy.exporters {
        let got = read.exports.get(exporter.as_str()).map_or(0, Vec::len);
        if got < records.len() {
            exports::queue(connection, exporter, new())?;
        }
    }
    Ok(())
}

/// Writes entries and what goes with them. Returns the records that were not there before.
fn insert<'r, 'b>(
    connection: &mut dyn Connection,
    names: &mut Names,
    records: &[&'r Journaled<'b>],
    policy: &Policy,
) -> Result<Vec<&'r Journaled<'b>>, Failure> {
    let keep = policy.keep();
    let (is_new, numbers) = row::insert(connection, names, records)?;
    panics::point("ledger-fold");
    let all = records.iter().zip(&numbers.places).zip(&is_new);
    let new = all.filter_map(|(new, is_new)| is_new.then_some(new));
    let new = new.map(|(one, place)| (*one, *place));
    let headers = new
        .clone()
        .flat_map(|(one, at)| header_rows(&one.marks, at));
    super::insert(connection, INSERT_HEADER, headers.collect())?;
    if keep.tools {
        let tools = new.clone().flat_map(|(one, at)| tool_rows(&one.tools, at));
        super::insert(connection, INSERT_TOOL, tools.collect())?;
    }
    let new: Vec<&Journaled<'_>> = new.map(|(one, _)| one).collect();
    if keep.captures {
        let captures = new.iter().filter_map(|one| {
            let capture = one.capture.as_ref()?;
            Some(capture::write(one.entry.id, capture))
        });
        super::insert(connection, capture::INSERT, captures.collect())?;
    }
    if !new.is_empty() {
        let measured: Vec<Measured> = records.iter().map(|one| Measured::of(&one.entry)).collect();
        rollup::add(connection, names, records, &is_new, &numbers, &measured)?;
        session::add(connection, names, records, &is_new, &measured)?;
        outbox::add(connection, &new)?;
    }
    Ok(new)
}

fn header_rows<'b>(headers: &[(Shared<'b>, Shared<'b>)], place: i64) -> Vec<[Value<'b>; 4]> {
    let headers = rollup::distinct(headers);
    let nth = |index: usize| nth(headers.iter().map(|(name, _)| &**name), index);
    let rows = headers.iter().enumerate().map(|(index, (name, value))| {
        let [name, value] = [name, value].map(|text| Value::text(text.clone()));
        [name, value, place.into(), nth(index)]
    });
    rows.collect()
}

fn tool_rows<'b>(tools: &[JournaledTool<'b>], entry: i64) -> Vec<[Value<'b>; 5]> {
    let nth = |place: usize| nth(tools.iter().map(|tool| tool.name), place);
    let rows = tools.iter().enumerate().map(|(place, tool)| {
        [
            entry.into(),
            (place as u64).into(),
            Value::key(tool.name, limit::TOOL),
            nth(place),
            tool.params.into(),
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
