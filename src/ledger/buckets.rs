//! Balances of budgets. What a request takes is written in the transaction of its record, so a
//! balance is always that of the records that there are. On a database that nodes share, what
//! running requests hold is kept here as well, and rows are locked in the order of their names.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::database::{self, Connection, Failure, Row, Value, places, rows};
use super::row::limit;
use crate::bucket::{Account, Chain, Level, Link, Settlement, Short, Terms, admit_all, spend};

const INSERT: &str = "INSERT INTO buckets (bucket, name, template, balance, at, is_earlier) \
    VALUES (?1, ?2, ?3, ?4, ?5, 0) ON CONFLICT (bucket) DO NOTHING";

/// Gives a bucket from before the key that it has now.
const TAKE_OVER: &str = "UPDATE buckets SET bucket = ?1, name = ?2, is_earlier = 0 \
    WHERE bucket = ?3 AND template = ?4 AND is_earlier = 1";

const UPDATE: &str = "UPDATE buckets SET balance = ?2, at = ?3 WHERE bucket = ?1";

const RENAME: &str = "UPDATE buckets SET name = ?2 WHERE bucket = ?1";

/// Buckets that are looked up in one statement.
const BATCH: usize = 500;

/// A bucket as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it is told apart by ([`Link::key`]).
    pub key: String,
    /// What people call it, such as `daily:pat@example.org`.
    pub bucket: String,
    /// Such as `daily:<user>`.
    pub template: String,
    /// What it holds.
    pub level: Level,
    /// What of it is held for requests of all nodes; 0 where a node is alone.
    pub held: i64,
    /// It is from before buckets had keys; its key is its name then.
    pub is_earlier: bool,
}

/// Buckets as they stand, and whether they are held for a request: what of which, or which
/// chains are short.
#[derive(Clone, Debug)]
pub struct Held {
    /// By the keys of buckets, before this request.
    pub accounts: BTreeMap<String, Account>,
    /// What is held now, or why nothing is.
    pub outcome: Result<BTreeMap<String, i64>, Vec<(usize, Short)>>,
}

/// Takes what the requests of a group have cost; within the transaction of the group.
pub(super) fn settle(
    connection: &mut dyn Connection,
    settlements: &[&Settlement],
) -> Result<(), Failure> {
    let holds = settlements
        .iter()
        .filter(|settlement| !settlement.hold.is_empty())
        .map(|settlement| vec![settlement.hold.as_str().into()]);
    let holds: Vec<Vec<Value<'_>>> = holds.collect();
    if !holds.is_empty() {
        connection.execute("DELETE FROM bucket_holds WHERE hold = ?1", holds)?;
    }
    let chains = settlements
        .iter()
        .flat_map(|settlement| settlement.chains.iter().map(|chain| (chain, settlement.at)));
    let chains: Vec<_> = chains.collect();
    let links = chains.iter().flat_map(|(chain, _)| &chain.links);
    let mut levels = lock(connection, links, 0)?;
    for (chain, at) in chains {
        let before: Vec<Level> = chain
            .links
            .iter()
            .map(|link| level(&levels, link, at))
            .collect();
        for (link, after) in chain.links.iter().zip(spend(chain, &before)) {
            levels.insert(key(&link.key).into_owned(), after);
        }
    }
    store(connection, levels)
}

/// Holds the estimates of `chains` under the name `hold` until `until`; all or none.
pub(super) fn hold(
    connection: &mut dyn Connection,
    (hold, until): (&str, i64),
    chains: &[Chain],
    now: i64,
) -> Result<Held, Failure> {
    connection.begin()?;
    let held = try_hold(connection, (hold, until), chains, now).and_then(|held| {
        if held.outcome.is_ok() {
            connection.commit()?;
        }
        Ok(held)
    });
    // Of nothing, if it was committed.
    connection.rollback();
    held
}

fn try_hold(
    connection: &mut dyn Connection,
    (hold, until): (&str, i64),
    chains: &[Chain],
    now: i64,
) -> Result<Held, Failure> {
    let links = || chains.iter().flat_map(|chain| &chain.links);
    let levels = lock(connection, links(), now)?;
    // An answer that got lost may have left it behind.
    release(connection, hold)?;
    let held = held(connection, levels.keys(), now)?;
    let accounts: BTreeMap<String, Account> = links()
        .map(|link| {
            let account = Account {
                level: level(&levels, link, now),
                held: held.get(&*key(&link.key)).copied().unwrap_or_default(),
            };
            (link.key.clone(), account)
        })
        .collect();
    let outcome = admit_all(chains, &mut accounts.clone());
    if let Ok(parts) = &outcome {
        let rows = parts.iter().map(|(bucket, amount)| {
            vec![
                hold.into(),
                Value::text(key(bucket)),
                (*amount).into(),
                until.into(),
            ]
        });
        let sql = "INSERT INTO bucket_holds (hold, bucket, amount, expires_at) \
            VALUES (?1, ?2, ?3, ?4) ON CONFLICT (hold, bucket) DO UPDATE \
            SET amount = bucket_holds.amount + excluded.amount";
        connection.execute(sql, rows.collect())?;
    }
    Ok(Held { accounts, outcome })
}

/// Gives up what is held under a name.
pub(super) fn release(connection: &mut dyn Connection, hold: &str) -> Result<(), Failure> {
    let sql = "DELETE FROM bucket_holds WHERE hold = ?1";
    connection.execute(sql, vec![vec![hold.into()]]).map(drop)
}

/// Puts off when holds expire, and drops those of nodes that are gone.
pub(super) fn renew(
    connection: &mut dyn Connection,
    holds: &[String],
    (now, until): (i64, i64),
) -> Result<(), Failure> {
    let rows = holds
        .iter()
        .map(|hold| vec![hold.as_str().into(), until.into()]);
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        let sql = "UPDATE bucket_holds SET expires_at = ?2 WHERE hold = ?1";
        connection.execute(sql, rows)?;
    }
    let sql = "DELETE FROM bucket_holds WHERE expires_at < ?1";
    connection.execute(sql, vec![vec![now.into()]]).map(drop)
}

/// Adds to a bucket, at most up to its capacity; in a transaction of its own.
pub(super) fn refill(
    connection: &mut dyn Connection,
    link: &Link,
    amount: i64,
    now: i64,
) -> Result<Level, Failure> {
    let added = |connection: &mut dyn Connection| {
        let mut levels = lock(connection, std::iter::once(link), now)?;
        let before = level(&levels, link, now);
        let after = Level {
            balance: before
                .balance
                .saturating_add(amount)
                .min(link.terms.capacity),
            ..before
        };
        levels.insert(key(&link.key).into_owned(), after);
        store(connection, levels)?;
        Ok(after)
    };
    connection.begin()?;
    let done = added(connection).and_then(|after| connection.commit().map(|()| after));
    if done.is_err() {
        connection.rollback();
    }
    done
}

/// Forgets the buckets whose definition is not among `templates`.
pub(super) fn retain(connection: &mut dyn Connection, templates: &[String]) -> Result<(), Failure> {
    let known = if templates.is_empty() {
        String::new()
    } else {
        format!(" WHERE template NOT IN ({})", places(0, templates.len()))
    };
    let sql = format!("DELETE FROM buckets{known}");
    let values = templates.iter().map(Value::text);
    connection.execute(&sql, vec![values.collect()]).map(drop)
}

/// All buckets that were ever used, by name.
pub(super) fn all(connection: &mut dyn Connection, now: i64) -> Result<Vec<Stored>, Failure> {
    let sql = "SELECT buckets.bucket, name, template, balance, at, is_earlier, \
        COALESCE(CAST((SELECT SUM(amount) FROM bucket_holds \
            WHERE bucket_holds.bucket = buckets.bucket AND expires_at >= ?1) AS BIGINT), 0) \
        FROM buckets ORDER BY buckets.bucket";
    rows(connection, sql, vec![now.into()], |row| {
        Ok(Stored {
            key: row.text()?,
            bucket: row.text()?,
            template: row.text()?,
            level: Level {
                balance: row.integer()?,
                at: row.integer()?,
            },
            is_earlier: row.integer()? != 0,
            held: row.integer()?,
        })
    })
}

/// A bucket's key as it is stored.
fn key(bucket: &str) -> Cow<'_, str> {
    database::key(bucket, limit::BUCKET)
}

fn level(levels: &BTreeMap<String, Level>, link: &Link, now: i64) -> Level {
    let terms: &Terms = &link.terms;
    levels
        .get(&*key(&link.key))
        .map_or_else(|| terms.full(now), |level| terms.at(*level, now))
}

/// Locks the rows of buckets until the end of the transaction, and reads them. Those that nobody
/// has used are made first, full: there would be nothing to lock.
fn lock<'a>(
    connection: &mut dyn Connection,
    links: impl Iterator<Item = &'a Link>,
    now: i64,
) -> Result<BTreeMap<String, Level>, Failure> {
    let mut wanted: BTreeMap<Cow<'_, str>, &Link> = BTreeMap::new();
    for link in links {
        wanted.entry(key(&link.key)).or_insert(link);
    }
    let names: Vec<&str> = wanted.keys().map(|name| &**name).collect();
    let mut found = select(connection, &names)?;
    let missing = wanted
        .iter()
        .filter(|(name, _)| !found.contains_key(&***name));
    let missing: Vec<_> = missing.collect();
    // A user who is renamed keeps their bucket, under the name that they have now.
    let renamed = wanted.iter().filter_map(|(key, link)| {
        let (name, _) = found.get(&**key)?;
        let names = [&**key, &*link.bucket].map(Value::text);
        (*name != link.bucket).then(|| names.into())
    });
    let renamed: Vec<_> = renamed.collect();
    if !renamed.is_empty() {
        connection.execute(RENAME, renamed)?;
    }
    let levels = |found: Found| {
        let levels = found.into_iter().map(|(key, (_, level))| (key, level));
        levels.collect()
    };
    if missing.is_empty() {
        return Ok(levels(found));
    }
    let earlier = missing.iter().filter_map(|(name, link)| {
        let names = [
            &**name,
            &*link.bucket,
            link.before.as_deref()?,
            &*link.template,
        ];
        Some(names.map(Value::text).into())
    });
    connection.execute(TAKE_OVER, earlier.collect())?;
    let made = missing.iter().map(|(name, link)| {
        let full = link.terms.full(now);
        vec![
            Value::text(&***name),
            Value::text(&link.bucket),
            Value::text(&link.template),
            full.balance.into(),
            full.at.into(),
        ]
    });
    connection.execute(INSERT, made.collect())?;
    found = select(connection, &names)?;
    Ok(levels(found))
}

/// Buckets by key: what people call them, and what they hold.
type Found = BTreeMap<String, (String, Level)>;

fn select(connection: &mut dyn Connection, names: &[&str]) -> Result<Found, Failure> {
    let mut found = BTreeMap::new();
    for some in names.chunks(BATCH) {
        let sql = format!(
            "SELECT bucket, name, balance, at FROM buckets WHERE bucket IN ({}) ORDER BY bucket{}",
            places(0, some.len()),
            connection.lock()
        );
        let values = some.iter().map(|name| Value::text(*name)).collect();
        found.extend(rows(connection, &sql, values, |row| {
            let (key, name) = (row.text()?, row.text()?);
            let (balance, at) = (row.integer()?, row.integer()?);
            Ok((key, (name, Level { balance, at })))
        })?);
    }
    Ok(found)
}

fn held<'a>(
    connection: &mut dyn Connection,
    buckets: impl Iterator<Item = &'a String>,
    now: i64,
) -> Result<BTreeMap<String, i64>, Failure> {
    let buckets: Vec<Value<'_>> = buckets.map(Value::text).collect();
    if buckets.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT bucket, CAST(SUM(amount) AS BIGINT) FROM bucket_holds \
         WHERE expires_at >= ?1 AND bucket IN ({}) GROUP BY bucket",
        places(1, buckets.len())
    );
    let mut values = vec![Value::from(now)];
    values.extend(buckets);
    let read = |row: &mut Row| Ok((row.text()?, row.integer()?));
    Ok(rows(connection, &sql, values, read)?.into_iter().collect())
}

fn store(connection: &mut dyn Connection, levels: BTreeMap<String, Level>) -> Result<(), Failure> {
    let rows = levels
        .into_iter()
        .map(|(name, level)| vec![Value::text(name), level.balance.into(), level.at.into()]);
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        connection.execute(UPDATE, rows)?;
    }
    Ok(())
}
