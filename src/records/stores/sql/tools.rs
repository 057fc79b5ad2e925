//! Sums over the calls of tools: by tool and UTC day. They are read from the records, of which a
//! month is looked through in a second or less.

use serde::Serialize;

use crate::records::stores::sql::query::{Filter, Query, Scope};
use crate::records::stores::sql::rollup::DAY_MS;
use crate::records::stores::sql::row::limit;
use crate::records::stores::{Connection, Failure, Row, Value, rows};

/// Rows at most: a model can make up names without end.
const ROWS: i64 = 10_000;

/// What one tool was called on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToolUse {
    pub name: String,
    /// A UTC date.
    pub day: String,
    pub calls: u64,
    /// Requests whose answers called it.
    pub requests: u64,
}

/// The calls within `scope`, by day, those of the most used tools of a day first.
pub(crate) fn used(
    connection: &mut dyn Connection,
    scope: &Scope,
    query: &Query,
) -> Result<Vec<ToolUse>, Failure> {
    let mut filter = Filter::default();
    filter.within("entries.caller", scope);
    filter.equal("entries.login", query.login.as_deref(), limit::LOGIN);
    filter.equal("entries.session", query.session.as_deref(), limit::SESSION);
    filter.equal("entry_tools.name", query.tool.as_deref(), limit::TOOL);
    let rest = Query {
        tool: None,
        ..query.clone()
    };
    for condition in rest.conditions(&mut filter, "entries.id", "entries") {
        filter.condition(condition);
    }
    let (conditions, mut values) = filter.into_parts();
    values.push(Value::Integer(ROWS));
    let sql = format!(
        "SELECT entry_tools.name, entries.started_at / {DAY_MS}, count(*), \
         sum(CASE WHEN entry_tools.nth = 0 THEN 1 ELSE 0 END) \
         FROM entries JOIN entry_tools ON entry_tools.entry_id = entries.id {conditions} \
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
        calls: row.integer()?.max(0).cast_unsigned(),
        requests: row.integer()?.max(0).cast_unsigned(),
    })
}
