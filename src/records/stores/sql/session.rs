//! Sessions as rows: added up as entries are written, and read a page at a time. A session is known by
//! its caller and its id together, so nobody can join another's.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::LazyLock;

use super::query::Filter;
use super::row::limit;
use super::sums::{self, COLUMNS};
use super::value::{self, Row, Value, key, stored};
use super::{Connection, Failure, Names, places, rows};
use crate::base::quick_hash::QuickHash;
use crate::records::journal::packed::Shared;
use crate::records::journal::packed::unpacked::{Journaled, JournaledEntry};
use crate::records::reports::sums::{Measured, Sums};
use crate::records::{EntryId, Query, Scope, Session};

static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let last = ["login", "node_name", "agent", "model", "provider"].map(|column| {
        format!(
            "{column} = CASE WHEN excluded.last_request > sessions.last_request \
             THEN excluded.{column} ELSE sessions.{column} END"
        )
    });
    let extreme = |column: &str, order: &str| {
        format!(
            "{column} = CASE WHEN excluded.{column} {order} sessions.{column} \
             THEN excluded.{column} ELSE sessions.{column} END"
        )
    };
    format!(
        "INSERT INTO sessions (caller, login, session, first_at, last_at, last_request, node_name, \
         agent, model, provider, {}) VALUES ({}) ON CONFLICT (caller, session) DO UPDATE SET \
         {}, {}, {}, {}, {}",
        sums::columns().join(", "),
        places(0, 10 + COLUMNS),
        extreme("first_at", "<"),
        extreme("last_at", ">"),
        extreme("last_request", ">"),
        last.join(", "),
        sums::additions("sessions")
    )
});

const ADD_MODEL: &str = "INSERT INTO session_models (caller, session, model) VALUES ($1, $2, $3) \
    ON CONFLICT (caller, session, model) DO NOTHING";

/// A session's caller and its id, as they are stored.
type Key<'b> = (Cow<'b, str>, Cow<'b, str>);

/// Adds the records that are new to their sessions; `measured` has what each adds. To be called in the transaction that
/// writes them.
pub(super) fn add(
    connection: &mut dyn Connection,
    names: &mut Names,
    records: &[&Journaled<'_>],
    is_new: &[bool],
    measured: &[Measured],
) -> Result<(), Failure> {
    let mut places: HashMap<(usize, usize), usize, QuickHash> = HashMap::default();
    let mut keys: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    let mut all: Vec<Added<'_, '_>> = Vec::new();
    let new = records.iter().zip(measured).zip(is_new);
    for ((one, measured), _) in new.filter(|(_, is_new)| **is_new) {
        let entry = &one.entry;
        let numbers = (entry.caller.number, entry.session.number);
        let place = *places.entry(numbers).or_insert_with(|| {
            // Those that are stored alike are one session.
            let caller = stored(key(entry.caller.text, limit::CALLER));
            let session = stored(key(entry.session.text, limit::SESSION));
            *keys.entry((caller, session)).or_insert_with(|| {
                all.push(Added::new(entry));
                all.len() - 1
            })
        });
        all[place].add(one, measured);
    }
    let mut models = BTreeSet::new();
    for (key @ (caller, session), place) in &keys {
        for model in &all[*place].models {
            let model = stored(value::key(model.text, limit::MODEL));
            if names.is_new_model([caller, session, &model]) {
                models.insert((key, model));
            }
        }
    }
    let rows = keys.iter().map(|(key, place)| all[*place].row(key));
    connection.insert(&UPSERT, rows.collect())?;
    let models = models.into_iter().map(|((caller, session), model)| {
        [caller.clone(), session.clone(), model].map(Value::Text)
    });
    super::insert(connection, ADD_MODEL, models.collect())
}

/// What a batch adds to one session.
struct Added<'r, 'b> {
    first_at: i64,
    last_at: i64,
    last: &'r JournaledEntry<'b>,
    sums: Sums,
    models: Vec<Shared<'b>>,
}

impl<'r, 'b> Added<'r, 'b> {
    fn new(entry: &'r JournaledEntry<'b>) -> Self {
        Self {
            first_at: i64::MAX,
            last_at: i64::MIN,
            last: entry,
            sums: Sums::default(),
            models: Vec::new(),
        }
    }

    fn add(&mut self, one: &'r Journaled<'b>, measured: &Measured) {
        let (at, entry) = (one.started_at(), &one.entry);
        (self.first_at, self.last_at) = (self.first_at.min(at), self.last_at.max(at));
        if entry.id > self.last.id {
            self.last = entry;
        }
        self.sums.add_one(measured);
        let is_known = |known: &Shared<'_>| known.number == entry.model.number;
        if !entry.model.is_empty() && !self.models.iter().any(is_known) {
            self.models.push(entry.model);
        }
    }

    /// The values of [`UPSERT`].
    fn row(&self, (caller, session): &Key<'b>) -> impl Iterator<Item = Value<'b>> {
        let last = self.last;
        let own = [
            Value::Text(caller.clone()),
            Value::key(last.login.text, limit::LOGIN),
            Value::Text(session.clone()),
            self.first_at.into(),
            self.last_at.into(),
            last.id.into(),
            last.node_name.text.into(),
            Value::key(last.agent.text, limit::AGENT),
            Value::key(last.model.text, limit::MODEL),
            Value::key(last.provider.text, limit::PROVIDER),
        ];
        own.into_iter().chain(self.sums.values())
    }
}

/// Requests that a rare tool has at most.
const RARE: i64 = 2_000;

/// Whether a tool is in few requests.
fn is_rare(connection: &mut dyn Connection, tool: Option<&str>) -> Result<bool, Failure> {
    let Some(tool) = tool else { return Ok(false) };
    let sql = "SELECT count(*) FROM (SELECT 1 FROM entry_tools WHERE name = $1 AND nth = 0 \
               LIMIT $2) AS some_of_them";
    let values = vec![Value::wanted(tool, limit::TOOL), Value::Integer(RARE + 1)];
    let counted = rows(connection, sql, values, Row::integer)?;
    Ok(counted.first().is_some_and(|count| *count <= RARE))
}

pub(super) fn page(
    connection: &mut dyn Connection,
    scope: &Scope,
    query: &Query,
) -> Result<Vec<Session>, Failure> {
    let mut filter = Filter::default();
    filter.within("sessions.caller", scope);
    let session = query.session.as_deref();
    filter.equal("sessions.session", session, limit::SESSION);
    of_login(&mut filter, query.login.as_deref());
    filter.than("sessions.last_request", "<", query.before.as_deref());
    // Other filters keep the sessions of which some request matches. Those with a rare tool are
    // looked up, because there may be very many without it; else each session is looked at, of
    // which one in a few has what is common.
    let rare = is_rare(connection, query.tool.as_deref())?;
    let mut rest = query.clone();
    let mut some = Vec::new();
    if rare {
        some.extend(query.tool(&mut filter));
        rest.tool = None;
    }
    some.extend(rest.conditions(&mut filter, "requests.place"));
    if rare {
        let some = some.join(" AND ");
        filter.conditions.push(format!(
            "(sessions.caller, sessions.session) IN (SELECT callers.caller, requests.session \
             FROM entry_tools CROSS JOIN requests CROSS JOIN callers \
             WHERE {some} AND callers.n = requests.caller)"
        ));
    } else if !some.is_empty() {
        filter.conditions.push(has(&some));
    }
    let (conditions, mut values) = filter.into_parts();
    values.push((query.limit() as u64).into());
    let sql = format!(
        "SELECT session, caller, login, node_name, agent, model, provider, first_at, last_at, \
         last_request, {} FROM sessions {conditions} ORDER BY last_request DESC LIMIT ${}",
        sums::columns().join(", "),
        values.len()
    );
    let mut sessions = rows(connection, &sql, values, read)?;
    add_models(connection, &mut sessions)?;
    Ok(sessions)
}

/// Only what a login has.
fn of_login<'q>(filter: &mut Filter<'q>, login: Option<&'q str>) {
    filter.equal("sessions.login", login, limit::LOGIN);
    // Sessions are found by their caller.
    if let Some(login) = login {
        let login = filter.bind(Value::wanted(login, limit::LOGIN));
        filter.conditions.push(format!(
            "sessions.caller IN (SELECT callers.caller FROM callers WHERE callers.login = {login})"
        ));
    }
}

/// Whether a session has a request that meets `conditions`: among those of its caller, between its first
/// and its last.
fn has(conditions: &[String]) -> String {
    format!(
        "EXISTS (SELECT 1 FROM requests WHERE requests.caller IN \
         (SELECT callers.n FROM callers WHERE callers.caller = sessions.caller) AND {} AND {})",
        *SPAN,
        conditions.join(" AND ")
    )
}

/// That a request of a session's caller is one of the session.
pub(super) static SPAN: LazyLock<String> = LazyLock::new(|| {
    format!(
        "requests.place >= sessions.first_at * {MS} \
         AND requests.place < (sessions.last_at + 1) * {MS} \
         AND requests.session = sessions.session"
    )
});

/// Places of a millisecond.
const MS: i64 = 1 << EntryId::RANDOM_BITS;

pub(crate) fn count(
    connection: &mut dyn Connection,
    scope: &Scope,
    login: Option<&str>,
    time: &Range<i64>,
) -> Result<u64, Failure> {
    let mut filter = Filter::default();
    filter.within("sessions.caller", scope);
    of_login(&mut filter, login);
    let (from, to) = (filter.bind(time.start.into()), filter.bind(time.end.into()));
    // A session that began or ended within the time has a request there. One that spans all of it
    // is looked into.
    let [first, behind] = [time.start, time.end].map(EntryId::place_at);
    let within = has(&[format!(
        "requests.place >= {} AND requests.place < {}",
        filter.bind(first.into()),
        filter.bind(behind.into())
    )]);
    filter.conditions.push(format!(
        "last_at >= {from} AND first_at < {to} AND (first_at >= {from} OR last_at < {to} OR {within})"
    ));
    let (conditions, values) = filter.into_parts();
    let sql = format!("SELECT COUNT(*) FROM sessions {conditions}");
    let counts = rows(connection, &sql, values, Row::count)?;
    Ok(counts.first().copied().unwrap_or_default())
}

fn add_models(connection: &mut dyn Connection, sessions: &mut [Session]) -> Result<(), Failure> {
    if sessions.is_empty() {
        return Ok(());
    }
    let pairs: Vec<_> = (0..sessions.len())
        .map(|nth| format!("({})", places(nth * 2, 2)))
        .collect();
    let keys = sessions
        .iter()
        .flat_map(|session| [session.caller.as_str().into(), session.id.as_str().into()]);
    let sql = format!(
        "SELECT caller, session, model FROM session_models \
         WHERE (caller, session) IN (VALUES {}) ORDER BY caller, session, model",
        pairs.join(", ")
    );
    let found = rows(connection, &sql, keys.collect(), |row| {
        Ok(((row.text()?, row.text()?), row.text()?))
    })?;
    let mut models: HashMap<(String, String), Vec<String>> = HashMap::new();
    for (key, model) in found {
        models.entry(key).or_default().push(model);
    }
    for session in sessions {
        let key = (session.caller.clone(), session.id.clone());
        session.models = models.remove(&key).unwrap_or_default();
    }
    Ok(())
}

fn read(row: &mut Row) -> Result<Session, Failure> {
    Ok(Session {
        id: row.text()?,
        caller: row.text()?,
        login: row.text()?,
        node_name: row.text()?,
        agent: row.text()?,
        model: row.text()?,
        provider: row.text()?,
        models: Vec::new(),
        started_at: row.integer()?,
        last_at: row.integer()?,
        last_request: EntryId(row.text()?.into()),
        counts: Sums::read(row)?.counts(),
    })
}
