//! Reading records: requests, newest first, a page at a time, and what belongs to one of them.

use crate::formats::ToolCall;
use crate::records::stores::sql::capture;
use crate::records::stores::sql::row;
use crate::records::stores::sql::row::limit as bytes;
use crate::records::stores::{Connection, Failure, Value, rows};
use crate::records::{Capture, Entry, EntryId, Outcome};

/// Rows in one page at most.
const LIMIT: usize = 1000;

/// Whose records a reader may see. Every query takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everyone's.
    Everyone,
    /// Those of one caller, by their keys: their own, and those of records from before.
    Own(Vec<String>),
}

/// Which requests to read; what is `None` does not filter.
#[derive(Clone, Debug)]
pub struct Query {
    pub login: Option<String>,
    /// A node's stable id.
    pub node: Option<String>,
    pub session: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    pub provider: Option<String>,
    pub agent: Option<String>,
    pub api: Option<String>,
    pub status: Option<u16>,
    pub outcome: Option<Outcome>,
    /// A tool that the answer calls.
    pub tool: Option<String>,
    /// A header's name, in lower case, and its value if that matters too.
    pub header: Option<(String, Option<String>)>,
    /// Started at this time or later, in unix milliseconds.
    pub from: Option<i64>,
    /// Started before this time.
    pub to: Option<i64>,
    /// Only what is older than this request: the last [`Entry::id`] or
    /// [`Session::last_request`](crate::records::Session::last_request) of the page before.
    pub before: Option<String>,
    /// Only what is newer than this request.
    pub after: Option<String>,
    /// The oldest first, for a reader that works through all records by [`after`](Self::after).
    /// Sessions are always read newest first.
    pub oldest_first: bool,
    /// Rows to return, at most 1,000.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Query {
        Query {
            login: None,
            node: None,
            session: None,
            model: None,
            provider: None,
            agent: None,
            api: None,
            status: None,
            outcome: None,
            tool: None,
            header: None,
            from: None,
            to: None,
            before: None,
            after: None,
            oldest_first: false,
            limit: 100,
        }
    }
}

impl Query {
    pub(crate) fn limit(&self) -> Value<'static> {
        Value::Integer(i64::try_from(self.limit.min(LIMIT)).unwrap_or(i64::MAX))
    }

    /// What a request must meet, whose and which session it is aside. `id` is the column that
    /// the database should walk along; with [`Connection::unindexed`] before the name of `table` it
    /// does not walk along any of the others, of which every value may have very many.
    pub(crate) fn conditions<'q>(
        &'q self,
        filter: &mut Filter<'q>,
        id: &str,
        table: &str,
    ) -> Vec<String> {
        let mut all = Vec::new();
        let texts = [
            ("node_id", &self.node, bytes::NODE),
            ("model", &self.model, bytes::MODEL),
            ("provider", &self.provider, bytes::PROVIDER),
            ("agent", &self.agent, bytes::AGENT),
            ("api", &self.api, bytes::API),
        ];
        for (column, wanted, limit) in texts {
            if let Some(wanted) = wanted {
                let place = filter.bind(Value::wanted(wanted, limit));
                all.push(format!("{table}.{column} = {place}"));
            }
        }
        if let Some(status) = self.status {
            let place = filter.bind(i64::from(status).into());
            all.push(format!("{table}.status = {place}"));
        }
        if let Some(outcome) = self.outcome {
            let place = filter.bind(outcome.as_str().into());
            all.push(format!("{table}.outcome = {place}"));
        }
        if let Some(from) = self.from {
            let place = filter.bind(Value::Text(EntryId::floor(from).into()));
            all.push(format!("{id} >= {place}"));
        }
        if let Some(to) = self.to {
            let place = filter.bind(Value::Text(EntryId::floor(to).into()));
            all.push(format!("{id} < {place}"));
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

    /// What a row of `entry_tools` must meet. `nth` makes it one row for an entry.
    pub(crate) fn tool<'q>(&'q self, filter: &mut Filter<'q>) -> Option<String> {
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
pub(crate) struct Filter<'q> {
    conditions: Vec<String>,
    values: Vec<Value<'q>>,
}

impl<'q> Filter<'q> {
    /// The place of a value, such as `$3`.
    pub(crate) fn bind(&mut self, value: Value<'q>) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    pub(crate) fn condition(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    /// Only what `scope` has; a column has the keys of callers.
    pub(crate) fn within(&mut self, column: &str, scope: &'q Scope) {
        if let Scope::Own(keys) = scope {
            let keys = keys.iter().map(|key| Value::key(key, bytes::CALLER));
            let places: Vec<String> = keys.map(|key| self.bind(key)).collect();
            self.condition(match places.as_slice() {
                [only] => format!("{column} = {only}"),
                [] => "1 = 0".to_owned(),
                several => format!("{column} IN ({})", several.join(", ")),
            });
        }
    }

    /// A column is a key, of `limit` bytes at most.
    pub(crate) fn equal(&mut self, column: &str, wanted: Option<&'q str>, limit: usize) {
        if let Some(wanted) = wanted {
            let place = self.bind(Value::wanted(wanted, limit));
            self.condition(format!("{column} = {place}"));
        }
    }

    /// An id is on the side of another that `operator` says.
    pub(crate) fn than(&mut self, column: &str, operator: &str, id: Option<&'q str>) {
        if let Some(id) = id {
            let place = self.bind(Value::text(id));
            self.condition(format!("{column} {operator} {place}"));
        }
    }

    pub(crate) fn into_parts(self) -> (String, Vec<Value<'q>>) {
        if self.conditions.is_empty() {
            return (String::new(), self.values);
        }
        (
            format!("WHERE {}", self.conditions.join(" AND ")),
            self.values,
        )
    }
}

/// A page of requests.
pub(crate) fn requests(
    connection: &mut dyn Connection,
    scope: &Scope,
    query: &Query,
) -> Result<Vec<Entry>, Failure> {
    let mut filter = Filter::default();
    filter.within("entries.caller", scope);
    filter.equal("entries.login", query.login.as_deref(), bytes::LOGIN);
    filter.equal("entries.session", query.session.as_deref(), bytes::SESSION);
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
    let (mut tables, mut id) = ("entries", "entries.id");
    if !is_narrow && query.tool.is_some() {
        (tables, id) = ("entry_tools CROSS JOIN entries", "entry_tools.entry_id");
        if let Some(own) = query.tool(&mut filter) {
            filter.condition(own);
        }
        rest.tool = None;
    } else if !is_narrow && query.header.is_some() {
        (tables, id) = ("entry_headers CROSS JOIN entries", "entry_headers.entry_id");
        if let Some(own) = query.header(&mut filter) {
            filter.condition(own);
        }
        rest.header = None;
    }
    filter.than(id, "<", query.before.as_deref());
    filter.than(id, ">", query.after.as_deref());
    for condition in rest.conditions(&mut filter, id, &others) {
        filter.condition(condition);
    }
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

/// One request, if it is there and within `scope`.
pub(crate) fn request(
    connection: &mut dyn Connection,
    scope: &Scope,
    id: &str,
) -> Result<Option<Entry>, Failure> {
    let (condition, values) = one(scope, id);
    let sql = format!("SELECT {} FROM entries {condition}", *row::SELECTED);
    Ok(rows(connection, &sql, values, row::read)?.pop())
}

/// The calls of tools in its answer, in order.
pub(crate) fn tools(
    connection: &mut dyn Connection,
    scope: &Scope,
    id: &str,
) -> Result<Vec<ToolCall>, Failure> {
    let (condition, values) = one(scope, id);
    let sql = format!(
        "SELECT entry_tools.name, entry_tools.params FROM entry_tools \
         JOIN entries ON entries.id = entry_tools.entry_id {condition} \
         ORDER BY entry_tools.position"
    );
    rows(connection, &sql, values, |row| {
        Ok(ToolCall {
            name: row.text()?,
            params: row.text()?,
        })
    })
}

/// What was said, if it was captured and is kept.
pub(crate) fn capture(
    connection: &mut dyn Connection,
    scope: &Scope,
    id: &str,
) -> Result<Option<Capture>, Failure> {
    let (condition, values) = one(scope, id);
    let sql = format!(
        "SELECT {} FROM captures JOIN entries ON entries.id = captures.entry_id {condition}",
        capture::SELECTED
    );
    Ok(rows(connection, &sql, values, capture::read)?.pop())
}

/// The headers by which it can be filtered.
pub(crate) fn headers(
    connection: &mut dyn Connection,
    scope: &Scope,
    id: &str,
) -> Result<Vec<(String, String)>, Failure> {
    let (condition, values) = one(scope, id);
    let sql = format!(
        "SELECT entry_headers.name, entry_headers.value FROM entry_headers \
         JOIN entries ON entries.id = entry_headers.entry_id {condition} \
         ORDER BY entry_headers.name, entry_headers.value"
    );
    rows(connection, &sql, values, |row| {
        Ok((row.text()?, row.text()?))
    })
}

fn one<'q>(scope: &'q Scope, id: &'q str) -> (String, Vec<Value<'q>>) {
    let mut filter = Filter::default();
    filter.equal("entries.id", Some(id), bytes::ID);
    filter.within("entries.caller", scope);
    filter.into_parts()
}
