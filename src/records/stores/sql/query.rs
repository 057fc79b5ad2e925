//! Reading records by filters: the conditions of a statement, and pages of requests.

use super::row::{self, limit as bytes};
use super::value::Value;
use super::{Connection, Failure, rows};
use crate::records::{Entry, EntryId, Query, Scope};

/// Rows in one page at most.
const LIMIT: usize = 1000;

impl Query {
    pub(super) fn limit(&self) -> Value<'static> {
        (self.limit.min(LIMIT) as u64).into()
    }

    /// What a request must meet, whose and which session it is aside. `id` is the column that
    /// the database should walk along; with [`Connection::unindexed`] before the name of `table` it
    /// does not walk along any of the others, of which every value may have very many.
    pub(super) fn conditions<'q>(
        &'q self,
        filter: &mut Filter<'q>,
        id: &str,
        table: &str,
    ) -> Vec<String> {
        let key = |wanted: &'q Option<String>, limit| {
            let wanted = wanted.as_deref();
            wanted.map(|wanted| Value::wanted(wanted, limit))
        };
        let equal = [
            ("node_id", key(&self.node, bytes::NODE)),
            ("model", key(&self.model, bytes::MODEL)),
            ("provider", key(&self.provider, bytes::PROVIDER)),
            ("agent", key(&self.agent, bytes::AGENT)),
            ("api", key(&self.api, bytes::API)),
            ("status", self.status.map(|code| i64::from(code).into())),
            ("outcome", self.outcome.map(|one| one.as_str().into())),
        ];
        let mut all = Vec::new();
        for (column, value) in equal {
            all.extend(value.map(|value| format!("{table}.{column} = {}", filter.bind(value))));
        }
        for (operator, time) in [(">=", self.from), ("<", self.to)] {
            let floor = time.map(|time| Value::Text(EntryId::floor(time).into()));
            all.extend(floor.map(|floor| format!("{id} {operator} {}", filter.bind(floor))));
        }
        let exists = |table: &str, conditions: &str| {
            format!("EXISTS (SELECT 1 FROM {table} WHERE {conditions})")
        };
        if let Some(conditions) = self.tool(filter) {
            all.push(exists("entry_tools", &conditions));
        }
        if let Some(conditions) = self.header(filter) {
            all.push(exists("entry_headers", &conditions));
        }
        all
    }

    /// Whose requests, and of which session; `table` has the columns.
    pub(super) fn own<'q>(&'q self, filter: &mut Filter<'q>, scope: &'q Scope, table: &str) {
        filter.within(&format!("{table}.caller"), scope);
        let login = self.login.as_deref();
        filter.equal(&format!("{table}.login"), login, bytes::LOGIN);
        let session = self.session.as_deref();
        filter.equal(&format!("{table}.session"), session, bytes::SESSION);
    }

    /// What a row of `entry_tools` must meet. `nth` makes it one row for an entry.
    pub(super) fn tool<'q>(&'q self, filter: &mut Filter<'q>) -> Option<String> {
        let place = filter.bind(Value::wanted(self.tool.as_deref()?, bytes::TOOL));
        Some(format!(
            "entry_tools.entry_id = entries.id AND entry_tools.name = {place} \
             AND entry_tools.nth = 0"
        ))
    }

    /// What a row of `entry_headers` must meet.
    fn header<'q>(&'q self, filter: &mut Filter<'q>) -> Option<String> {
        let (name, value) = self.header.as_ref()?;
        let name = filter.bind(Value::wanted(name, bytes::HEADER_NAME));
        let value = match value {
            Some(value) => {
                let place = filter.bind(Value::wanted(value, bytes::HEADER_VALUE));
                format!("entry_headers.value = {place}")
            }
            None => "entry_headers.nth = 0".to_owned(),
        };
        Some(format!(
            "entry_headers.entry_id = entries.id AND entry_headers.name = {name} AND {value}"
        ))
    }
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

/// A page of requests.
pub(crate) fn requests(
    connection: &mut dyn Connection,
    scope: &Scope,
    query: &Query,
) -> Result<Vec<Entry>, Failure> {
    let mut filter = Filter::default();
    query.own(&mut filter, scope, "entries");
    // A tool or a header may be rare: the database walks along its index, from entry to entry.
    // One person's entries are few, and it walks along those instead. CROSS JOIN says so to
    // SQLite; PostgreSQL finds out by itself.
    let is_narrow = *scope != Scope::Everyone || query.login.is_some() || query.session.is_some();
    let plus = if is_narrow {
        connection.unindexed()
    } else {
        ""
    };
    let others = format!("{plus}entries");
    let mut rest = query.clone();
    let (tables, id, condition) = if !is_narrow && rest.tool.take().is_some() {
        let tables = "entry_tools CROSS JOIN entries";
        (tables, "entry_tools.entry_id", query.tool(&mut filter))
    } else if !is_narrow && rest.header.take().is_some() {
        let tables = "entry_headers CROSS JOIN entries";
        (tables, "entry_headers.entry_id", query.header(&mut filter))
    } else {
        ("entries", "entries.id", None)
    };
    filter.conditions.extend(condition);
    filter.than(id, "<", query.before.as_deref());
    filter.than(id, ">", query.after.as_deref());
    let others = rest.conditions(&mut filter, id, &others);
    filter.conditions.extend(others);
    let (conditions, mut values) = filter.into_parts();
    values.push(query.limit());
    let order = if query.oldest_first { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT {} FROM {tables} {conditions} ORDER BY {id} {order} LIMIT ${}",
        *row::SELECTED,
        values.len()
    );
    rows(connection, &sql, values, row::read)
}
