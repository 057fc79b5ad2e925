//! Rows inserted by one statement: a column of them is one array, which costs the server a fraction of a
//! statement for each.

use tokio_postgres::Statement;
use tokio_postgres::types::{ToSql, Type};

use crate::records::Failure;
use crate::records::stores::{Rows, Value};

/// The statement for many rows that inserts like `sql`, the statement for one with its types: `INSERT INTO
/// … VALUES ($1, …) …`. `None` for any other statement.
pub(super) fn statement(sql: &str, one: &Statement) -> Option<String> {
    let (begin, rest) = sql.split_once(" VALUES (")?;
    let (values, end) = rest.split_once(')')?;
    // Its places are columns now.
    let values = values.replace('$', "c");
    let count = one.params().len();
    let arrays = one.params().iter().enumerate();
    let arrays = arrays.map(|(nth, kind)| format!("CAST(${} AS {}[])", nth + 1, kind.name()));
    let arrays = arrays.collect::<Vec<_>>().join(", ");
    let columns = (1..=count).map(|nth| format!("c{nth}"));
    let columns = columns.collect::<Vec<_>>().join(", ");
    Some(format!(
        "{begin} SELECT {values} FROM UNNEST({arrays}) AS many ({columns}){end}"
    ))
}

/// A column of rows, as it is bound.
pub(super) type Column<'v> = Box<dyn ToSql + Sync + 'v>;

/// The columns of rows.
pub(super) fn columns<'v>(rows: &'v Rows<'v>, kinds: &[Type]) -> Result<Vec<Column<'v>>, Failure> {
    let columns = kinds.iter().enumerate();
    columns
        .map(|(nth, kind)| {
            let values = rows.iter().map(|row| row.get(nth).unwrap_or(&Value::Null));
            column(values, kind)
        })
        .collect()
}

fn column<'v>(
    values: impl Iterator<Item = &'v Value<'v>>,
    kind: &Type,
) -> Result<Column<'v>, Failure> {
    fn all<'v, T: ToSql + Sync + 'v>(
        values: impl Iterator<Item = &'v Value<'v>>,
        kind: &Type,
        one: impl Fn(&'v Value<'v>) -> Option<T>,
    ) -> Result<Column<'v>, Failure> {
        let values = values.map(|value| match (value, one(value)) {
            (Value::Null, _) => Ok(None),
            (_, Some(value)) => Ok(Some(value)),
            _ => {
                let what = format!("a value of another type where {kind} is bound");
                Err(Failure::Value(what))
            }
        });
        let values: Vec<Option<T>> = values.collect::<Result<_, _>>()?;
        Ok(Box::new(values))
    }
    match *kind {
        Type::INT8 => all(values, kind, |value| match value {
            Value::Integer(value) => Some(*value),
            _ => None,
        }),
        Type::FLOAT8 => all(values, kind, |value| match value {
            Value::Real(value) => Some(*value),
            _ => None,
        }),
        Type::TEXT => all(values, kind, |value| match value {
            Value::Text(text) => Some(&**text),
            _ => None,
        }),
        Type::BYTEA => all(values, kind, |value| match value {
            Value::Bytes(bytes) => Some(&**bytes),
            _ => None,
        }),
        _ => Err(Failure::Value(format!("a column of type {kind}"))),
    }
}
