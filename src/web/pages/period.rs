//! The time that a page tells of: the last days, or whatever dates were given. Days are UTC, as
//! in all sums.

use maud::Markup;

use super::query::{PLACES, Query};
use super::{format, parts};
use crate::base::clock;
use crate::web::api::parameters::midnight;

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// Name in the address, on the page, and days.
const USUAL: [(&str, &str, i64); 4] = [
    ("1", "24 hours", 1),
    ("7", "7 days", 7),
    ("30", "30 days", 30),
    ("90", "90 days", 90),
];

/// Days of a chart at most.
const MOST_DAYS: i64 = 400;

/// A time, by days or by hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    /// Unix milliseconds.
    pub from: i64,
    /// The end, not included.
    pub to: i64,
    /// The last day, told by hours.
    pub by_hours: bool,
}

impl Period {
    /// What a query asks for: `from` and `through`, both included, else the last `days`.
    pub(super) fn of(query: &Query) -> Self {
        Self::at(query, clock::unix_ms())
    }

    fn at(query: &Query, now: i64) -> Self {
        let tomorrow = (now.div_euclid(DAY_MS) + 1) * DAY_MS;
        let from = query.get("from").and_then(midnight);
        let through = query.get("through").and_then(midnight);
        if from.is_some() || through.is_some() {
            let to = through.map_or(tomorrow, |day| day.saturating_add(DAY_MS));
            let earliest = to.saturating_sub(MOST_DAYS * DAY_MS);
            let from = from
                .unwrap_or(to - 30 * DAY_MS)
                .clamp(earliest, to - DAY_MS);
            return Self {
                from,
                to,
                by_hours: false,
            };
        }
        let days = query.get("days").unwrap_or("30");
        let found = USUAL.iter().find(|(name, ..)| *name == days);
        let days = found.map_or(30, |(_, _, days)| *days);
        if days == 1 {
            let to = (now.div_euclid(HOUR_MS) + 1) * HOUR_MS;
            return Self {
                from: to - DAY_MS,
                to,
                by_hours: true,
            };
        }
        Self {
            from: tomorrow - days * DAY_MS,
            to: tomorrow,
            by_hours: false,
        }
    }

    /// Whole days, the last `most` of them at most.
    pub(super) fn whole_days(self, most: i64) -> Self {
        let to = (self.to - 1).div_euclid(DAY_MS) * DAY_MS + DAY_MS;
        let from = self.from.div_euclid(DAY_MS) * DAY_MS;
        Self {
            from: from.max(to - most * DAY_MS),
            to,
            by_hours: false,
        }
    }

    /// The dimension of time in a report.
    pub(super) fn step(self) -> &'static str {
        if self.by_hours { "hour" } else { "day" }
    }

    /// The query of a report for this time.
    pub(super) fn put_into(self, query: &Query) -> Query {
        query
            .without(&["from", "to", "through", "days"])
            .with("from", &format::rfc3339(self.from))
            .with("to", &format::rfc3339(self.to))
    }

    /// The keys of its steps, as reports name them.
    pub(super) fn steps(self) -> Vec<String> {
        let step = if self.by_hours { HOUR_MS } else { DAY_MS };
        let count = (self.to - self.from) / step;
        let names = (0..count).map(|nth| {
            let text = format::rfc3339(self.from + nth * step);
            if self.by_hours {
                format!("{}:00Z", text.get(..13).unwrap_or_default())
            } else {
                text.chars().take(10).collect()
            }
        });
        names.collect()
    }

    /// How a chart shows a step's key.
    pub(super) fn label(self, key: &str) -> String {
        if self.by_hours {
            key.get(5..16).unwrap_or(key).replace('T', " ")
        } else {
            key.to_owned()
        }
    }

    /// In words.
    pub(super) fn words(self) -> String {
        if self.by_hours {
            return "the last 24 hours".to_owned();
        }
        format!(
            "{} to {}",
            format::date(self.from),
            format::date(self.to - 1)
        )
    }

    /// The choice of another.
    pub(super) fn choice(path: &str, query: &Query) -> Markup {
        let custom = query.get("from").is_some() || query.get("through").is_some();
        let days = query.get("days").unwrap_or("30");
        let query = query.without(&["from", "through"]).without(PLACES);
        let all = USUAL.map(|(name, shown, _)| (name, shown));
        let views = parts::views(&query, path, "days", all, if custom { "" } else { days });
        parts::choice("Time", &views)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 20_000 * DAY_MS + DAY_MS / 2;

    fn at(query: &str) -> Period {
        Period::at(&Query::parse(query), NOON)
    }

    #[test]
    fn days_are_whole_and_today_is_one() {
        let week = at("days=7");
        assert_eq!((week.from, week.to), (19_994 * DAY_MS, 20_001 * DAY_MS));
        assert_eq!(week.steps().len(), 7);
        assert_eq!(at(""), at("days=30"));
        assert_eq!(at("days=1").steps().len(), 24);
    }

    #[test]
    fn dates_are_both_included_and_nonsense_is_bounded() {
        let two = at("from=2024-10-01&through=2024-10-02");
        assert_eq!(two.steps(), ["2024-10-01", "2024-10-02"]);
        let backwards = at("from=2024-10-02&through=2024-10-01");
        assert_eq!(backwards.steps(), ["2024-10-01"]);
        let long = at("from=1970-01-01&through=2024-10-01");
        assert_eq!(long.steps().len(), 400);
        assert_eq!(at("from=yesterday"), at(""));
    }
}
