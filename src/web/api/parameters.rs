//! Query parameters: each is declared with its description and the place that its value goes to.
//! What isn't declared is refused, as is a second value where one is taken.

use http::StatusCode;

use crate::base::clock;
use crate::policy::access::Permit;
use crate::records::{Outcome, Query};
use crate::wire::Rejection;

/// What the description says of a parameter.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct About {
    pub name: &'static str,
    pub description: &'static str,
    /// It may be given more than once.
    pub many: bool,
    /// Nothing is answered without it.
    pub required: bool,
}

/// Where a value goes.
enum Place<T> {
    Text(fn(&mut T) -> &mut Option<String>),
    Texts(fn(&mut T) -> &mut Vec<String>),
    Read(fn(&mut T, &str) -> Result<(), Rejection>),
}

/// A parameter of queries that are read into `T`.
pub(in crate::web) struct Parameter<T> {
    about: About,
    place: Place<T>,
}

const fn parameter<T>(name: &'static str, about: &'static str, place: Place<T>) -> Parameter<T> {
    let about = About {
        name,
        description: about,
        many: matches!(place, Place::Texts(_)),
        required: false,
    };
    Parameter { about, place }
}

/// A parameter whose value is kept as it is.
pub(super) const fn text<T>(
    name: &'static str,
    about: &'static str,
    place: fn(&mut T) -> &mut Option<String>,
) -> Parameter<T> {
    parameter(name, about, Place::Text(place))
}

/// One that may be given more than once.
pub(super) const fn texts<T>(
    name: &'static str,
    about: &'static str,
    place: fn(&mut T) -> &mut Vec<String>,
) -> Parameter<T> {
    parameter(name, about, Place::Texts(place))
}

/// One whose value is parsed.
pub(super) const fn read<T>(
    name: &'static str,
    about: &'static str,
    put: fn(&mut T, &str) -> Result<(), Rejection>,
) -> Parameter<T> {
    parameter(name, about, Place::Read(put))
}

impl<T> Parameter<T> {
    pub(super) const fn many(mut self) -> Self {
        self.about.many = true;
        self
    }

    pub(super) const fn required(mut self) -> Self {
        self.about.required = true;
        self
    }
}

/// The parameters of an endpoint, in the order of its description.
pub(in crate::web) struct Parameters<T: 'static>(pub &'static [Parameter<T>]);

/// The same, whatever they are read into.
pub(in crate::web) trait Declared: Sync {
    fn all(&self) -> Vec<About>;
}

impl<T> Declared for Parameters<T> {
    fn all(&self) -> Vec<About> {
        self.0.iter().map(|parameter| parameter.about).collect()
    }
}

/// What a request gave: decoded, each name declared, and no more than once where once is enough.
#[derive(Debug, Default)]
pub(in crate::web) struct Given(Vec<(&'static str, String)>);

impl Given {
    /// Reads a query in the form of an address.
    ///
    /// # Errors
    /// A 400 that names what is known, when one isn't, is given twice, or is not text.
    pub(super) fn in_query(declared: &dyn Declared, query: &str) -> Result<Self, Rejection> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self::checked(declared, pairs, decoded)
    }

    /// The same of pairs that a page has decoded.
    pub(in crate::web) fn by_page<'q>(
        declared: &dyn Declared,
        pairs: impl Iterator<Item = (&'q str, &'q str)>,
    ) -> Result<Self, Rejection> {
        Self::checked(declared, pairs, |_, value| Ok(value.to_owned()))
    }

    fn checked<'q>(
        declared: &dyn Declared,
        pairs: impl Iterator<Item = (&'q str, &'q str)>,
        decode: fn(&str, &str) -> Result<String, Rejection>,
    ) -> Result<Self, Rejection> {
        let all = declared.all();
        let mut given: Vec<(&'static str, String)> = Vec::new();
        for (name, value) in pairs {
            let Some(known) = all.iter().find(|known| known.name == name) else {
                let names: Vec<_> = all.iter().map(|known| known.name).collect();
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
        match denied {
            None => Ok(()),
            Some(name) => Err(Rejection::new(
                StatusCode::FORBIDDEN,
                "not_filterable",
                format!("access denied: no grant has {name:?} in filterable_headers"),
            )),
        }
    }
}

impl<T: Default> Parameters<T> {
    /// The values, each in its place.
    pub(in crate::web) fn read(&self, given: &Given) -> Result<T, Rejection> {
        let mut to = T::default();
        for (name, value) in &given.0 {
            let declared = self.0.iter().find(|known| known.about.name == *name);
            match declared.map(|known| &known.place) {
                Some(Place::Text(place)) => *place(&mut to) = Some(value.clone()),
                Some(Place::Texts(place)) => place(&mut to).push(value.clone()),
                Some(Place::Read(put)) => put(&mut to, value)?,
                None => {}
            }
        }
        Ok(to)
    }
}

/// No parameters.
pub(super) const NONE: Parameters<()> = Parameters(&[]);

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

impl AsMut<Self> for Listing {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

/// Whose rows.
pub(super) const LOGIN: Parameter<Listing> = text(
    "login",
    "Only this caller's. A user always gets their own.",
    |to| &mut to.query.login,
);

pub(super) const fn from<T: AsMut<Listing>>() -> Parameter<T> {
    read(
        "from",
        "Start of the time, RFC 3339 or a UTC date; it is included.",
        |to, text| {
            to.as_mut().query.from = Some(time("from", text)?);
            Ok(())
        },
    )
}

pub(super) const fn to<T: AsMut<Listing>>() -> Parameter<T> {
    read(
        "to",
        "End of the time, RFC 3339 or a UTC date; it is not included.",
        |to, text| {
            to.as_mut().query.to = Some(time("to", text)?);
            Ok(())
        },
    )
}

pub(super) const fn limit<T: AsMut<Listing>>() -> Parameter<T> {
    read(
        "limit",
        "Rows of a page, 1 to 1000; 100 unless given.",
        |to, text| {
            let limit = text.parse().ok().filter(|limit| (1..=1000).contains(limit));
            let bad = || bad("`limit` must be a number from 1 to 1000".to_owned());
            to.as_mut().query.limit = limit.ok_or_else(bad)?;
            Ok(())
        },
    )
}

pub(super) const fn before<T: AsMut<Listing>>() -> Parameter<T> {
    text("before", "Cursor: `next` of the page before.", |to| {
        &mut to.as_mut().query.before
    })
}

pub(super) const fn format<T: AsMut<Listing>>() -> Parameter<T> {
    read("format", "`json` (default) or `csv`.", |to, text| {
        to.as_mut().csv = match text {
            "csv" => true,
            "json" => false,
            _ => return Err(bad("`format` is json or csv".to_owned())),
        };
        Ok(())
    })
}

const DAY_MS: i64 = 86_400_000;
/// Days of a report unless `from` says otherwise, today included.
const DEFAULT_DAYS: i64 = 30;

/// The time of a report: the last days unless told otherwise, and `most` of them where it looks
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

pub(super) fn one_status(to: &mut Listing, text: &str) -> Result<(), Rejection> {
    to.query.status = Some(status(text)?);
    Ok(())
}

pub(super) fn one_outcome(to: &mut Listing, text: &str) -> Result<(), Rejection> {
    to.query.outcome = Some(outcome(text)?);
    Ok(())
}

/// `name` or `name:value`.
pub(super) fn header(text: &str) -> (String, Option<String>) {
    match text.split_once(':') {
        Some((name, value)) => (name.to_ascii_lowercase(), Some(value.trim().to_owned())),
        None => (text.to_ascii_lowercase(), None),
    }
}

/// A UTC date, or a time as in RFC 3339, in unix milliseconds.
fn time(name: &str, text: &str) -> Result<i64, Rejection> {
    let date = || {
        let date: jiff::civil::Date = text.parse().ok()?;
        let midnight = jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0));
        Some(midnight.ok()?.as_millisecond())
    };
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond)
        .or_else(date)
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

    #[test]
    fn times_are_dates_or_instants() {
        assert_eq!(time("from", "1970-01-02").unwrap(), DAY_MS);
        assert_eq!(time("from", "1970-01-01T00:00:01Z").unwrap(), 1000);
        assert_eq!(time("from", "1970-01-01T01:00:00+01:00").unwrap(), 0);
        assert!(time("from", "yesterday").is_err());
    }

    #[test]
    fn parameters_are_known_once_and_decoded() {
        let usage = super::super::records::usage::PARAMETERS;
        let given = Given::in_query(&usage, "model=a%2Fb&model=c+d&by=day").unwrap();
        assert_eq!(
            given.0,
            [
                ("model", "a/b".to_owned()),
                ("model", "c d".to_owned()),
                ("by", "day".to_owned())
            ]
        );
        for query in ["modle=a", "by=day&by=hour", "by=%ff", "by=%zz", "by=%"] {
            assert!(Given::in_query(&usage, query).is_err(), "{query}");
        }
    }
}
