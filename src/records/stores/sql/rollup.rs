//! Sums by day, kept as entries are written, so that a report need not read the entries.
//!
//! A row belongs to a *grain*: the set of columns by which it is told apart. The finest grain has
//! all of them; the coarser ones make the usual reports short to read. A record that carries
//! headers adds one row for each to the grains with a header.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use super::row::limit;
use super::sums;
use super::value::{Value, key};
use super::{Connection, Failure, places};
use crate::records::reports::report::DAY_MS;
use crate::records::reports::sums::{Measured, Sums};
use crate::records::{Entry, Record};

/// Columns, as bits. A login comes with the key of its caller.
pub(super) const LOGIN: i64 = 1;
pub(super) const MODEL: i64 = 1 << 1;
pub(super) const PROVIDER: i64 = 1 << 2;
pub(super) const AGENT: i64 = 1 << 3;
pub(super) const API: i64 = 1 << 4;
pub(super) const STATUS: i64 = 1 << 5;
pub(super) const OUTCOME: i64 = 1 << 6;
pub(super) const HEADER: i64 = 1 << 7;

/// All but the header.
const FINE: i64 = HEADER - 1;

/// All but the header and the login: what people share makes few rows.
const SHARED: i64 = FINE & !LOGIN;

/// The grains, those with the fewest rows first.
const GRAINS: [i64; 17] = [
    0,
    OUTCOME,
    STATUS,
    API,
    PROVIDER,
    AGENT,
    MODEL,
    LOGIN,
    SHARED,
    LOGIN | AGENT,
    LOGIN | MODEL,
    FINE,
    HEADER,
    HEADER | MODEL,
    HEADER | LOGIN,
    HEADER | SHARED,
    HEADER | FINE,
];

/// The coarsest grain that tells `columns` apart.
pub(super) fn grain(columns: i64) -> i64 {
    let header = columns & HEADER;
    let fits = |grain: &&i64| *grain & columns == columns && *grain & HEADER == header;
    GRAINS.iter().find(fits).copied().unwrap_or(FINE | header)
}

/// What tells a row from others, in the order of its columns. Ordered, so that nodes that share
/// a database lock the rows of a group in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key<'a> {
    grain: i64,
    day: i64,
    caller: Cow<'a, str>,
    login: Cow<'a, str>,
    model: Cow<'a, str>,
    provider: Cow<'a, str>,
    agent: Cow<'a, str>,
    api: Cow<'a, str>,
    status: i64,
    outcome: &'a str,
    header: Header<'a>,
}

/// The name and the value of a header, as keys.
type Header<'a> = (Cow<'a, str>, Cow<'a, str>);

impl<'a> Key<'a> {
    /// The key of the finest row that an entry adds to; `header` is one that it carries.
    fn finest(entry: &'a Entry, header: Option<Header<'a>>) -> Key<'a> {
        Key {
            grain: FINE | if header.is_some() { HEADER } else { 0 },
            day: entry.started_at.div_euclid(DAY_MS),
            caller: key(&entry.caller, limit::CALLER),
            login: key(&entry.login, limit::LOGIN),
            model: key(&entry.model, limit::MODEL),
            provider: key(&entry.provider, limit::PROVIDER),
            agent: key(&entry.agent, limit::AGENT),
            api: key(&entry.api, limit::API),
            status: entry.status.into(),
            outcome: entry.outcome.as_str(),
            header: header.unwrap_or_default(),
        }
    }

    /// The keys of all rows that a finest one is part of.
    fn coarser(&self) -> impl Iterator<Item = Key<'a>> {
        let fits = |grain: &i64| grain & HEADER == self.grain & HEADER;
        GRAINS.into_iter().filter(fits).map(|grain| {
            let kept = |bit, text: &Cow<'a, str>| {
                if grain & bit == 0 {
                    Cow::Borrowed("")
                } else {
                    text.clone()
                }
            };
            Key {
                grain,
                day: self.day,
                caller: kept(LOGIN, &self.caller),
                login: kept(LOGIN, &self.login),
                model: kept(MODEL, &self.model),
                provider: kept(PROVIDER, &self.provider),
                agent: kept(AGENT, &self.agent),
                api: kept(API, &self.api),
                status: if grain & STATUS == 0 { 0 } else { self.status },
                outcome: if grain & OUTCOME == 0 {
                    ""
                } else {
                    self.outcome
                },
                header: self.header.clone(),
            }
        })
    }

    fn values(&self) -> impl Iterator<Item = Value<'a>> {
        let text = |text: &Cow<'a, str>| Value::text(text.clone());
        [
            self.grain.into(),
            self.day.into(),
            text(&self.caller),
            text(&self.login),
            text(&self.model),
            text(&self.provider),
            text(&self.agent),
            text(&self.api),
            self.status.into(),
            self.outcome.into(),
            text(&self.header.0),
            text(&self.header.1),
        ]
        .into_iter()
    }
}

static UPSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO usage_daily (grain, day, caller, login, model, provider, agent, api, \
         status, outcome, header_name, header_value, {}) VALUES ({}) \
         ON CONFLICT (grain, header_name, day, caller, login, model, provider, agent, api, \
         status, outcome, header_value) DO UPDATE SET {}",
        sums::columns(sums::ALL).join(", "),
        places(0, 12 + sums::ALL),
        sums::additions("usage_daily", sums::ALL)
    )
});

/// Headers as they are stored, each name and value once.
pub(super) fn distinct(headers: &[(String, String)]) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let mut all: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            (
                key(name, limit::HEADER_NAME),
                key(value, limit::HEADER_VALUE),
            )
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Adds `records` to the sums. To be called in the transaction that writes them, and only with
/// those that it has written.
pub(super) fn add(connection: &mut dyn Connection, records: &[&Record]) -> Result<(), Failure> {
    // The requests of a group are much alike: first they make a few fine rows, then those make
    // the coarser ones.
    let mut finest: HashMap<Key<'_>, Sums> = HashMap::new();
    for record in records {
        let measured = Measured::of(&record.entry);
        let headers = distinct(&record.headers).into_iter().map(Some);
        for header in std::iter::once(None).chain(headers) {
            let key = Key::finest(&record.entry, header);
            finest.entry(key).or_default().add_one(&measured);
        }
    }
    let mut rows: BTreeMap<Key<'_>, Sums> = BTreeMap::new();
    for (key, sums) in &finest {
        for key in key.coarser() {
            rows.entry(key).or_default().add(sums);
        }
    }
    let rows = rows
        .iter()
        .map(|(key, sums)| key.values().chain(sums.values(sums::ALL)).collect());
    connection.insert(&UPSERT, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarsest_grain_that_can_answer_is_taken() {
        assert_eq!(grain(0), 0);
        assert_eq!(grain(MODEL), MODEL);
        assert_eq!(grain(MODEL | LOGIN), LOGIN | MODEL);
        assert_eq!(grain(MODEL | AGENT), SHARED);
        assert_eq!(grain(MODEL | AGENT | LOGIN), FINE);
        assert_eq!(grain(HEADER), HEADER);
        assert_eq!(grain(HEADER | STATUS), HEADER | SHARED);
    }

    #[test]
    fn a_row_names_what_its_grain_tells_apart_and_nothing_else() {
        let entry = crate::records::entry::tests::entry(1, "ann@example.com", "s");
        for header in [None, Some(("x-team", "blue"))] {
            let header = header.map(|(name, value)| (Cow::from(name), Cow::from(value)));
            let finest = Key::finest(&entry, header.clone());
            let rows: Vec<_> = finest.coarser().collect();
            let of_header = |grain: &&i64| (**grain & HEADER != 0) == header.is_some();
            assert_eq!(rows.len(), GRAINS.iter().filter(of_header).count());
            assert!(rows.contains(&finest));
            for row in rows {
                assert_eq!(row.grain & HEADER != 0, header.is_some());
                for (bit, is_named) in [
                    (LOGIN, row.login == "ann@example.com"),
                    (LOGIN, row.caller == "ann@example.com"),
                    (MODEL, row.model == "model-1"),
                    (PROVIDER, row.provider == "main"),
                    (AGENT, row.agent == "claude-code"),
                    (API, row.api == "openai_chat"),
                    (STATUS, row.status == 200),
                    (OUTCOME, row.outcome == "client_closed"),
                ] {
                    assert_eq!(is_named, row.grain & bit != 0, "{bit} of {}", row.grain);
                }
                assert_eq!(row.header, header.clone().unwrap_or_default());
            }
        }
    }
}
