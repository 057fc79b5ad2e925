//! Reading records by filters: the conditions of a statement.

use super::row::limit as bytes;
use super::value::Value;
use crate::records::{EntryId, Query, Scope};

/// Rows in one page at most.
const LIMIT: usize = 1000;

impl Query {
    pub(super) fn limit(&self) -> usize {
        self.limit.min(LIMIT)
    }

    /// The conditions on kinds, as those of a statement that gives their numbers; `None` where there are
    /// none.
    pub(super) fn kinds<'q>(&'q self, filter: &mut Filter<'q>) -> Option<String> {
        let key = |wanted: &'q Option<String>, limit| {
            let wanted = wanted.as_deref();
            wanted.map(|wanted| Value::wanted(wanted, limit))
        };
        let equal = [
            ("model", key(&self.model, bytes::MODEL)),
            ("provider", key(&self.provider, bytes::PROVIDER)),
            ("agent", key(&self.agent, bytes::AGENT)),
            ("api", key(&self.api, bytes::API)),
            ("status", self.status.map(|code| i64::from(code).into())),
            ("outcome", self.outcome.map(|one| one.as_str().into())),
        ];
        let mut all = Vec::new();
        for (column, value) in equal {
            all.extend(value.map(|value| format!("kinds.{column} = {}", filter.bind(value))));
        }
        let all = (!all.is_empty()).then(|| all.join(" AND "));
        all.map(|all| format!("(SELECT kinds.n FROM kinds WHERE {all})"))
    }

    /// What a request must meet, whose and which session it is aside. `place` is the column that
    /// the database should walk along.
    pub(super) fn conditions<'q>(&'q self, filter: &mut Filter<'q>, place: &str) -> Vec<String> {
        let mut all = Vec::new();
        all.extend(
            self.kinds(filter)
                .map(|kinds| format!("requests.kind IN {kinds}")),
        );
        if let Some(node) = self.node.as_deref() {
            let node = filter.bind(Value::wanted(node, bytes::NODE));
            all.push(format!(
                "requests.node IN (SELECT nodes.n FROM nodes WHERE nodes.node_id = {node})"
            ));
        }
        for (operator, time) in [(">=", self.from), ("<", self.to)] {
            let time = time.map(|time| EntryId::place_at(time).into());
            all.extend(time.map(|time| format!("{place} {operator} {}", filter.bind(time))));
        }
        let exists = |table: &str, conditions: &str| {
            format!("EXISTS (SELECT 1 FROM {table} WHERE {conditions})")
        };
        if let Some(conditions) = self.tool(filter) {
            all.push(exists("entry_tools", &conditions));
        }
        for mark in &self.marks {
            let conditions = header(mark, filter);
            all.push(exists("entry_headers", &conditions));
        }
        all
    }

    /// What a row of `entry_tools` must meet. `nth` makes it one row for an entry.
    pub(super) fn tool<'q>(&'q self, filter: &mut Filter<'q>) -> Option<String> {
        let place = filter.bind(Value::wanted(self.tool.as_deref()?, bytes::TOOL));
        Some(format!(
            "entry_tools.entry = requests.place AND entry_tools.name = {place} \
             AND entry_tools.nth = 0"
        ))
    }
}

/// What a row of `entry_headers` must meet. `nth` makes it one row for an entry.
pub(super) fn header<'q>(
    (name, value): &'q (String, Option<String>),
    filter: &mut Filter<'q>,
) -> String {
    let name = filter.bind(Value::wanted(name, bytes::HEADER_NAME));
    let value = match value {
        Some(value) => {
            let place = filter.bind(Value::wanted(value, bytes::HEADER_VALUE));
            format!("entry_headers.value = {place}")
        }
        None => "entry_headers.nth = 0".to_owned(),
    };
    format!("entry_headers.entry = requests.place AND entry_headers.name = {name} AND {value}")
}

/// A WHERE clause being made: conditions that stand in the code, values that are bound.
#[derive(Default)]
pub(super) struct Filter<'q> {
    pub(super) conditions: Vec<String>,
    values: Vec<Value<'q>>,
}

impl<'q> Filter<'q> {
    /// The place of a value, such as `$3`.
    pub(super) fn bind(&mut self, value: Value<'q>) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// Only what `scope` has; a column has the keys of callers.
    pub(super) fn within(&mut self, column: &str, scope: &'q Scope) {
        if let Scope::Own(keys) = scope {
            let keys = keys.iter().map(|key| Value::key(key, bytes::CALLER));
            let places: Vec<String> = keys.map(|key| self.bind(key)).collect();
            self.conditions.push(match places.as_slice() {
                [only] => format!("{column} = {only}"),
                [] => "1 = 0".to_owned(),
                several => format!("{column} IN ({})", several.join(", ")),
            });
        }
    }

    /// A column is a key, of `limit` bytes at most.
    pub(super) fn equal(&mut self, column: &str, wanted: Option<&'q str>, limit: usize) {
        if let Some(wanted) = wanted {
            let place = self.bind(Value::wanted(wanted, limit));
            self.conditions.push(format!("{column} = {place}"));
        }
    }

    /// A column has one of `values`; any, where there are none.
    pub(super) fn any(&mut self, column: &str, values: Vec<Value<'q>>) {
        if values.is_empty() {
            return;
        }
        let places: Vec<_> = values.into_iter().map(|value| self.bind(value)).collect();
        self.conditions
            .push(format!("{column} IN ({})", places.join(", ")));
    }

    /// An id is on the side of another that `operator` says.
    pub(super) fn than(&mut self, column: &str, operator: &str, id: Option<&'q str>) {
        if let Some(id) = id {
            let place = self.bind(Value::text(id));
            self.conditions.push(format!("{column} {operator} {place}"));
        }
    }

    pub(super) fn into_parts(self) -> (String, Vec<Value<'q>>) {
        let conditions = match self.conditions.as_slice() {
            [] => String::new(),
            conditions => format!("WHERE {}", conditions.join(" AND ")),
        };
        (conditions, self.values)
    }
}
