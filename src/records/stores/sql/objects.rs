//! Objects that are kept for callers, as rows.

use super::row::limit;
use super::value::{Row, Value};
use super::{Connection, Failure, rows, skip_locked, transaction};
use crate::base::clock;
use crate::records::objects::{
    Claimant, Inserted, Kind, Known, MOST_OBJECTS, Object, Objects, State, Wanted,
};

/// Rows that one purge deletes.
const BATCH: u64 = 200;

/// Ids that one statement looks for.
const IDS: usize = 100;

/// The columns for [`read`].
const SELECTED: &str = "id, owner, provider, model, node, made, ends, state, detail";

const ONE: &str = "kind = $1 AND owner = $2 AND id = $3";

/// Open ones that a claimant can work on now.
const DUE: &str = "state = $1 AND kind = $2 \
    AND ((due <= $3 AND node = '') OR (node = $4 AND (due <= $5 OR holder <> $6)))";

impl Objects for dyn Connection + '_ {
    fn insert_object(&mut self, object: &Object) -> Result<Inserted, Failure> {
        // Responses that have ended take no room of those that are followed.
        let counted = match object.kind {
            Kind::Response => " AND state = 'open'",
            Kind::File | Kind::Batch | Kind::Item => "",
        };
        // One that runs twice finds what it wrote itself.
        let has_room = format!(
            "WHERE (SELECT COUNT(*) FROM objects WHERE kind = $1 AND owner = $2{counted} \
             AND (ends IS NULL OR ends > $11)) < {MOST_OBJECTS} \
             OR EXISTS (SELECT 1 FROM objects WHERE {ONE})"
        );
        let mut values = row(object);
        values.push(clock::unix_ms().into());
        Ok(match self.change(&insert(&has_room), values)? {
            0 => Inserted::Full,
            _ => Inserted::Done,
        })
    }

    fn insert_objects(&mut self, objects: &[Object]) -> Result<(), Failure> {
        let rows = objects.iter().map(row).collect();
        // WHERE, because SQLite can't tell ON CONFLICT behind SELECT from a join without it.
        let sql = insert("WHERE 1 = 1");
        transaction(self, |connection| super::execute(connection, &sql, rows))
    }

    fn trim_objects(&mut self, kind: Kind, owner: &str) -> Result<(), Failure> {
        let ended = "kind = $1 AND owner = $2 AND state = $3";
        let sql = format!(
            "DELETE FROM objects WHERE {ended} AND (made, id) < (SELECT made, id FROM objects \
             WHERE {ended} ORDER BY made DESC, id DESC LIMIT 1 OFFSET {})",
            MOST_OBJECTS - 1
        );
        let values = vec![
            kind.as_str().into(),
            Value::wanted(owner, limit::CALLER),
            State::Ended.as_str().into(),
        ];
        self.change(&sql, values).map(drop)
    }

    fn find_object(
        &mut self,
        kind: Kind,
        owner: &str,
        id: &str,
    ) -> Result<Option<Object>, Failure> {
        find(self, kind, owner, id, "")
    }

    fn is_anothers(&mut self, kind: Kind, owner: &str, id: &str) -> Result<bool, Failure> {
        let sql = "SELECT owner FROM objects WHERE kind = $1 AND id = $2 LIMIT 100";
        let owners = rows(self, sql, vec![kind.as_str().into(), id.into()], Row::text)?;
        Ok(!owners.is_empty() && owners.iter().all(|one| one != owner))
    }

    fn known_objects(
        &mut self,
        kind: Kind,
        owner: &str,
        ids: &[String],
    ) -> Result<Vec<Known>, Failure> {
        let mut known = Vec::new();
        for group in ids.chunks(IDS) {
            let places: Vec<_> = (3..group.len() + 3).map(|nth| format!("${nth}")).collect();
            let sql = format!(
                "SELECT id, provider, CAST(MAX(CASE WHEN owner = $1 THEN 1 ELSE 0 END) AS BIGINT) \
                 FROM objects WHERE kind = $2 AND id IN ({}) GROUP BY id, provider",
                places.join(", ")
            );
            let mut values = vec![Value::wanted(owner, limit::CALLER), kind.as_str().into()];
            values.extend(group.iter().map(|id| Value::from(id.as_str())));
            let read = |row: &mut Row| {
                Ok(Known {
                    id: row.text()?,
                    provider: row.text()?,
                    is_own: row.integer()? == 1,
                })
            };
            known.extend(rows(self, &sql, values, read)?);
        }
        Ok(known)
    }

    fn list_objects(
        &mut self,
        owner: &str,
        wanted: &Wanted,
        now: i64,
    ) -> Result<Vec<Object>, Failure> {
        let Wanted {
            kind,
            prefix,
            after,
            limit,
        } = wanted;
        let mut values = key(*kind, owner, after.as_deref().unwrap_or_default());
        values.extend([now.into(), (*prefix).into()]);
        let behind = match after {
            None => "",
            Some(_) => {
                " AND (made, id) < (SELECT made, id FROM objects \
                 WHERE kind = $1 AND owner = $2 AND id = $3)"
            }
        };
        let sql = format!(
            "SELECT {SELECTED} FROM objects WHERE kind = $1 AND owner = $2 AND id <> $3{behind} \
             AND (ends IS NULL OR ends > $4) AND substr(id, 1, {}) = $5 \
             ORDER BY made DESC, id DESC LIMIT {limit}",
            prefix.len()
        );
        rows(self, &sql, values, |row| read(*kind, row))
    }

    fn update_object(&mut self, before: &Object, after: &Object) -> Result<bool, Failure> {
        transaction(self, |connection| {
            let lock = connection.lock();
            let stored = find(connection, before.kind, &before.owner, &before.id, lock)?;
            let Some(stored) = stored else {
                return Ok(false);
            };
            // A write that runs twice finds what it wrote itself.
            if is_same(&stored, after) {
                return Ok(true);
            }
            if !is_same(&stored, before) {
                return Ok(false);
            }
            let sql = "UPDATE objects SET state = $1, detail = $2, ends = $3 \
                WHERE kind = $4 AND owner = $5 AND id = $6";
            let mut values = vec![
                after.state.as_str().into(),
                Value::Bytes(after.detail.as_slice().into()),
                after.ends.into(),
            ];
            values.extend(key(before.kind, &before.owner, &before.id));
            connection.change(sql, values)?;
            Ok(true)
        })
    }

    fn remove_object(&mut self, kind: Kind, owner: &str, id: &str) -> Result<bool, Failure> {
        let sql = format!("DELETE FROM objects WHERE {ONE}");
        Ok(self.change(&sql, key(kind, owner, id))? > 0)
    }

    fn due_owners(
        &mut self,
        kind: Kind,
        claimant: &Claimant,
        most: usize,
    ) -> Result<Vec<String>, Failure> {
        let values = due(kind, claimant, self.now()?);
        let sql = format!("SELECT DISTINCT owner FROM objects WHERE {DUE} LIMIT {most}");
        rows(self, &sql, values, Row::text)
    }

    fn claim_objects(
        &mut self,
        kind: Kind,
        owner: Option<&str>,
        claimant: &Claimant,
        lease: i64,
        most: usize,
    ) -> Result<Vec<Object>, Failure> {
        let now = self.now()?;
        let until = now.saturating_add(lease);
        transaction(self, |connection| {
            let mut values = due(kind, claimant, now);
            let of_one = owner.map_or("", |owner| {
                values.push(Value::wanted(owner, limit::CALLER));
                " AND owner = $7"
            });
            let sql = format!(
                "SELECT {SELECTED} FROM objects WHERE {DUE}{of_one} \
                 ORDER BY due, made, owner, id LIMIT {most}{}",
                skip_locked(connection)
            );
            let due = rows(connection, &sql, values, |row| read(kind, row))?;
            let sql = "UPDATE objects SET holder = $1, due = $2 \
                WHERE kind = $3 AND owner = $4 AND id = $5";
            let taken = due.iter().map(|object| {
                let mut values = vec![Value::text(&claimant.process), until.into()];
                values.extend(key(kind, &object.owner, &object.id));
                values
            });
            super::execute(connection, sql, taken.collect())?;
            Ok(due)
        })
    }

    fn renew_object(
        &mut self,
        object: &Object,
        claimant: &Claimant,
        lease: i64,
    ) -> Result<bool, Failure> {
        let until = self.now()?.saturating_add(lease);
        let sql = "UPDATE objects SET due = $1 WHERE holder = $2 AND kind = $3 AND owner = $4 AND id = $5";
        let mut values = vec![until.into(), Value::text(&claimant.process)];
        values.extend(key(object.kind, &object.owner, &object.id));
        Ok(self.change(sql, values)? > 0)
    }

    fn purge_objects(&mut self, now: i64) -> Result<(u64, bool), Failure> {
        let sql = format!(
            "DELETE FROM objects WHERE (kind, owner, id) IN (SELECT kind, owner, id FROM objects \
             WHERE ends <= $1 ORDER BY ends LIMIT {BATCH})"
        );
        let deleted = self.change(&sql, vec![now.into()])?;
        Ok((deleted, deleted >= BATCH))
    }
}

/// The statement that adds a [`row`] if a condition holds, or replaces the one of the same object.
fn insert(condition: &str) -> String {
    format!(
        "INSERT INTO objects (kind, owner, id, provider, model, node, made, ends, state, detail, \
         holder, due) \
         SELECT $1, $2, $3, $4, $5, $6, $7, CAST($8 AS BIGINT), $9, $10, '', 0 {condition} \
         ON CONFLICT (kind, owner, id) DO UPDATE SET provider = excluded.provider, \
         model = excluded.model, node = excluded.node, made = excluded.made, ends = excluded.ends, \
         state = excluded.state, detail = excluded.detail, holder = '', due = 0"
    )
}

fn row(object: &Object) -> Vec<Value<'_>> {
    let mut values = key(object.kind, &object.owner, &object.id);
    values.extend([
        Value::text(&object.provider),
        Value::text(&object.model),
        Value::text(&object.node),
        object.made.into(),
        object.ends.into(),
        object.state.as_str().into(),
        Value::Bytes(object.detail.as_slice().into()),
    ]);
    values
}

/// What tells an object from others. The owner may come from a row, where a long one ends with a hash.
fn key<'k>(kind: Kind, owner: &'k str, id: &'k str) -> Vec<Value<'k>> {
    vec![
        kind.as_str().into(),
        Value::wanted(owner, limit::CALLER),
        id.into(),
    ]
}

/// The values for [`DUE`].
fn due(kind: Kind, claimant: &Claimant, now: i64) -> Vec<Value<'_>> {
    vec![
        State::Open.as_str().into(),
        kind.as_str().into(),
        now.into(),
        Value::text(&claimant.node),
        now.into(),
        Value::text(&claimant.process),
    ]
}

/// Whether two are the same in what can change.
fn is_same(one: &Object, other: &Object) -> bool {
    one.state == other.state && one.ends == other.ends && one.detail == other.detail
}

fn find(
    connection: &mut dyn Connection,
    kind: Kind,
    owner: &str,
    id: &str,
    lock: &str,
) -> Result<Option<Object>, Failure> {
    let sql = format!("SELECT {SELECTED} FROM objects WHERE {ONE}{lock}");
    let found = rows(connection, &sql, key(kind, owner, id), |row| {
        read(kind, row)
    })?;
    Ok(found.into_iter().next())
}

/// Reads a row of [`SELECTED`].
fn read(kind: Kind, row: &mut Row) -> Result<Object, Failure> {
    Ok(Object {
        kind,
        id: row.text()?,
        owner: row.text()?,
        provider: row.text()?,
        model: row.text()?,
        node: row.text()?,
        made: row.integer()?,
        ends: row.maybe_integer()?,
        state: state(&row.text()?)?,
        detail: row.maybe_bytes()?.unwrap_or_default(),
    })
}

fn state(word: &str) -> Result<State, Failure> {
    let states = [State::Open, State::Ended];
    let found = states.into_iter().find(|state| state.as_str() == word);
    found.ok_or_else(|| Failure::Value(format!("an object's state {word:?}")))
}
