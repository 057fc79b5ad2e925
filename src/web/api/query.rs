//! Query parameters as questions to the ledger.

use http::StatusCode;

use super::routes::bad;
use crate::base::clock;
use crate::policy::access::Permit;
use crate::records::{Group, Outcome, Query, Report};
use crate::wire::Rejection;

/// Rows of a page unless `limit` says otherwise.
const DEFAULT_LIMIT: usize = 100;
const DAY_MS: i64 = 86_400_000;
/// Days of a report unless `from` says otherwise, today included.
const DEFAULT_DAYS: i64 = 30;

/// Known parameters with their decoded values.
pub(super) type Parameters = [(&'static str, String)];

/// A page of records.
pub(super) struct Wanted {
    pub query: Query,
    /// As CSV instead of JSON.
    pub csv: bool,
}

impl Wanted {
    pub(super) fn read(parameters: &Parameters) -> Result<Self, Rejection> {
        let mut query = Query {
            limit: DEFAULT_LIMIT,
            ..Query::default()
        };
        let mut csv = false;
        for (name, value) in parameters {
            let text = Some(value.clone());
            match *name {
                "login" => query.login = text,
                "node" => query.node = text,
                "session" => query.session = text,
                "model" => query.model = text,
                "provider" => query.provider = text,
                "agent" => query.agent = text,
                "api" => query.api = text,
                "tool" => query.tool = text,
                "before" => query.before = text,
                "status" => query.status = Some(status(value)?),
                "outcome" => query.outcome = Some(outcome(value)?),
                "header" => query.header = Some(header(value)),
                "from" => query.from = Some(time(name, value)?),
                "to" => query.to = Some(time(name, value)?),
                "limit" => query.limit = limit(value)?,
                "format" => csv = is_csv(value)?,
                _ => {}
            }
        }
        Ok(Self { query, csv })
    }
}

/// A report, and whether it is wanted as CSV.
pub(super) fn report(parameters: &Parameters) -> Result<(Report, bool), Rejection> {
    // Whole days: the sums of days answer at once, whatever the number of records.
    let tomorrow = (clock::unix_ms().div_euclid(DAY_MS) + 1) * DAY_MS;
    let mut report = Report {
        from: tomorrow - DEFAULT_DAYS * DAY_MS,
        to: tomorrow,
        ..Report::default()
    };
    let mut csv = false;
    for (name, value) in parameters {
        match *name {
            "by" => report.groups = groups(value)?,
            "login" => report.logins.push(value.clone()),
            "model" => report.models.push(value.clone()),
            "provider" => report.providers.push(value.clone()),
            "agent" => report.agents.push(value.clone()),
            "api" => report.apis.push(value.clone()),
            "status" => report.statuses.push(status(value)?),
            "outcome" => report.outcomes.push(outcome(value)?),
            "header" => {
                let (name, value) = header(value);
                report.header = Some(name);
                report.header_values.extend(value);
            }
            "from" => report.from = time(name, value)?,
            "to" => report.to = time(name, value)?,
            "format" => csv = is_csv(value)?,
            _ => {}
        }
    }
    if report.from >= report.to {
        return Err(bad("`from` must be before `to`".to_owned()));
    }
    Ok((report, csv))
}

/// The time of a question that looks at every record of it: the last days unless told otherwise,
/// and `most` of them.
pub(super) fn days(query: &Query, most: i64) -> Result<(i64, i64), Rejection> {
    let tomorrow = (clock::unix_ms().div_euclid(DAY_MS) + 1) * DAY_MS;
    let to = query.to.unwrap_or(tomorrow);
    let from = query.from.unwrap_or(to - DEFAULT_DAYS.min(most) * DAY_MS);
    if from >= to {
        return Err(bad("`from` must be before `to`".to_owned()));
    }
    if to.saturating_sub(from) > most * DAY_MS {
        return Err(bad(format!("this covers {most} days at most")));
    }
    Ok((from, to))
}

fn groups(text: &str) -> Result<Vec<Group>, Rejection> {
    let mut groups = Vec::new();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let group = Group::parse(name).ok_or_else(|| bad(format!("cannot group by {name:?}")))?;
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    Ok(groups)
}

fn status(text: &str) -> Result<u16, Rejection> {
    text.parse()
        .map_err(|_| bad("`status` must be the number of an HTTP status".to_owned()))
}

fn outcome(text: &str) -> Result<Outcome, Rejection> {
    Outcome::parse(text).ok_or_else(|| bad(format!("unknown outcome {text:?}")))
}

/// Refuses to filter by a header that no grant of the caller names: as in Aperture, being an
/// admin is not enough.
pub(super) fn permitted(parameters: &Parameters, permit: &Permit) -> Result<(), Rejection> {
    let named = parameters.iter().filter(|(name, _)| *name == "header");
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

/// `name` or `name:value`.
fn header(text: &str) -> (String, Option<String>) {
    match text.split_once(':') {
        Some((name, value)) => (name.to_ascii_lowercase(), Some(value.trim().to_owned())),
        None => (text.to_ascii_lowercase(), None),
    }
}

fn limit(text: &str) -> Result<usize, Rejection> {
    text.parse()
        .ok()
        .filter(|limit| (1..=1000).contains(limit))
        .ok_or_else(|| bad("`limit` must be a number from 1 to 1000".to_owned()))
}

fn is_csv(text: &str) -> Result<bool, Rejection> {
    match text {
        "csv" => Ok(true),
        "json" => Ok(false),
        _ => Err(bad("`format` is json or csv".to_owned())),
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
    fn a_report_covers_whole_days_unless_told_otherwise() {
        let (report, csv) = report(&[("by", "day,model".to_owned())]).unwrap();
        assert_eq!(report.groups, [Group::Day, Group::Model]);
        assert_eq!(report.to - report.from, DEFAULT_DAYS * DAY_MS);
        assert!(report.to % DAY_MS == 0 && !csv);
        let bad = [("from", "2026-01-02"), ("to", "2026-01-01")];
        let bad = bad.map(|(name, value)| (name, value.to_owned()));
        assert!(super::report(&bad).is_err());
    }
}
