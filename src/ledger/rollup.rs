//! Sums by day, kept as entries are written, so that a report need not read the entries.
//!
//! A row belongs to a *grain*: the set of columns by which it is told apart. The finest grain has
//! all of them; the coarser ones make the usual reports short to read. A record that carries
//! headers adds one row for each to the grains with a header.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::database::{Connection, Failure, Value, places};
use super::row::limit;
use super::sums::{self, Measured, Sums};
use super::{Entry, Record};

/// A day in milliseconds.
pub(super) const DAY_MS: i64 = 86_400_000;

/// Columns, as bits.
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    grain: i64,
    day: i64,
    login: &'a str,
    model: &'a str,
    provider: &'a str,
    agent: &'a str,
    api: &'a str,
    status: i64,
    outcome: &'a str,
    header: (&'a str, &'a str),
}

impl<'a> Key<'a> {
    fn of(entry: &'a Entry, grain: i64, header: (&'a str, &'a str)) -> Key<'a> {
        let kept = |bit, text: &'a str, limit| {
            let text = if grain & bit == 0 { "" } else { text };
            &text[..text.floor_char_boundary(limit)]
        };
        Key {
            grain,
            day: entry.started_at.div_euclid(DAY_MS),
            login: kept(LOGIN, &entry.login, limit::LOGIN),
            model: kept(MODEL, &entry.model, limit::MODEL),
            provider: kept(PROVIDER, &entry.provider, limit::PROVIDER),
            agent: kept(AGENT, &entry.agent, limit::AGENT),
            api: kept(API, &entry.api, limit::API),
            status: if grain & STATUS == 0 {
                0
            } else {
                entry.status.into()
            },
            outcome: kept(OUTCOME, entry.outcome.as_str(), usize::MAX),
            header: (
                kept(HEADER, header.0, limit::HEADER_NAME),
                kept(HEADER, header.1, limit::HEADER_VALUE),
            ),
        }
    }

    fn values(&self) -> impl Iterator<Item = Value> {
        [
            self.grain.into(),
            self.day.into(),
            self.login.into(),
            self.model.into(),
            self.provider.into(),
            self.agent.into(),
            self.api.into(),
            self.status.into(),
            self.outcome.into(),
            self.header.0.into(),
            self.header.1.into(),
        ]
        .into_iter()
    }
}

static UPSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO usage_daily (grain, day, login, model, provider, agent, api, status, \
         outcome, header_name, header_value, {}) VALUES ({}) \
         ON CONFLICT (grain, header_name, day, login, model, provider, agent, api, status, \
         outcome, header_value) DO UPDATE SET {}",
        sums::columns(sums::ALL).join(", "),
        places(0, 11 + sums::ALL),
        sums::additions("usage_daily", sums::ALL)
    )
});

/// Adds `records` to the sums. To be called in the transaction that writes them, and only with
/// those that it has written.
pub(super) fn add(connection: &mut dyn Connection, records: &[&Record]) -> Result<(), Failure> {
    let mut rows: BTreeMap<Key<'_>, Sums> = BTreeMap::new();
    for record in records {
        let measured = Measured::of(&record.entry);
        let mut add = |grain, header| {
            let key = Key::of(&record.entry, grain, header);
            rows.entry(key).or_default().add_one(&measured);
        };
        let headers = super::distinct(&record.headers);
        for grain in GRAINS {
            if grain & HEADER == 0 {
                add(grain, ("", ""));
            } else {
                for &header in &headers {
                    add(grain, header);
                }
            }
        }
    }
    let rows = rows
        .into_iter()
        .map(|(key, sums)| key.values().chain(sums.values(sums::ALL)).collect());
    connection.execute(&UPSERT, rows.collect())?;
    Ok(())
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
}
