//! The audit log, and the versions of the configuration.

use serde::Serialize;
use serde_json::Value as Json;

use crate::records::EntryId;
use crate::records::stores::sql::row::limit;
use crate::records::stores::{Connection, Failure, Row, Value, key, rows};

/// Versions that are kept; beyond it the oldest go.
const VERSIONS: usize = 500;

/// Something that was done, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audited {
    /// Its own name.
    pub id: EntryId,
    /// Unix milliseconds, the same as in the id.
    pub at: i64,
    /// Login or tags; empty for the gateway itself.
    pub actor: String,
    /// The node that it was done from.
    pub node: String,
    /// What was done, such as `config_saved`.
    pub kind: String,
    /// What it was done to.
    pub subject: String,
    /// More on it.
    pub detail: Json,
    /// How often, where it was done again and again.
    pub count: i64,
    /// What the actor is told apart by from others of the same login. Empty for the gateway itself and
    /// in rows from before it was kept.
    pub caller: String,
}

/// Which rows of the audit log are asked for.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only this actor's.
    pub actor: Option<String>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only from then on, in Unix milliseconds.
    pub from: Option<i64>,
    /// Only before then.
    pub to: Option<i64>,
    /// Only those before this one.
    pub before: Option<String>,
    /// Rows at most.
    pub limit: usize,
}

/// A version of the configuration that was in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Its own name.
    pub id: EntryId,
    /// Unix milliseconds.
    pub at: i64,
    /// Who made it; empty where it was found in the file.
    pub actor: String,
    /// From which node.
    pub node: String,
    /// `saved`, `rolled_back` or `file`.
    pub how: String,
    /// Of the whole text, secrets included.
    pub hash: String,
    /// The version before.
    pub parent: Option<String>,
    /// Without its secrets; left out of lists.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
}

pub(crate) fn add(connection: &mut dyn Connection, one: &Audited) -> Result<(), Failure> {
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

pub(crate) fn page(
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

/// Adds a version, unless the newest has the same hash; its parent is the newest. Answers with
/// whether it was new.
pub(crate) fn add_version(
    connection: &mut dyn Connection,
    version: &Version,
) -> Result<bool, Failure> {
    connection.begin()?;
    let added =
        try_add_version(connection, version).and_then(|added| connection.commit().map(|()| added));
    if added.is_err() {
        connection.rollback();
    }
    added
}

fn try_add_version(connection: &mut dyn Connection, version: &Version) -> Result<bool, Failure> {
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

/// The versions, newest first, without their texts.
pub(crate) fn versions(connection: &mut dyn Connection) -> Result<Vec<Version>, Failure> {
    let sql = "SELECT id, at, actor, node, how, hash, parent, '' FROM config_versions \
        ORDER BY id DESC";
    rows(connection, sql, Vec::new(), read)
}

pub(crate) fn version(
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
