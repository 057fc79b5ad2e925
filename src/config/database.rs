//! The section `database`: where records are kept, what of them, and for how long.

use std::time::Duration;

use serde_json::json;

use super::address;
use super::declare::{Holds, Kind, Way};
use super::section;
use super::table::{self, Table};
use crate::base::secret::Secret;

/// The shortest and the longest time that captures may be kept, zero aside.
const RETENTION: std::ops::RangeInclusive<Duration> =
    Duration::from_hours(1)..=Duration::from_hours(3_650 * 24);

section! {
    /// Where records are kept, and for how long.
    #[derive(Clone, Debug)]
    pub struct Database {
        /// `sqlite:PATH`, where a relative path begins in the state directory, or `postgres://…`.
        #[key(start = without_password, holds = Holds::Webhook)]
        url: Secret = Secret::new("sqlite:iris.db".to_owned()) => URL,
        /// How long what was said is kept.
        retention: Retention,
        /// Whether a capture holds the answer as it came, besides the one put together.
        save_raws: bool,
        /// Whether a capture keeps what a provider has encrypted for itself.
        keep_encrypted_blobs: bool,
        /// Headers by which records can be found.
        // Something misplaced here may be a header with its value.
        #[key(holds = Holds::Headers)]
        headers: Headers,
    }
}

section! {
    /// Headers by which records can be found.
    #[derive(Clone, Debug)]
    pub struct Headers {
        /// Which.
        filterable: Vec<Filterable>,
    }
}

section! {
    /// A header by which records can be found.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Filterable {
        /// Name of the header.
        // In any case.
        #[key(required)]
        name: String,
        /// Whether only its presence is recorded.
        redact_values: bool,
    }
    check: check_header
}

section! {
    /// How long captures are kept.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Retention {
        /// From the start of a request on: `"30d"`, `"720h"`; `"0"` writes nothing, `""` keeps for ever.
        #[key(example = r#""30d""#)]
        duration: Option<Duration> => KEPT,
        /// Purge only what every exporter has taken.
        require_export: bool,
        /// What is purged.
        #[key(example = r#"["tools"]"#)]
        purge: Purge = Purge { captures: true, tools: false } => PURGED,
    }
    check: check_retention
}

impl Retention {
    /// How long what was said may be kept; `None` is for ever.
    #[must_use]
    pub fn of_captures(&self) -> Option<Duration> {
        self.duration.filter(|_| self.purge.captures)
    }
}

/// What is purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purge {
    /// Captures.
    pub captures: bool,
    /// The calls of tools.
    pub tools: bool,
}

/// The URL of a database.
const URL: Way<Secret> = Way::new(Kind::Text, |item| {
    let url = item.string()?.trim();
    if let Some(problem) = address::database_problem(url) {
        item.error(format!("invalid database URL: {problem}"));
    }
    Some(Secret::new(url.to_owned()))
})
.json(|url| {
    let default = Database::default().url;
    (*url == default).then(|| default.expose().into())
});

/// A URL without its password, which the ledger takes for new connections.
fn without_password(url: &Secret) -> (&str, &str) {
    let url = url.expose();
    let Some((scheme, rest)) = url.split_once("://") else {
        return ("", url);
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else {
        return ("", url);
    };
    let name = user.split(':').next().unwrap_or_default();
    (&url[..scheme.len() + 3 + name.len()], &rest[user.len()..])
}

/// A time for which something is kept: zero is never, none for ever.
const KEPT: Way<Option<Duration>> = Way::new(Kind::Text, |item| {
    let text = item.string().filter(|text| !text.is_empty())?;
    let read = table::duration(text);
    let problem = match read {
        Some(kept) if kept.is_zero() || RETENTION.contains(&kept) => return Some(read),
        Some(_) => format!("{text:?} is not \"0\" and not between one hour and 3650 days"),
        None => format!("invalid duration {text:?}; write \"30d\" or \"720h\", at most 3650 days"),
    };
    item.error(problem);
    None
})
.json(|kept| kept.is_none().then(|| "".into()));

/// A list of what is purged.
const PURGED: Way<Purge> = Way::new(Kind::List(&Kind::Word(&["captures", "tools"])), |item| {
    let mut read = Purge::default();
    for what in item.strings()? {
        match what.as_str() {
            "captures" => read.captures = true,
            "tools" => read.tools = true,
            _ => item.error(format!(
                "{what:?} can't be purged; \"captures\" and \"tools\" can"
            )),
        }
    }
    Some(read)
})
.json(|purge| {
    let all = [("captures", purge.captures), ("tools", purge.tools)];
    let purged = all.into_iter().filter(|(_, is_purged)| *is_purged);
    Some(purged.map(|(what, _)| json!(what)).collect())
});

fn check_retention(read: Retention, table: &Table<'_>) -> Retention {
    if read.duration == Some(Duration::ZERO) && read.require_export {
        table.warn_at(
            "require_export",
            "with a duration of \"0\" nothing is written, so nothing waits for an export",
        );
    }
    read
}

fn check_header(read: Filterable, table: &Table<'_>) -> Option<Filterable> {
    if http::HeaderName::from_bytes(read.name.as_bytes()).is_err() {
        table.warn(format!("{:?} is not the name of a header", read.name));
        return None;
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Finding, Severity, parse};

    fn findings(database: &str) -> Vec<Finding> {
        let text = format!(r#"{{"database": {database}}}"#);
        let loaded = parse(&text, &|_| None);
        let all = loaded.map_or_else(|findings| findings, |loaded| loaded.findings);
        all.into_iter()
            .filter(|finding| finding.path.starts_with("database"))
            .collect()
    }

    fn retention(text: &str) -> Retention {
        let text = format!(r#"{{"database": {{"retention": {text}}}}}"#);
        parse(&text, &|_| None).unwrap().file.database.retention
    }

    #[test]
    fn durations_of_both_notations_and_zero() {
        let days = |days: u64| Some(Duration::from_hours(days * 24));
        for (text, wanted) in [
            ("", None),
            ("0", Some(Duration::ZERO)),
            ("30d", days(30)),
            ("720h", days(30)),
            ("1h", Some(Duration::from_hours(1))),
            ("3650d", days(3_650)),
        ] {
            let read = retention(&format!(r#"{{"duration": "{text}"}}"#));
            assert_eq!(read.duration, wanted, "{text}");
            assert!((read.purge.captures, read.purge.tools) == (true, false));
        }
        let both = retention(r#"{"purge": ["captures", "tools"]}"#);
        assert!(both.purge.captures && both.purge.tools);
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        for text in [
            r#"{"retention": {"duration": "59m"}}"#,
            r#"{"retention": {"duration": "3651d"}}"#,
            r#"{"retention": {"duration": "a month"}}"#,
            r#"{"retention": {"purge": ["metrics"]}}"#,
        ] {
            let found = findings(text);
            assert!(
                matches!(&found[..], [one] if one.severity == Severity::Error),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn waiting_for_no_exporter_is_a_warning() {
        let found = findings(r#"{"retention": {"duration": "30d", "require_export": true}}"#);
        assert!(
            found[0].message.contains("nothing is ever purged"),
            "{found:?}"
        );
        assert!(findings(r#"{"retention": {"duration": "30d"}, "save_raws": true}"#).is_empty());
        let found = findings(r#"{"headers": {"filterable": [{"name": "X Team"}]}}"#);
        assert!(
            found[0].message.contains("not the name of a header"),
            "{found:?}"
        );
    }
}
