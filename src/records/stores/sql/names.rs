//! Names as numbers: what many records have in common is written once, and records refer to it. A number
//! is looked up once for each connection that writes; a name is never removed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::Hash;

use super::value::{Row, Value};
use super::{Connection, Failure, places};
use crate::base::quick_hash::QuickHash;

/// Names that are remembered of one table; all are forgotten beyond that.
const MOST: usize = 200_000;

/// Names that are asked for in one go.
const ASKED: usize = 200;

/// A table of names, and the columns that make one. Its number is `n`.
pub(super) struct Table {
    name: &'static str,
    columns: &'static [&'static str],
}

pub(super) const CALLERS: Table = Table {
    name: "callers",
    columns: &["caller", "login"],
};
pub(super) const NODES: Table = Table {
    name: "nodes",
    columns: &["node_id"],
};
/// What a request is told apart by in all reports, who made it aside.
pub(super) const KINDS: Table = Table {
    name: "kinds",
    columns: &["model", "provider", "agent", "api", "status", "outcome"],
};
pub(super) const HEADERS: Table = Table {
    name: "headers",
    columns: &["name", "value"],
};

impl Table {
    fn insert(&self) -> String {
        let columns = self.columns.join(", ");
        format!(
            "INSERT INTO {} ({columns}) VALUES ({}) ON CONFLICT ({columns}) DO NOTHING",
            self.name,
            places(0, self.columns.len())
        )
    }

    fn select(&self) -> String {
        let equal = self.columns.iter().enumerate();
        let equal = equal.map(|(nth, column)| format!("{column} = ${}", nth + 1));
        format!(
            "SELECT n FROM {} WHERE {}",
            self.name,
            equal.collect::<Vec<_>>().join(" AND ")
        )
    }
}

/// The columns of a name.
pub(super) type Name<'a> = Vec<Value<'a>>;

/// Spells a name as one text. No part has a zero character (`Value::text`).
fn spell(name: &[Value<'_>], text: &mut String) {
    text.clear();
    for part in name {
        match part {
            Value::Text(part) => text.push_str(part),
            // Writing to a text doesn't fail.
            Value::Integer(part) => {
                let _ = write!(text, "{part}");
            }
            Value::Null | Value::Real(_) | Value::Bytes(_) => {}
        }
        text.push('\0');
    }
}

/// The numbers that a connection knows.
#[derive(Default)]
pub(crate) struct Names {
    known: HashMap<&'static str, HashMap<String, i64>>,
    /// Rows of `session_models` that are there.
    models: HashSet<String>,
    spelled: String,
}

impl Names {
    /// Whether a model of a session was not written before: its caller, the session and the model.
    pub(super) fn is_new_model(&mut self, of: [&str; 3]) -> bool {
        if self.models.len() > MOST {
            self.models.clear();
        }
        self.spelled.clear();
        for part in of {
            // Names that differ are spelled differently, whatever is in them. Writing to a text doesn't fail.
            let _ = write!(self.spelled, "{} {part}", part.len());
        }
        !self.models.contains(&self.spelled) && self.models.insert(self.spelled.clone())
    }

    /// The numbers of names, in their order, which keys tell apart as well as their texts do. A name is spelled once,
    /// however often it comes.
    pub(super) fn numbers_by_key<'r, K: Eq + Hash, O>(
        &mut self,
        connection: &mut dyn Connection,
        table: &Table,
        wanted: impl Iterator<Item = (K, O)>,
        name: impl Fn(O) -> Name<'r>,
    ) -> Result<Vec<i64>, Failure> {
        let mut places: HashMap<K, usize, QuickHash> = HashMap::default();
        let mut distinct = Vec::new();
        let wanted = wanted.map(|(key, of)| {
            *places.entry(key).or_insert_with(|| {
                distinct.push(of);
                distinct.len() - 1
            })
        });
        let wanted: Vec<usize> = wanted.collect();
        let numbers = self.numbers(connection, table, distinct.into_iter().map(name))?;
        Ok(wanted.into_iter().map(|place| numbers[place]).collect())
    }

    /// The numbers of `wanted`, in their order. Those that are new are written; so what is known holds only
    /// once the transaction is committed.
    fn numbers<'r>(
        &mut self,
        connection: &mut dyn Connection,
        table: &Table,
        wanted: impl Iterator<Item = Name<'r>>,
    ) -> Result<Vec<i64>, Failure> {
        let known = self.known.entry(table.name).or_default();
        if known.len() > MOST {
            known.clear();
        }
        let mut missing: BTreeMap<String, Name<'r>> = BTreeMap::new();
        let text = &mut self.spelled;
        let numbers = wanted.map(|name| {
            spell(&name, text);
            known.get(text.as_str()).copied().ok_or_else(|| {
                if !missing.contains_key(text.as_str()) {
                    missing.insert(text.clone(), name);
                }
                text.clone()
            })
        });
        let numbers: Vec<Result<i64, String>> = numbers.collect();
        if !missing.is_empty() {
            // In one order, for nodes that share a database.
            connection.insert(&table.insert(), missing.values().cloned().collect())?;
            let select = table.select();
            let missing: Vec<_> = missing.into_iter().collect();
            for some in missing.chunks(ASKED) {
                let asked = some.iter();
                let asked = asked.map(|(_, name)| (select.as_str().into(), name.clone()));
                let answers = connection.ask(asked.collect())?;
                for ((text, _), rows) in some.iter().zip(answers) {
                    known.insert(text.clone(), only(rows)?);
                }
            }
        }
        let numbers = numbers.into_iter();
        numbers
            .map(|number| number.map_or_else(|text| known.get(&text).copied(), Some))
            .collect::<Option<_>>()
            .ok_or_else(|| Failure::Value("a name without a number".to_owned()))
    }
}

fn only(rows: Vec<Row>) -> Result<i64, Failure> {
    match rows.into_iter().next() {
        Some(mut row) => row.integer(),
        None => Err(Failure::Value("a name that was not written".to_owned())),
    }
}
