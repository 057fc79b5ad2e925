//! The section `quotas`: budgets and limits by bucket name.
//!
//! A definition that cannot be understood stays in the configuration and refuses every request
//! that it governs: a typing mistake must not turn a budget off.

use super::declare::{Kind, Section, Setting, Way};
use super::finding::{Finding, Severity};
use super::section;
use super::table::Item;
use crate::base::bucket::{Terms, Unit};
use crate::base::labels;
use crate::base::money::Money;

const MINUTE: i64 = 60_000;

/// Time units of rates, in milliseconds.
const PER: [(&str, i64); 5] = [
    ("min", MINUTE),
    ("hour", 60 * MINUTE),
    ("day", 24 * 60 * MINUTE),
    ("week", 7 * 24 * 60 * MINUTE),
    ("month", 30 * 24 * 60 * MINUTE),
];

/// A budget or a limit: what its buckets may hold, or what is wrong with it.
pub type Quota = Result<Terms, String>;

section! {
    /// A budget or a limit, as it is written.
    struct Definition {
        /// The most that a bucket holds: `"$5.00"`, `"60 requests"`, `"100000 tokens"` or `"4 parallel"`.
        #[key(required, example = r#""60 requests""#)]
        capacity: Option<String>,
        /// What flows in, such as `"$5.00/day"`; per `min`, `hour`, `day`, `week` or `month`.
        #[key(example = r#""60 requests/min""#)]
        rate: String,
        /// What happens when it is empty.
        on_exceed: String = "reject".to_owned() => Way::words(&["reject", ""]),
        /// A share (`"20%"`) or an amount below which answers carry a warning.
        #[key(example = r#""20%""#)]
        warn_below: Option<String>,
        /// What happens to models without a known price.
        unpriced: String = "allow".to_owned() => Way::words(&["allow", "reject", ""]),
    }
}

impl Setting for Quota {
    const KIND: Kind = Definition::KIND;

    fn read(item: &Item<'_>) -> Option<Self> {
        let name = item.key;
        let written = item.table().and_then(Definition::of);
        let quota = written
            .ok_or_else(|| "expected an object".to_owned())
            .and_then(|written| template(name).and_then(|()| terms(&written)));
        if let Err(details) = &quota {
            let message = if template(name).is_err() {
                format!("quota \"{name}\": {details}")
            } else {
                format!("quota {name}: {details}")
            };
            let finding = Finding::new(Severity::Warning, item.node.at, &item.path, message);
            let hint = "until this is fixed, requests charged to it are refused";
            item.findings.add(finding.hint(hint));
        }
        Some(quota)
    }
}

/// Whether what follows a colon in the name of a bucket stands for something: for the caller, or for a label
/// of the request.
pub(super) fn is_template(after: &str) -> bool {
    matches!(after, "<user>" | "<node>") || labels::placeholder(after).is_some()
}

fn template(name: &str) -> Result<(), String> {
    match name.split_once(':') {
        None => Ok(()),
        Some((_, after)) if is_template(after) => Ok(()),
        Some((_, template)) => Err(format!(
            "quota name \"{name}\" has unsupported template \"{template}\" after colon"
        )),
    }
}

fn terms(written: &Definition) -> Quota {
    let capacity = written.capacity.as_deref().ok_or("it has no capacity")?;
    let (unit, capacity) = amount(capacity).ok_or_else(|| {
        format!(
            "capacity {capacity:?} is not of the form \"$5.00\", \"60 requests\", \
             \"100000 tokens\" or \"4 parallel\""
        )
    })?;
    let (rate, per) = match written.rate.as_str() {
        "" => (0, MINUTE),
        _ if unit == Unit::Parallel => {
            return Err("what runs in parallel has no rate".to_owned());
        }
        text => flow(text, unit).ok_or_else(|| {
            format!(
                "rate {text:?} is not of the form \"{}/day\" (min, hour, day, week, month)",
                example(unit)
            )
        })?,
    };
    let other = &written.on_exceed;
    if !matches!(other.as_str(), "" | "reject") {
        return Err(format!("on_exceed is \"reject\", not {other:?}"));
    }
    let warn_below = match &written.warn_below {
        None => 0,
        Some(text) => threshold(text, unit, capacity).ok_or_else(|| {
            format!(
                "warn_below {text:?} is neither a share such as \"20%\" nor an amount such as {:?}",
                example(unit)
            )
        })?,
    };
    let refuses_unpriced = match written.unpriced.as_str() {
        "" | "allow" => false,
        "reject" => true,
        other => {
            return Err(format!(
                "unpriced is \"allow\" or \"reject\", not {other:?}"
            ));
        }
    };
    Ok(Terms {
        unit,
        capacity,
        rate,
        per,
        warn_below,
        refuses_unpriced,
    })
}

/// `$5.00`, `60 requests`, `100000 tokens`, `4 parallel`.
#[must_use]
pub fn amount(text: &str) -> Option<(Unit, i64)> {
    if text.starts_with('$') {
        return Some((Unit::Money, Money::parse(text)?.nanodollars()));
    }
    let (count, word) = text.split_once(' ')?;
    let unit = match word {
        "request" | "requests" => Unit::Requests,
        "token" | "tokens" => Unit::Tokens,
        "parallel" => Unit::Parallel,
        _ => return None,
    };
    let digits = count.bytes().all(|byte| byte.is_ascii_digit());
    Some((unit, count.parse().ok().filter(|_| digits)?))
}

fn flow(text: &str, unit: Unit) -> Option<(i64, i64)> {
    let (text, per) = text.split_once('/')?;
    let (_, per) = PER.into_iter().find(|(word, _)| *word == per)?;
    let (of, amount) = amount(text)?;
    (of == unit).then_some((amount, per))
}

fn threshold(text: &str, unit: Unit, capacity: i64) -> Option<i64> {
    if let Some(share) = text.strip_suffix('%') {
        let share: i64 = share
            .parse()
            .ok()
            .filter(|share| (0..=100).contains(share))?;
        return i64::try_from(i128::from(capacity) * i128::from(share) / 100).ok();
    }
    let (of, amount) = amount(text)?;
    (of == unit).then_some(amount)
}

fn example(unit: Unit) -> &'static str {
    match unit {
        Unit::Money => "$5.00",
        Unit::Requests => "60 requests",
        Unit::Tokens => "100000 tokens",
        Unit::Parallel => "4 parallel",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn one(name: &str, definition: &str) -> (Quota, Vec<String>) {
        let text = format!(r#"{{"quotas":{{{name:?}:{definition}}}}}"#);
        let mut loaded = config::parse(&text, &|_| None).unwrap();
        let messages = loaded.findings.iter().map(|one| one.message.clone());
        let messages = messages.filter(|text| text.contains("quota")).collect();
        (loaded.file.quotas.shift_remove(name).unwrap(), messages)
    }

    #[test]
    fn budgets_and_limits_are_read() {
        let (quota, messages) = one(
            "daily:<user>",
            r#"{"capacity":"$10.00","rate":"$5.00/day","on_exceed":"reject","warn_below":"20%"}"#,
        );
        let expected = Terms {
            unit: Unit::Money,
            capacity: 10_000_000_000,
            rate: 5_000_000_000,
            per: 86_400_000,
            warn_below: 2_000_000_000,
            refuses_unpriced: false,
        };
        assert_eq!((quota, messages), (Ok(expected), vec![]));
        let (quota, _) = one(
            "rpm",
            r#"{"capacity":"60 requests","rate":"60 requests/min","unpriced":"reject"}"#,
        );
        let quota = quota.unwrap();
        assert_eq!((quota.unit, quota.rate), (Unit::Requests, 60));
        assert!(quota.refuses_unpriced);
        let (quota, _) = one("open:<node>", r#"{"capacity":"4 parallel"}"#);
        assert_eq!(quota.unwrap().unit, Unit::Parallel);
    }

    #[test]
    fn what_cannot_be_understood_is_found_and_kept_as_broken() {
        for (name, definition, part) in [
            (
                "q",
                r#"{"capacity":"5"}"#,
                "capacity \"5\" is not of the form",
            ),
            ("q", r#"{"rate":"$1/day"}"#, "it has no capacity"),
            (
                "q",
                r#"{"capacity":"$1","rate":"$1/year"}"#,
                "rate \"$1/year\"",
            ),
            (
                "q",
                r#"{"capacity":"$1","rate":"5 tokens/day"}"#,
                "rate \"5 tokens/day\"",
            ),
            ("q", r#"{"capacity":"+5 tokens"}"#, "capacity"),
            (
                "q",
                r#"{"capacity":"2 parallel","rate":"2 parallel/min"}"#,
                "no rate",
            ),
            ("q", r#"{"capacity":"$1","on_exceed":"warn"}"#, "on_exceed"),
            (
                "q",
                r#"{"capacity":"$1","warn_below":"120%"}"#,
                "warn_below",
            ),
            ("q", r#"{"capacity":"$1","unpriced":"free"}"#, "unpriced"),
            ("q", r"[]", "quota"),
            (
                "d:<team>",
                r#"{"capacity":"$1"}"#,
                "quota \"d:<team>\": quota name \"d:<team>\" has unsupported template \"<team>\" after colon",
            ),
        ] {
            let (quota, messages) = one(name, definition);
            assert!(quota.is_err(), "{definition}");
            assert!(
                messages.iter().any(|message| message.contains(part)),
                "{definition}: {messages:?}"
            );
        }
    }
}
