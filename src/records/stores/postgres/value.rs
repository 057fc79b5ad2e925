//! Values as `PostgreSQL` takes and gives them.

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::records::Failure;
use crate::records::stores::Value;

/// The type that a value is bound as. The server finds out what type a missing one would have.
pub(super) fn kind(value: &Value<'_>) -> Type {
    match value {
        Value::Null => Type::UNKNOWN,
        Value::Integer(_) => Type::INT8,
        Value::Real(_) => Type::FLOAT8,
        Value::Text(_) => Type::TEXT,
        Value::Bytes(_) => Type::BYTEA,
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, kind) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Integer(value), &Type::INT8) => value.to_sql(kind, out),
            (Value::Real(value), &Type::FLOAT8) => value.to_sql(kind, out),
            (Value::Text(text), &Type::TEXT) => text.to_sql(kind, out),
            (Value::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(kind, out),
            _ => Err(format!("a value of another type where {kind} is bound").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

pub(super) fn value(row: &tokio_postgres::Row, nth: usize) -> Result<Value<'static>, Failure> {
    Ok(match *row.columns()[nth].type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(nth)?.into(),
        Type::INT4 => row.try_get::<_, Option<i32>>(nth)?.map(i64::from).into(),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(nth)?.into(),
        Type::TEXT => row
            .try_get::<_, Option<String>>(nth)?
            .map_or(Value::Null, |text| Value::Text(text.into())),
        Type::BYTEA => row
            .try_get::<_, Option<Vec<u8>>>(nth)?
            .map_or(Value::Null, |bytes| Value::Bytes(bytes.into())),
        ref other => return Err(Failure::Value(format!("a column of type {other}"))),
    })
}
