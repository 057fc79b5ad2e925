//! The section `database`: where records are kept, what of them, and for how long.

use std::time::Duration;

use super::address;
use super::table::{self, Item, Table};
use crate::base::secret::Secret;

/// The shortest and the longest time that captures may be kept, zero aside.
const RETENTION: std::ops::RangeInclusive<Duration> =
    Duration::from_hours(1)..=Duration::from_hours(3_650 * 24);

/// Where records are kept, and for how long.
#[derive(Clone, Debug)]
pub struct Database {
    /// `sqlite:PATH`, where a relative path begins in the state directory, or `postgres://…`.
    pub url: Secret,
    /// How long captures are kept.
    pub retention: Retention,
    /// Whether a capture holds the answer as it came, besides the one put together.
    pub save_raws: bool,
    /// Whether a capture keeps what a provider has encrypted for itself.
    pub keep_encrypted_blobs: bool,
    /// Headers by which records can be filtered.
    pub filterable: Vec<Filterable>,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: Secret::new("sqlite:iris.db".to_owned()),
            retention: Retention::default(),
            save_raws: false,
            keep_encrypted_blobs: false,
            filterable: Vec::new(),
        }
    }
}

/// A header by which records can be filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filterable {
    /// Its name, in any case.
    pub name: String,
    /// Whether only its presence is recorded.
    pub redact_values: bool,
}

/// How long captures are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// From the start of the request on; `None` is for ever, zero never writes them.
    pub duration: Option<Duration>,
    /// Purge only what every exporter has taken.
    pub require_export: bool,
    /// Whether captures are purged.
    pub captures: bool,
    /// Whether the calls of tools are purged.
    pub tools: bool,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            duration: None,
            require_export: false,
            captures: true,
            tools: false,
        }
    }
}

pub(super) fn read(table: &Table<'_>) -> Database {
    let mut read = Database {
        save_raws: table.boolean("save_raws").unwrap_or_default(),
        keep_encrypted_blobs: table.boolean("keep_encrypted_blobs").unwrap_or_default(),
        ..Database::default()
    };
    if let Some(url) = table.string("url") {
        let url = url.trim();
        if let Some(problem) = address::database_problem(url) {
            let path = format!("{}.url", table.path);
            let message = format!("invalid database URL: {problem}");
            table.findings.error(table.position("url"), &path, message);
        }
        read.url = Secret::new(url.to_owned());
    }
    if let Some(table) = table.table("retention") {
        read.retention = retention(&table);
        table.finish();
    }
    if let Some(headers) = table.table("headers") {
        let entries = headers.get("filterable").and_then(|item| item.items());
        read.filterable = entries
            .into_iter()
            .flatten()
            .filter_map(|item| filterable(&item))
            .collect();
        headers.finish();
    }
    read
}

fn retention(table: &Table<'_>) -> Retention {
    let error = |key: &str, message: String| {
        let path = format!("{}.{key}", table.path);
        table.findings.error(table.position(key), &path, message);
    };
    let mut read = Retention {
        require_export: table.boolean("require_export").unwrap_or_default(),
        ..Retention::default()
    };
    if let Some(text) = table.string("duration").filter(|text| !text.is_empty()) {
        match table::duration(&text) {
            Some(kept) if kept.is_zero() || RETENTION.contains(&kept) => read.duration = Some(kept),
            Some(_) => error(
                "duration",
                format!("{text:?} is not \"0\" and not between one hour and 3650 days"),
            ),
            None => error(
                "duration",
                format!("invalid duration {text:?}; write \"30d\" or \"720h\", at most 3650 days"),
            ),
        }
    }
    if let Some(purge) = table.strings("purge") {
        read.captures = purge.iter().any(|what| what == "captures");
        read.tools = purge.iter().any(|what| what == "tools");
        for what in purge {
            if what != "captures" && what != "tools" {
                let message = format!("{what:?} can't be purged; \"captures\" and \"tools\" can");
                error("purge", message);
            }
        }
    }
    if read.duration == Some(Duration::ZERO) && read.require_export {
        table.findings.warn(
            table.position("require_export"),
            &table.path,
            "with a duration of \"0\" nothing is written, so nothing waits for an export",
        );
    }
    read
}

fn filterable(item: &Item<'_>) -> Option<Filterable> {
    let table = item.table()?;
    let read = Filterable {
        name: table.string("name").unwrap_or_default(),
        redact_values: table.boolean("redact_values").unwrap_or_default(),
    };
    table.finish();
    if http::HeaderName::from_bytes(read.name.as_bytes()).is_err() {
        let message = format!("{:?} is not the name of a header", read.name);
        item.findings.warn(item.node.at, &item.path, message);
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
            assert!((read.captures, read.tools) == (true, false));
        }
        let both = retention(r#"{"purge": ["captures", "tools"]}"#);
        assert!(both.captures && both.tools);
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
