//! Sums over the calls of tools: by tool and UTC day. They are read from the records, of which a
//! month is looked through in a second or less.

use super::query::Filter;
use super::row::{STARTED_AT, limit};
use super::session::SPAN;
use super::value::{Row, Value};
use super::{Connection, Failure, rows};
use crate::records::reports::report::DAY_MS;
use crate::records::{Query, Scope, ToolUse};

/// Rows at most: a model can make up names without end.
const ROWS: i64 = 10_000;

pub(crate) fn used(
    connection: &mut dyn Connection,
    scope: &Scope,
    query: &Query,
) -> Result<Vec<ToolUse>, Failure> {
    let mut filter = Filter::default();
    filter.conditions.extend([
        "callers.n = requests.caller".to_owned(),
        "entry_tools.entry = requests.place".to_owned(),
    ]);
    let mut tables = "requests, callers, entry_tools";
    if query.session.is_some() {
        // Its requests lie between its first and its last.
        tables = "sessions CROSS JOIN callers CROSS JOIN requests CROSS JOIN entry_tools";
        let callers = "callers.caller = sessions.caller".to_owned();
        filter.conditions.extend([callers, SPAN.clone()]);
    }
    let session = query.session.as_deref();
    filter.equal("sessions.session", session, limit::SESSION);
    filter.within("callers.caller", scope);
    filter.equal("callers.login", query.login.as_deref(), limit::LOGIN);
    filter.equal("entry_tools.name", query.tool.as_deref(), limit::TOOL);
    let rest = Query {
        tool: None,
        ..query.clone()
    };
    let others = rest.conditions(&mut filter, "requests.place");
    filter.conditions.extend(others);
    let (conditions, mut values) = filter.into_parts();
    values.push(Value::Integer(ROWS));
    let sql = format!(
        "SELECT entry_tools.name, ({STARTED_AT}) / {DAY_MS}, count(*), \
         sum(CASE WHEN entry_tools.nth = 0 THEN 1 ELSE 0 END) FROM {tables} {conditions} \
         GROUP BY 1, 2 ORDER BY 2, 3 DESC, 1 LIMIT ${}",
        values.len()
    );
    rows(connection, &sql, values, read)
}

fn read(row: &mut Row) -> Result<ToolUse, Failure> {
    let name = row.text()?;
    let day = row.integer()?.saturating_mul(DAY_MS);
    let time = jiff::Timestamp::from_millisecond(day).unwrap_or_default();
    Ok(ToolUse {
        name,
        day: time.to_string().chars().take(10).collect(),
        calls: row.count()?,
        requests: row.count()?,
    })
}
