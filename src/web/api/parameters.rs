//! Query parameters: an endpoint declares them with their descriptions, and a type takes their
//! values. What isn't declared is refused, as is a second value where one is taken.

use http::StatusCode;

use crate::base::{clock, labels};
use crate::policy::access::Permit;
use crate::records::{Outcome, Query, marks};
use crate::wire::Rejection;

/// A parameter, as the description has it.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Parameter {
    pub name: &'static str,
    pub description: &'static str,
    /// It may be given more than once.
    pub many: bool,
    /// Nothing is answered without it.
    pub required: bool,
}

/// A parameter that may be given once.
pub(super) const fn parameter(name: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        description,
        many: false,
        required: false,
    }
}

impl Parameter {
    pub(super) const fn many(mut self) -> Self {
        self.many = true;
        self
    }

    pub(super) const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// What a query is read into.
pub(in crate::web) trait FromQuery: Default {
    /// Takes the value of a parameter that an endpoint declares.
    ///
    /// # Errors
    /// A 400 for a value that makes no sense.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Rejection>;
}

/// What a request gave: decoded, each name declared, and no more than once where once is enough.
#[derive(Debug, Default)]
pub(in crate::web) struct Given(Vec<(&'static str, String)>);

impl Given {
    /// Reads a query in the form of an address.
    ///
    /// # Errors
    /// A 400 that names what is known, when one isn't, is given twice, or is not text.
    pub(super) fn in_query(declared: &[Parameter], query: &str) -> Result<Self, Rejection> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self::checked(declared, pairs, decoded)
    }

    /// The same of pairs that a page has decoded.
    pub(in crate::web) fn by_page<'q>(
        declared: &[Parameter],
        pairs: impl Iterator<Item = (&'q str, &'q str)>,
    ) -> Result<Self, Rejection> {
        Self::checked(declared, pairs, |_, value| Ok(value.to_owned()))
    }

    fn checked<'q>(
        declared: &[Parameter],
        pairs: impl Iterator<Item = (&'q str, &'q str)>,
        decode: fn(&str, &str) -> Result<String, Rejection>,
    ) -> Result<Self, Rejection> {
        let mut given: Vec<(&'static str, String)> = Vec::new();
        for (name, value) in pairs {
            let Some(known) = declared.iter().find(|known| known.name == name) else {
                let names: Vec<_> = declared.iter().map(|known| known.name).collect();
                return Err(bad(if names.is_empty() {
                    "this route takes no parameters".to_owned()
                } else {
                    format!("known parameters are {}", names.join(", "))
                }));
            };
            if !known.many && given.iter().any(|(before, _)| *before == name) {
                return Err(bad(format!("`{name}` is given twice")));
            }
            given.push((known.name, decode(name, value)?));
        }
        Ok(Self(given))
    }

    /// Refuses to filter by a header that no grant of the caller names: as in Aperture, being an
    /// admin is not enough.
    pub(in crate::web) fn permitted(&self, permit: &Permit) -> Result<(), Rejection> {
        let named = self.0.iter().filter(|(name, _)| *name == "header");
        let denied = named
            .map(|(_, value)| header(value).0)
            .find(|name| !permit.may_filter_by(name));
        let Some(name) = denied else { return Ok(()) };
        let why = format!("access denied: no grant has {name:?} in filterable_headers");
        Err(Rejection::new(StatusCode::FORBIDDEN, "not_filterable", why))
    }

    /// The values, each in its place.
    ///
    /// # Errors
    /// A 400 for a value that makes no sense.
    pub(in crate::web) fn read<T: FromQuery>(&self) -> Result<T, Rejection> {
        let mut to = T::default();
        for (name, value) in &self.0 {
            to.set(name, value)?;
        }
        Ok(to)
    }
}

/// Which rows are listed, and in which form.
pub(in crate::web) struct Listing {
    pub query: Query,
    /// As CSV instead of JSON.
    pub csv: bool,
}

impl Default for Listing {
    fn default() -> Self {
        let query = Query {
            // Unless `limit` says otherwise.
            limit: 100,
            ..Query::default()
        };
        Self { query, csv: false }
    }
}

impl FromQuery for Listing {
    fn set(&mut self, name: &str, value: &str) -> Result<(), Rejection> {
        let query = &mut self.query;
        let text = match name {
            "agent" => &mut query.agent,
            "api" => &mut query.api,
            "before" => &mut query.before,
            "login" => &mut query.login,
            "model" => &mut query.model,
            "node" => &mut query.node,
            "provider" => &mut query.provider,
            "session" => &mut query.session,
            "tool" => &mut query.tool,
            _ => return self.set_parsed(name, value),
        };
        *text = Some(value.to_owned());
        Ok(())
    }
}

impl Listing {
    fn set_parsed(&mut self, name: &str, value: &str) -> Result<(), Rejection> {
        let query = &mut self.query;
        match name {
            "format" => self.csv = is_csv(value)?,
            "from" => query.from = Some(time(name, value)?),
            "header" => query.marks.push(header(value)),
            "label" => query.marks.push(label(value)?),
            "via" => query.marks.push(via(value)),
            "limit" => query.limit = limit(value)?,
            "outcome" => query.outcome = Some(outcome(value)?),
            "status" => query.status = Some(status(value)?),
            "to" => query.to = Some(time(name, value)?),
            _ => return Err(undeclared(name)),
        }
        Ok(())
    }
}

/// Whose rows.
pub(super) const LOGIN: Parameter =
    parameter("login", "Only this caller's. A user always gets their own.");
pub(super) const HEADER: Parameter = parameter(
    "header",
    "Only with this header, as `name` or `name:value`; takes a grant with `filterable_headers`.",
);
pub(super) const LABEL: Parameter =
    parameter("label", "Only with this label, as `key` or `key=value`.");
pub(super) const VIA: Parameter = parameter(
    "via",
    "Only what this application asked for people, by its login or tags.",
);
pub(super) const FROM: Parameter = parameter(
    "from",
    "Start of the time, RFC 3339 or a UTC date; it is included.",
);
pub(super) const TO: Parameter = parameter(
    "to",
    "End of the time, RFC 3339 or a UTC date; it is not included.",
);
pub(super) const LIMIT: Parameter =
    parameter("limit", "Rows of a page, 1 to 1000; 100 unless given.");
pub(super) const BEFORE: Parameter = parameter("before", "Cursor: `next` of the page before.");
pub(super) const FORMAT: Parameter = parameter("format", "`json` (default) or `csv`.");

const DAY_MS: i64 = 86_400_000;
/// Days of a report unless `from` says otherwise, today included.
const DEFAULT_DAYS: i64 = 30;

/// The time of a report: the last days unless the query says otherwise, and `most` of them where it looks
/// at every record.
pub(super) fn days(query: &Query, most: Option<i64>) -> Result<(i64, i64), Rejection> {
    // Whole days: the sums of days answer at once, whatever the number of records.
    let tomorrow = (clock::unix_ms().div_euclid(DAY_MS) + 1) * DAY_MS;
    let to = query.to.unwrap_or(tomorrow);
    let from = query.from.unwrap_or(match most {
        Some(most) => to - DEFAULT_DAYS.min(most) * DAY_MS,
        None => tomorrow - DEFAULT_DAYS * DAY_MS,
    });
    if from >= to {
        return Err(bad("`from` must be before `to`".to_owned()));
    }
    match most {
        Some(most) if to.saturating_sub(from) > most * DAY_MS => {
            Err(bad(format!("this covers {most} days at most")))
        }
        _ => Ok((from, to)),
    }
}

pub(super) fn status(text: &str) -> Result<u16, Rejection> {
    text.parse()
        .map_err(|_| bad("`status` must be the number of an HTTP status".to_owned()))
}

pub(super) fn outcome(text: &str) -> Result<Outcome, Rejection> {
    Outcome::parse(text).ok_or_else(|| bad(format!("unknown outcome {text:?}")))
}

fn limit(text: &str) -> Result<usize, Rejection> {
    let limit = text.parse().ok().filter(|limit| (1..=1000).contains(limit));
    limit.ok_or_else(|| bad("`limit` must be a number from 1 to 1000".to_owned()))
}

fn is_csv(format: &str) -> Result<bool, Rejection> {
    match format {
        "csv" => Ok(true),
        "json" => Ok(false),
        _ => Err(bad("`format` is json or csv".to_owned())),
    }
}

/// A parameter that an endpoint declares and doesn't read. `every_parameter_is_taken` finds it.
pub(super) fn undeclared(name: &str) -> Rejection {
    bad(format!("`{name}` is not read"))
}

/// `name` or `name:value`.
pub(super) fn header(text: &str) -> (String, Option<String>) {
    match text.split_once(':') {
        Some((name, value)) => (name.to_ascii_lowercase(), Some(value.trim().to_owned())),
        None => (text.to_ascii_lowercase(), None),
    }
}

/// `key` or `key=value`, as the name of the label in records and its value.
pub(super) fn label(text: &str) -> Result<(String, Option<String>), Rejection> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key.trim(), Some(value.trim().to_owned())),
        None => (text.trim(), None),
    };
    if !labels::is_key(key.as_bytes()) {
        let why = format!("`label` {text:?} is neither key nor key=value");
        return Err(bad(why));
    }
    Ok((marks::label(key), value))
}

/// The application that spoke for people.
pub(super) fn via(text: &str) -> (String, Option<String>) {
    (marks::VIA.to_owned(), Some(text.to_owned()))
}

/// The beginning of a UTC date, in unix milliseconds.
pub(in crate::web) fn midnight(text: &str) -> Option<i64> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let midnight = jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0));
    Some(midnight.ok()?.as_millisecond())
}

/// A UTC date, or a time as in RFC 3339, in unix milliseconds.
fn time(name: &str, text: &str) -> Result<i64, Rejection> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond)
        .or_else(|| midnight(text))
        .ok_or_else(|| {
            bad(format!(
                "`{name}` is a date such as 2026-11-25 or a time such as 2026-11-25T08:00:00Z"
            ))
        })
}

/// A value without its escapes.
pub(super) fn decoded(name: &str, value: &str) -> Result<String, Rejection> {
    // The decoder leaves a broken escape as it is.
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !value.split('%').skip(1).all(is_escape) {
        return Err(bad(format!("`{name}` has a broken % escape")));
    }
    percent_encoding::percent_decode_str(&value.replace('+', " "))
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| bad(format!("`{name}` is not UTF-8")))
}

/// A query that makes no sense.
pub(super) fn bad(why: String) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "bad_query", why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::api::records::usage;

    #[test]
    fn times_are_dates_or_instants() {
        assert_eq!(time("from", "1970-01-02").unwrap(), DAY_MS);
        assert_eq!(time("from", "1970-01-01T00:00:01Z").unwrap(), 1000);
        assert_eq!(time("from", "1970-01-01T01:00:00+01:00").unwrap(), 0);
        assert!(time("from", "yesterday").is_err());
    }

    #[test]
    fn parameters_are_known_once_and_decoded() {
        let usage = usage::ENDPOINT.parameters;
        let given = Given::in_query(usage, "model=a%2Fb&model=c+d&by=day").unwrap();
        assert_eq!(
            given.0,
            [
                ("model", "a/b".to_owned()),
                ("model", "c d".to_owned()),
                ("by", "day".to_owned())
            ]
        );
        for query in ["modle=a", "by=day&by=hour", "by=%ff", "by=%zz", "by=%"] {
            assert!(Given::in_query(usage, query).is_err(), "{query}");
        }
    }
}
