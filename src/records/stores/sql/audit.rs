//! The audit log and the versions of the configuration, as rows.

use super::query::Filter;
use super::row::limit;
use super::value::{Row, Value};
use super::{Connection, Failure, rows, transaction};
use crate::records::archive::audit::AuditLog;
use crate::records::{AuditQuery, Audited, EntryId, Version};

/// How many versions are kept; the oldest are deleted.
const VERSIONS: usize = 500;

impl AuditLog for dyn Connection + '_ {
    fn audit(&mut self, one: &Audited) -> Result<(), Failure> {
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
        self.change(sql, row).map(drop)
    }

    fn audited(&mut self, query: &AuditQuery) -> Result<Vec<Audited>, Failure> {
        let [from, to] = [query.from, query.to].map(|time| time.map(EntryId::floor));
        let mut filter = Filter::default();
        filter.equal("actor", query.actor.as_deref(), limit::LOGIN);
        filter.equal("kind", query.kind.as_deref(), limit::TOOL);
        filter.than("id", ">=", from.as_deref());
        filter.than("id", "<", to.as_deref());
        filter.than("id", "<", query.before.as_deref());
        let (conditions, values) = filter.into_parts();
        let sql = format!(
            "SELECT id, at, actor, node, kind, subject, detail, count, caller FROM audit \
             {conditions} ORDER BY id DESC LIMIT {}",
            query.limit
        );
        rows(self, &sql, values, |row| {
            Ok(Audited {
                id: EntryId(row.text()?.into()),
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

    fn add_version(&mut self, version: &Version) -> Result<bool, Failure> {
        transaction(self, |connection| {
            let newest = "SELECT id, hash FROM config_versions ORDER BY id DESC LIMIT 1";
            let newest = rows(connection, newest, Vec::new(), |row| {
                Ok((row.text()?, row.text()?))
            })?;
            let newest = newest.first();
            if newest.is_some_and(|(_, hash)| *hash == version.hash) {
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
                newest.map(|(id, _)| id.as_str()).into(),
                Value::text(&version.text),
            ];
            connection.change(sql, row)?;
            let sql = format!(
                "DELETE FROM config_versions WHERE id <= COALESCE((SELECT id FROM config_versions \
                 ORDER BY id DESC LIMIT 1 OFFSET {VERSIONS}), '')"
            );
            connection.change(&sql, Vec::new())?;
            Ok(true)
        })
    }

    fn versions(&mut self) -> Result<Vec<Version>, Failure> {
        let sql = "SELECT id, at, actor, node, how, hash, parent, '' FROM config_versions \
            ORDER BY id DESC";
        rows(self, sql, Vec::new(), read)
    }

    fn version(&mut self, id: &str) -> Result<Option<Version>, Failure> {
        let sql = "SELECT id, at, actor, node, how, hash, parent, text FROM config_versions \
            WHERE id = $1";
        Ok(rows(self, sql, vec![id.into()], read)?.pop())
    }
}

fn read(row: &mut Row) -> Result<Version, Failure> {
    Ok(Version {
        id: EntryId(row.text()?.into()),
        at: row.integer()?,
        actor: row.text()?,
        node: row.text()?,
        how: row.text()?,
        hash: row.text()?,
        parent: row.maybe_text()?,
        text: row.text()?,
    })
}
