//! Pages of requests. Entries lie in the order of their time, and a page is a walk along them. Where only few
//! may match, the walk is cut into parts that have some: a caller's entries, the days of a node, or the
//! hours in which the sums have requests of the kind.

use std::ops::Range;

use super::query::{self, Filter};
use super::row::{self, JOINED, NAMED, SELECTED, limit};
use super::value::{Row, Value};
use super::{Connection, Failure, rollup, rows};
use crate::records::reports::report::{DAY_MS, HOUR_MS};
use crate::records::{Entry, EntryId, Query, Scope};

/// A part of a walk: places, and whose.
struct Part {
    places: Range<i64>,
    caller: Option<i64>,
}

/// A page of requests.
pub(crate) fn requests(
    connection: &mut dyn Connection,
    scope: &Scope,
    query: &Query,
) -> Result<Vec<Entry>, Failure> {
    let mut places = 0..i64::MAX;
    for (bound, time) in [(&mut places.start, query.from), (&mut places.end, query.to)] {
        if let Some(time) = time {
            *bound = EntryId::place_at(time);
        }
    }
    if let Some(before) = query.before.as_deref() {
        places.end = places.end.min(row::place(connection, before)?);
    }
    if let Some(after) = query.after.as_deref() {
        let next = row::place(connection, after)?.saturating_add(1);
        places.start = places.start.max(next);
    }
    let mut page = Page {
        query,
        found: Vec::new(),
    };
    if query.session.is_some() {
        page.session(connection, scope, &places)?;
    } else if *scope != Scope::Everyone || query.login.is_some() {
        page.own(connection, scope, &places)?;
    } else if query.tool.is_some() || !query.marks.is_empty() {
        page.walk(connection, &[Part::all(places)])?;
    } else if query.node.is_some() {
        page.node(connection, &places)?;
    } else if query.kinds(&mut Filter::default()).is_some() {
        page.kinds(connection, &places)?;
    } else {
        page.walk(connection, &[Part::all(places)])?;
    }
    Ok(page.found)
}

impl Part {
    fn all(places: Range<i64>) -> Part {
        Part {
            places,
            caller: None,
        }
    }
}

/// A page that is being filled.
struct Page<'q> {
    query: &'q Query,
    found: Vec<Entry>,
}

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.found.len() >= self.query.limit()
    }

    /// The entries of some callers.
    fn own(
        &mut self,
        connection: &mut dyn Connection,
        scope: &Scope,
        places: &Range<i64>,
    ) -> Result<(), Failure> {
        let mut filter = Filter::default();
        filter.within("callers.caller", scope);
        filter.equal("callers.login", self.query.login.as_deref(), limit::LOGIN);
        let (conditions, values) = filter.into_parts();
        let sql = format!("SELECT callers.n FROM callers {conditions} ORDER BY 1");
        let callers = rows(connection, &sql, values, Row::integer)?;
        self.of(connection, &callers, places)
    }

    /// The entries of callers, in one time.
    fn of(
        &mut self,
        connection: &mut dyn Connection,
        callers: &[i64],
        places: &Range<i64>,
    ) -> Result<(), Failure> {
        let parts = callers.iter().map(|caller| Part {
            places: places.clone(),
            caller: Some(*caller),
        });
        self.walk(connection, &parts.collect::<Vec<_>>())
    }

    /// The entries of a session: those of its callers, between its first and its last.
    fn session(
        &mut self,
        connection: &mut dyn Connection,
        scope: &Scope,
        places: &Range<i64>,
    ) -> Result<(), Failure> {
        let mut filter = Filter::default();
        filter.within("sessions.caller", scope);
        let session = self.query.session.as_deref();
        filter.equal("sessions.session", session, limit::SESSION);
        filter.equal("callers.login", self.query.login.as_deref(), limit::LOGIN);
        let (conditions, values) = filter.into_parts();
        let sql = format!(
            "SELECT callers.n, first_at, last_at FROM sessions \
             CROSS JOIN callers {conditions} AND callers.caller = sessions.caller ORDER BY 1"
        );
        let parts = rows(connection, &sql, values, |row| {
            let caller = Some(row.integer()?);
            let first = EntryId::place_at(row.integer()?);
            let behind = EntryId::place_at(row.integer()?.saturating_add(1));
            Ok(Part {
                places: first.max(places.start)..behind.min(places.end),
                caller,
            })
        })?;
        self.walk(connection, &parts)
    }

    /// The entries of a node: those of its callers, on the days on which it was seen.
    fn node(
        &mut self,
        connection: &mut dyn Connection,
        places: &Range<i64>,
    ) -> Result<(), Failure> {
        let mut filter = Filter::default();
        filter.equal("nodes.node_id", self.query.node.as_deref(), limit::NODE);
        let (conditions, values) = filter.into_parts();
        let sql = format!(
            "SELECT node_days.day, node_days.caller FROM node_days WHERE node_days.node IN \
             (SELECT nodes.n FROM nodes {conditions}) ORDER BY node_days.day {}",
            self.order()
        );
        let seen = rows(connection, &sql, values, |row| {
            Ok((row.integer()?, row.integer()?))
        })?;
        for day in seen.chunk_by(|one, other| one.0 == other.0) {
            let callers: Vec<i64> = day.iter().map(|(_, caller)| *caller).collect();
            self.of(connection, &callers, &step(day[0].0, DAY_MS, places))?;
            if self.is_full() {
                break;
            }
        }
        Ok(())
    }

    /// The entries of some kinds: those of the hours that the sums have requests of them in.
    fn kinds(
        &mut self,
        connection: &mut dyn Connection,
        places: &Range<i64>,
    ) -> Result<(), Failure> {
        let last = EntryId::place_at(i64::MAX);
        let days = [places.start, places.end.min(last)];
        let days = days.map(|place| (place >> EntryId::RANDOM_BITS) / DAY_MS);
        for day in self.steps(
            connection,
            ["usage_days", "day"],
            &days.map(|day| day.to_string()),
        )? {
            let hours: Vec<_> = (day * 24..day * 24 + 24)
                .map(|hour| hour.to_string())
                .collect();
            for hour in self.steps(connection, ["usage_hours", "hour"], &hours)? {
                self.walk(connection, &[Part::all(step(hour, HOUR_MS, places))])?;
                if self.is_full() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The days or hours that have requests of the wanted kinds, in order: between two of them, or of many.
    fn steps(
        &self,
        connection: &mut dyn Connection,
        [table, column]: [&str; 2],
        times: &[String],
    ) -> Result<Vec<i64>, Failure> {
        let mut filter = Filter::default();
        let kinds = self.query.kinds(&mut filter).unwrap_or_default();
        let (_, values) = filter.into_parts();
        let times = match times {
            [from, to] => format!("{column} >= {from} AND {column} <= {to}"),
            many => format!("{column} IN ({})", many.join(", ")),
        };
        let sql = format!(
            "SELECT DISTINCT {column} FROM {table} WHERE header = {} AND {times} \
             AND kind IN {kinds} ORDER BY {column} {}",
            rollup::NO_HEADER,
            self.order()
        );
        rows(connection, &sql, values, Row::integer)
    }

    fn order(&self) -> &'static str {
        if self.query.oldest_first {
            "ASC"
        } else {
            "DESC"
        }
    }

    /// Adds the entries of parts that lie side by side.
    fn walk(&mut self, connection: &mut dyn Connection, parts: &[Part]) -> Result<(), Failure> {
        let wanted = self.query.limit() - self.found.len();
        let mut found = Vec::new();
        for part in parts.iter().filter(|part| !part.places.is_empty()) {
            found.extend(self.part(connection, part, wanted)?);
            found.sort_unstable_by_key(|(place, _)| *place);
            if !self.query.oldest_first {
                found.reverse();
            }
            found.truncate(wanted);
        }
        self.found.extend(found.into_iter().map(|(_, entry)| entry));
        Ok(())
    }

    /// The first entries of a part that match, with their places.
    fn part(
        &self,
        connection: &mut dyn Connection,
        part: &Part,
        wanted: usize,
    ) -> Result<Vec<(i64, Entry)>, Failure> {
        let mut filter = Filter::default();
        // A tool or a header may be rare: the database walks along its index, from entry to entry. One
        // person's entries are few, and it walks along those instead.
        let mut rest = self.query.clone();
        (rest.from, rest.to) = (None, None);
        let is_narrow = part.caller.is_some();
        let (tables, place, condition) = if !is_narrow && rest.tool.take().is_some() {
            let tables = "entry_tools CROSS JOIN requests";
            (tables, "entry_tools.entry", self.query.tool(&mut filter))
        } else if let Some(first) = self.query.marks.first().filter(|_| !is_narrow) {
            rest.marks.remove(0);
            let tables = "entry_headers CROSS JOIN requests";
            let condition = query::header(first, &mut filter);
            (tables, "entry_headers.entry", Some(condition))
        } else {
            ("requests", "requests.place", None)
        };
        filter.conditions.extend(condition);
        if let Some(caller) = part.caller {
            let caller = filter.bind(caller.into());
            filter
                .conditions
                .push(format!("requests.caller = {caller}"));
        }
        for (operator, bound) in [(">=", part.places.start), ("<", part.places.end)] {
            let bound = filter.bind(bound.into());
            filter
                .conditions
                .push(format!("{place} {operator} {bound}"));
        }
        let session = self.query.session.as_deref();
        filter.equal("requests.session", session, limit::SESSION);
        let others = rest.conditions(&mut filter, place);
        filter.conditions.extend(others);
        let (conditions, mut values) = filter.into_parts();
        values.push(Value::from(wanted as u64));
        let order = self.order();
        // First the entries, then what belongs to them.
        let sql = format!(
            "SELECT requests.place, {SELECTED} FROM (SELECT requests.* FROM {tables} {conditions} \
             ORDER BY {place} {order} LIMIT ${}) AS requests {NAMED} WHERE {JOINED} \
             ORDER BY requests.place {order}",
            values.len()
        );
        rows(connection, &sql, values, |row| {
            Ok((row.integer()?, row::read(row)?))
        })
    }
}

/// The places of a step of time, as far as they are wanted.
fn step(nth: i64, length: i64, wanted: &Range<i64>) -> Range<i64> {
    let [from, to] = [nth, nth + 1].map(|nth| EntryId::place_at(nth.saturating_mul(length)));
    from.max(wanted.start)..to.min(wanted.end)
}
