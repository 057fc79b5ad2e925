//! The audit log and the versions of the configuration, as rows.

use super::row::limit;
use super::value::{Row, Value, key};
use super::{Connection, Failure, rows};
use crate::records::{AuditQuery, Audited, EntryId, Version};

/// Versions that are kept; beyond it the oldest go.
const VERSIONS: usize = 500;

pub(super) fn add(connection: &mut dyn Connection, one: &Audited) -> Result<(), Failure> {
    let sql = "INSERT INTO audit (id, at, actor, node, kind, subject, detail, count, caller) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING";
    let row = vec![
        one.id.as_str().into(),
        one.at.into(),
        Value::key(&one.actor, limit::LOGIN),
        Value::key(&one.node, limit::NODE),
        Value::key(&one.kind, limit::TOOL),
        Value::text(&one.subject),
        Value::json(&one.detail),
        one.count.into(),
        Value::key(&one.caller, limit::LOGIN),
    ];
    connection.execute(sql, vec![row]).map(drop)
}

pub(super) fn page(
    connection: &mut dyn Connection,
    query: &AuditQuery,
) -> Result<Vec<Audited>, Failure> {
    let mut sql =
        "SELECT id, at, actor, node, kind, subject, detail, count, caller FROM audit".to_owned();
    let mut values = Vec::new();
    let floor = |time: Option<i64>| time.map(EntryId::floor);
    let conditions = [
        (
            "actor =",
            query.actor.clone().map(|actor| shown(actor, limit::LOGIN)),
        ),
        (
            "kind =",
            query.kind.clone().map(|kind| shown(kind, limit::TOOL)),
        ),
        ("id >=", floor(query.from)),
        ("id <", floor(query.to)),
        ("id <", query.before.clone()),
    ];
    for (condition, value) in conditions {
        let Some(value) = value else { continue };
        values.push(Value::text(value));
        sql.push_str(if values.len() == 1 {
            " WHERE "
        } else {
            " AND "
        });
        sql.push_str(condition);
        sql.push_str(" $");
        sql.push_str(&values.len().to_string());
    }
    sql.push_str(" ORDER BY id DESC LIMIT ");
    sql.push_str(&query.limit.to_string());
    rows(connection, &sql, values, |row| {
        Ok(Audited {
            id: EntryId(row.text()?),
            at: row.integer()?,
            actor: row.text()?,
            node: row.text()?,
            kind: row.text()?,
            subject: row.text()?,
            detail: row.json()?,
            count: row.integer()?,
            caller: row.text()?,
        })
    })
}

/// A text as it is stored, or as it was shown.
fn shown(text: String, limit: usize) -> String {
    if text.len() <= limit {
        return text;
    }
    key(&text, limit).into_owned()
}

pub(super) fn add_version(
    connection: &mut dyn Connection,
    version: &Version,
) -> Result<bool, Failure> {
    let newest = "SELECT id, hash FROM config_versions ORDER BY id DESC LIMIT 1";
    let newest = rows(connection, newest, Vec::new(), |row| {
        Ok((row.text()?, row.text()?))
    })?
    .pop();
    if newest
        .as_ref()
        .is_some_and(|(_, hash)| *hash == version.hash)
    {
        return Ok(false);
    }
    let sql = "INSERT INTO config_versions (id, at, actor, node, how, hash, parent, text) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING";
    let row = vec![
        version.id.as_str().into(),
        version.at.into(),
        Value::key(&version.actor, limit::LOGIN),
        Value::key(&version.node, limit::NODE),
        version.how.as_str().into(),
        version.hash.as_str().into(),
        newest.as_ref().map(|(id, _)| id.as_str()).into(),
        Value::text(&version.text),
    ];
    connection.execute(sql, vec![row])?;
    let sql = format!(
        "DELETE FROM config_versions WHERE id <= COALESCE((SELECT id FROM config_versions \
         ORDER BY id DESC LIMIT 1 OFFSET {VERSIONS}), '')"
    );
    connection.execute(&sql, vec![Vec::new()])?;
    Ok(true)
}

pub(super) fn versions(connection: &mut dyn Connection) -> Result<Vec<Version>, Failure> {
    let sql = "SELECT id, at, actor, node, how, hash, parent, '' FROM config_versions \
        ORDER BY id DESC";
    rows(connection, sql, Vec::new(), read)
}

pub(super) fn version(
    connection: &mut dyn Connection,
    id: &str,
) -> Result<Option<Version>, Failure> {
    let sql = "SELECT id, at, actor, node, how, hash, parent, text FROM config_versions \
        WHERE id = $1";
    Ok(rows(connection, sql, vec![id.into()], read)?.pop())
}

fn read(row: &mut Row) -> Result<Version, Failure> {
    Ok(Version {
        id: EntryId(row.text()?),
        at: row.integer()?,
        actor: row.text()?,
        node: row.text()?,
        how: row.text()?,
        hash: row.text()?,
        parent: row.maybe_text()?,
        text: row.text()?,
    })
}
