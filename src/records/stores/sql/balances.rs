//! Balances of budgets, as rows. What a request takes is written in the transaction of its record, so a
//! balance is always that of the records that there are. On a database that nodes share, what
//! running requests hold is kept here as well, and rows are locked in the order of their names.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::row::limit;
use super::value::{self, Row, Rows, Value};
use super::{Connection, Failure, Question, committing, places, rows};
use crate::base::bucket::{Account, ByKey, Level, Link, Settlement, Terms, admit_all, spend};
use crate::base::clock;
use crate::records::balances::{Admission, Balances, StoredBucket, Wanted};

const INSERT: &str = "INSERT INTO buckets (bucket, name, template, balance, at, is_earlier) \
    VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT (bucket) DO NOTHING";

/// Gives a bucket from before the key that it has now.
const TAKE_OVER: &str = "UPDATE buckets SET bucket = $1, name = $2, is_earlier = 0 \
    WHERE bucket = $3 AND template = $4 AND is_earlier = 1";

const UPDATE: &str = "UPDATE buckets SET balance = $1, at = $2 WHERE bucket = $3";

const RENAME: &str = "UPDATE buckets SET name = $1 WHERE bucket = $2";

/// Buckets that are looked up in one statement.
const BATCH: usize = 500;

impl Balances for dyn Connection + '_ {
    fn hold(&mut self, wanted: &[Wanted], released: &[String]) -> Result<Vec<Admission>, Failure> {
        committing(self, |connection| hold(connection, wanted, released))
    }

    fn renew(&mut self, holds: &[String], lease: i64) -> Result<(), Failure> {
        let now = self.now()?;
        let until = now.saturating_add(lease);
        let rows = holds
            .iter()
            .map(|hold| [until.into(), hold.as_str().into()]);
        let rows: Rows<'_> = rows.collect();
        if !rows.is_empty() {
            let sql = "UPDATE bucket_holds SET expires_at = $1 WHERE hold = $2";
            self.execute(sql, rows)?;
        }
        let sql = "DELETE FROM bucket_holds WHERE expires_at < $1";
        self.execute(sql, Rows::one([now.into()])).map(drop)
    }

    fn refill(&mut self, link: &Link, amount: i64) -> Result<Level, Failure> {
        committing(self, |connection| {
            let mut locked = lock(connection, std::iter::once(link), |_| Vec::new())?;
            let before = level(&locked.levels, link, locked.now);
            let balance = before.balance.saturating_add(amount);
            let after = Level {
                balance: balance.min(link.terms.capacity),
                ..before
            };
            locked.levels.insert(key(&link.key).into_owned(), after);
            store(connection, locked.levels)?;
            Ok(after)
        })
    }

    fn retain_buckets(&mut self, templates: &[String]) -> Result<(), Failure> {
        let known = if templates.is_empty() {
            String::new()
        } else {
            format!(" WHERE template NOT IN ({})", places(0, templates.len()))
        };
        let sql = format!("DELETE FROM buckets{known}");
        let values = templates.iter().map(Value::text);
        self.execute(&sql, Rows::one(values)).map(drop)
    }

    fn buckets(&mut self) -> Result<(Vec<StoredBucket>, i64), Failure> {
        let now = self.now()?;
        let sql = "SELECT buckets.bucket, name, template, balance, at, is_earlier, \
            COALESCE(CAST((SELECT SUM(amount) FROM bucket_holds \
                WHERE bucket_holds.bucket = buckets.bucket AND expires_at >= $1) AS BIGINT), 0) \
            FROM buckets ORDER BY buckets.bucket";
        let stored = rows(self, sql, vec![now.into()], |row| {
            Ok(StoredBucket {
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
        })?;
        Ok((stored, now))
    }
}

/// Takes what the requests of a group have cost: what their buckets hold then, to be stored by
/// [`store`]. Other nodes wait for these rows, which are locked.
pub(super) fn settle(
    connection: &mut dyn Connection,
    settlements: &[&Settlement],
) -> Result<BTreeMap<String, Level>, Failure> {
    let holds = settlements.iter().map(|one| one.hold.as_str());
    let holds: Vec<&str> = holds.filter(|hold| !hold.is_empty()).collect();
    let here = clock::unix_ms();
    let links = settlements.iter().flat_map(|one| &one.chains);
    let links = links.flat_map(|chain| chain.links.iter());
    let locked = lock(connection, links, |_| releases(&holds))?;
    let (mut levels, there) = (locked.levels, locked.now);
    for settlement in settlements {
        // As long ago by the clock of all as by the one of this machine.
        let ago = here.saturating_sub(settlement.at).max(0);
        let at = there.saturating_sub(ago);
        for chain in &settlement.chains {
            let before = chain.links.iter().map(|link| level(&levels, link, at));
            let before: Vec<Level> = before.collect();
            for (link, after) in chain.links.iter().zip(spend(chain, &before)) {
                levels.insert(key(&link.key).into_owned(), after);
            }
        }
    }
    Ok(levels)
}

/// Holds what is wanted and commits.
fn hold(
    connection: &mut dyn Connection,
    wanted: &[Wanted],
    released: &[String],
) -> Result<Vec<Admission>, Failure> {
    // An answer that got lost may have left one of this name behind.
    let holds = wanted.iter().filter_map(|one| one.hold.as_ref());
    let names = holds.map(|hold| &hold.name).chain(released);
    let names: Vec<&str> = names.map(String::as_str).collect();
    let chains = wanted.iter().flat_map(|one| &one.chains);
    let links = chains.flat_map(|chain| chain.links.iter());
    let clock = connection.clock();
    let locked = lock(connection, links, |buckets| {
        let mut besides = releases(&names);
        besides.extend(held(buckets, clock));
        besides
    })?;
    let (levels, now) = (locked.levels, locked.now);
    let sums = locked.rows.into_iter();
    let sums = sums.map(|mut row| Ok((row.text()?, row.integer()?)));
    let mut sums: BTreeMap<String, i64> = sums.collect::<Result<_, Failure>>()?;
    let (mut all, mut rows) = (Vec::new(), Rows::default());
    for one in wanted {
        let links = one.chains.iter().flat_map(|chain| chain.links.iter());
        let accounts: ByKey<Account> = links
            .map(|link| {
                let account = Account {
                    level: level(&levels, link, now),
                    held: sums.get(&*key(&link.key)).copied().unwrap_or_default(),
                };
                (link.key.clone(), account)
            })
            .collect();
        let outcome = admit_all(&one.chains, &accounts);
        if let Some(hold) = &one.hold {
            let until = now.saturating_add(hold.lease);
            for (bucket, amount) in outcome.iter().flat_map(ByKey::iter) {
                let bucket = key(bucket);
                let sum = sums.entry(bucket.clone().into_owned()).or_default();
                *sum = sum.saturating_add(*amount);
                rows.push([
                    hold.name.as_str().into(),
                    Value::text(bucket.into_owned()),
                    (*amount).into(),
                    until.into(),
                ]);
            }
        }
        all.push(Admission { accounts, outcome });
    }
    if rows.is_empty() {
        connection.commit()?;
    } else {
        let sql = "INSERT INTO bucket_holds (hold, bucket, amount, expires_at) \
            VALUES ($1, $2, $3, $4) ON CONFLICT (hold, bucket) DO UPDATE \
            SET amount = bucket_holds.amount + excluded.amount";
        connection.execute_and_commit(sql, rows)?;
    }
    Ok(all)
}

/// What gives up the holds of these names.
fn releases(holds: &[&str]) -> Vec<Question<'static>> {
    let some = holds.chunks(BATCH).map(|some| {
        let sql = format!(
            "DELETE FROM bucket_holds WHERE hold IN ({})",
            places(0, some.len())
        );
        let values = some.iter().map(|hold| Value::text(*hold).into_owned());
        (sql.into(), values.collect())
    });
    some.collect()
}

/// What asks how much of these buckets is held, by an SQL expression for the time.
fn held(buckets: &[&str], clock: Option<&str>) -> Vec<Question<'static>> {
    let now = clock.map_or_else(
        || clock::unix_ms().to_string(),
        |clock| format!("(SELECT {clock})"),
    );
    let some = buckets.chunks(BATCH).map(|some| {
        let sql = format!(
            "SELECT bucket, CAST(SUM(amount) AS BIGINT) FROM bucket_holds \
             WHERE expires_at >= {now} AND bucket IN ({}) GROUP BY bucket",
            places(0, some.len())
        );
        let values = some.iter().map(|bucket| Value::text(*bucket).into_owned());
        (sql.into(), values.collect())
    });
    some.collect()
}

/// A bucket's key as it is stored.
fn key(bucket: &str) -> Cow<'_, str> {
    value::key(bucket, limit::BUCKET)
}

fn level(levels: &BTreeMap<String, Level>, link: &Link, now: i64) -> Level {
    let terms: &Terms = &link.terms;
    levels
        .get(&*key(&link.key))
        .map_or_else(|| terms.full(now), |level| terms.at(*level, now))
}

/// Buckets whose rows are locked until the end of the transaction.
struct Locked {
    /// By key.
    levels: BTreeMap<String, Level>,
    /// The time by the clock of all, after the rows were locked.
    now: i64,
    /// What was asked besides.
    rows: Vec<Row>,
}

/// Locks the rows of buckets until the end of the transaction, and reads them; and asks the
/// questions of `besides`, which gets their keys. Rows of buckets that nobody has used are made
/// first, full: there would be nothing to lock.
fn lock<'a>(
    connection: &mut dyn Connection,
    links: impl Iterator<Item = &'a Link>,
    besides: impl Fn(&[&str]) -> Vec<Question<'static>>,
) -> Result<Locked, Failure> {
    let mut wanted: BTreeMap<Cow<'_, str>, &Link> = BTreeMap::new();
    for link in links {
        wanted.entry(key(&link.key)).or_insert(link);
    }
    let names: Vec<&str> = wanted.keys().map(|name| &**name).collect();
    let (mut found, mut now, mut rows) = ask(connection, &names, besides(&names))?;
    let missing = wanted
        .iter()
        .filter(|(name, _)| !found.contains_key(&***name));
    let missing: Vec<_> = missing.collect();
    // A user who is renamed keeps their bucket, under the name that they have now.
    let renamed = wanted.iter().filter_map(|(key, link)| {
        let (name, _) = found.get(&**key)?;
        let names = [&*link.bucket, &**key].map(Value::text);
        (*name != link.bucket).then_some(names)
    });
    let renamed: Rows<'_> = renamed.collect();
    if !renamed.is_empty() {
        connection.execute(RENAME, renamed)?;
    }
    if !missing.is_empty() {
        make(connection, &missing, now)?;
        // Others can have made and used them before.
        (found, now, rows) = ask(connection, &names, besides(&names))?;
    }
    let levels = found.into_iter().map(|(key, (_, level))| (key, level));
    Ok(Locked {
        levels: levels.collect(),
        now,
        rows,
    })
}

/// Makes the rows of buckets that have none, by key.
fn make(
    connection: &mut dyn Connection,
    missing: &[(&Cow<'_, str>, &&Link)],
    now: i64,
) -> Result<(), Failure> {
    let earlier = missing.iter().filter_map(|(name, link)| {
        let names = [
            &***name,
            &*link.bucket,
            link.before.as_deref()?,
            &*link.template,
        ];
        Some(names.map(Value::text))
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
    connection.execute(INSERT, made.collect()).map(drop)
}

/// Buckets by key: what people call them, and what they hold.
type StoredLevels = BTreeMap<String, (String, Level)>;

/// Locks rows of buckets and reads them, then asks `besides` and for the time.
fn ask(
    connection: &mut dyn Connection,
    names: &[&str],
    besides: Vec<Question<'_>>,
) -> Result<(StoredLevels, i64, Vec<Row>), Failure> {
    let locks = names.chunks(BATCH).map(|some| {
        let sql = format!(
            "SELECT bucket, name, balance, at FROM buckets WHERE bucket IN ({}) ORDER BY bucket{}",
            places(0, some.len()),
            connection.lock()
        );
        let values = some.iter().map(|name| Value::text(*name)).collect();
        (sql.into(), values)
    });
    let mut questions: Vec<Question<'_>> = locks.collect();
    let count = questions.len();
    questions.extend(besides);
    let clock = connection.clock();
    questions.extend(clock.map(|clock| (format!("SELECT {clock}").into(), Vec::new())));
    let mut answers = connection.ask(questions)?;
    let now = match clock.and_then(|_| answers.pop()?.pop()) {
        Some(mut row) => row.integer()?,
        None => clock::unix_ms(),
    };
    let rows = answers.split_off(count.min(answers.len()));
    let mut found = BTreeMap::new();
    for mut row in answers.into_iter().flatten() {
        let (key, name) = (row.text()?, row.text()?);
        let (balance, at) = (row.integer()?, row.integer()?);
        found.insert(key, (name, Level { balance, at }));
    }
    Ok((found, now, rows.into_iter().flatten().collect()))
}

/// Stores what buckets hold, and commits.
pub(super) fn store(
    connection: &mut dyn Connection,
    levels: BTreeMap<String, Level>,
) -> Result<(), Failure> {
    let rows = levels
        .into_iter()
        .map(|(name, level)| [level.balance.into(), level.at.into(), Value::text(name)]);
    let rows: Rows<'_> = rows.collect();
    if rows.is_empty() {
        return connection.commit();
    }
    connection.execute_and_commit(UPDATE, rows).map(drop)
}
