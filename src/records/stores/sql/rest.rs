//! The part of an entry that entries aren't looked up by: one JSON array, in the column `rest` of its row.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Failure;
use crate::base::quick_hash::QuickHash;
use crate::base::reasons::Reason;
use crate::records::journal::packed::unpacked::{Journaled, JournaledEntry};
use crate::records::reports::sums::{COUNTS, cost, counts, sound};

/// The array as it is written, in the order in which the view `entries` reads it.
#[derive(Serialize)]
struct Written<'r>(
    &'r str,
    &'r [&'r str],
    &'r str,
    &'r str,
    &'r str,
    u8,
    [Option<i64>; COUNTS],
    u8,
    Option<i64>,
    Option<&'r str>,
    Option<&'r str>,
    u32,
    Option<f64>,
    Option<f64>,
    f64,
    Option<f64>,
    u64,
    u64,
    &'r str,
    &'r RawValue,
    Option<&'r str>,
    Option<[Option<i64>; 3]>,
    u8,
);

/// The same as it is read.
#[derive(Deserialize)]
pub(super) struct Read(
    pub(super) String,
    pub(super) Vec<String>,
    pub(super) String,
    pub(super) String,
    pub(super) String,
    pub(super) u8,
    pub(super) [Option<i64>; COUNTS],
    pub(super) u8,
    pub(super) Option<i64>,
    pub(super) Option<String>,
    pub(super) Option<String>,
    pub(super) u32,
    pub(super) Option<f64>,
    pub(super) Option<f64>,
    pub(super) f64,
    pub(super) Option<f64>,
    pub(super) u64,
    pub(super) u64,
    pub(super) String,
    pub(super) Vec<Reason>,
    pub(super) Option<String>,
    /// Counts of sound, which records from before don't have.
    #[serde(default)]
    pub(super) Option<[Option<i64>; 3]>,
    /// Not there in entries from before version 12 of the schema.
    #[serde(default)]
    pub(super) u8,
);

/// What reports take of it.
#[derive(Deserialize)]
pub(super) struct Summed(
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    pub(super) [Option<i64>; COUNTS],
    serde::de::IgnoredAny,
    pub(super) Option<i64>,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    pub(super) Option<f64>,
    pub(super) f64,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    serde::de::IgnoredAny,
    #[serde(default)] serde::de::IgnoredAny,
    #[serde(default)] pub(super) u8,
);

/// The rest of records, as JSON: one text behind the other.
pub(super) struct Rests {
    json: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Rests {
    pub(super) fn of(records: &[&Journaled<'_>]) -> Result<Rests, Failure> {
        let mut json = Vec::with_capacity(REST * records.len());
        let mut ends = Vec::with_capacity(records.len());
        // Reasons come again and again, and are checked once.
        let mut checked: HashMap<usize, &RawValue, QuickHash> = HashMap::default();
        for one in records {
            let reasons = match checked.entry(one.reasons.number) {
                Occupied(checked) => *checked.get(),
                Vacant(new) => *new.insert(serde_json::from_str(one.reasons.text).map_err(wrong)?),
            };
            write_rest(&one.entry, reasons, &mut json)?;
            ends.push(json.len());
        }
        let json = String::from_utf8(json).map_err(wrong)?;
        Ok(Rests { json, ends }.without_zeros())
    }

    /// The rest of the record at a place.
    pub(super) fn of_nth(&self, nth: usize) -> &str {
        let start = nth.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.json[start..self.ends[nth]]
    }

    fn without_zeros(self) -> Rests {
        if memchr::memmem::find(self.json.as_bytes(), ZERO.as_bytes()).is_none() {
            return self;
        }
        let (mut json, mut ends) = (String::new(), Vec::new());
        for nth in 0..self.ends.len() {
            json += &without_zeros(self.of_nth(nth));
            ends.push(json.len());
        }
        Rests { json, ends }
    }
}

/// Bytes that are expected of each.
const REST: usize = 400;

fn wrong(error: impl std::fmt::Display) -> Failure {
    Failure::Value(error.to_string())
}

fn write_rest(
    entry: &JournaledEntry<'_>,
    reasons: &RawValue,
    to: &mut Vec<u8>,
) -> Result<(), Failure> {
    let finite = |ms: Option<f64>| ms.filter(|ms| ms.is_finite());
    let most = |count: u64| count.min(i64::MAX.cast_unsigned());
    let written = Written(
        &entry.node_name,
        &entry.tags,
        &entry.model_requested,
        &entry.method,
        &entry.path,
        entry.stream.into(),
        counts(&entry.tokens),
        entry.tokens.estimated.into(),
        cost(entry.cost),
        entry.cost_basis.as_deref(),
        entry.finish_reason,
        entry.tool_calls,
        finite(entry.first_byte_ms),
        finite(entry.first_token_ms),
        finite(Some(entry.duration_ms)).unwrap_or(0.0),
        finite(entry.overhead_ms),
        most(entry.request_bytes),
        most(entry.response_bytes),
        &entry.user_agent,
        reasons,
        entry.error,
        sound(&entry.tokens),
        entry.own_credential.0.into(),
    );
    serde_json::to_writer(to, &written).map_err(wrong)
}

/// JSON whose texts have no zero characters: `PostgreSQL` reads none that has.
fn without_zeros(json: &str) -> Cow<'_, str> {
    let mut left = json;
    let mut changed = String::new();
    while let Some(found) = memchr::memmem::find(left.as_bytes(), ZERO.as_bytes()) {
        let (before, rest) = left.split_at(found);
        // A backslash that follows another one is a character of the text.
        let escaping = before.bytes().rev().take_while(|byte| *byte == b'\\');
        let is_zero = escaping.count() % 2 == 0;
        changed.push_str(before);
        changed.push_str(if is_zero { "\\ufffd" } else { ZERO });
        left = &rest[ZERO.len()..];
    }
    if changed.is_empty() {
        return json.into();
    }
    (changed + left).into()
}

/// A zero character in JSON.
const ZERO: &str = "\\u0000";

#[cfg(test)]
mod tests {
    use super::super::row::measured;
    use super::super::value::{Row, Value};
    use super::*;
    use crate::records::Record;
    use crate::records::entry::tests::entry;
    use crate::records::journal::packed::Texts;
    use crate::records::journal::packed::tests::unpacked;
    use crate::records::journal::retention::Policy;
    use crate::records::reports::sums::Measured;

    #[test]
    fn json_loses_its_zero_characters_and_nothing_else() {
        let plain = r#"["a\\u0000","\\\\u0000"]"#;
        assert_eq!(without_zeros(plain), plain);
        for text in ["\0", "a\0\0b", "\\\0\\u0000\0", "\\\\\0\u{fffd}"] {
            let json = serde_json::to_string(text).unwrap();
            let json = without_zeros(&json);
            let read: String = serde_json::from_str(&json).unwrap();
            assert_eq!(read, text.replace('\0', "\u{fffd}"));
        }
    }

    #[test]
    fn what_reports_take_stands_where_it_is_read() {
        let mut one = entry(5, "ann@example.com", "s");
        one.first_token_ms = Some(7.5);
        one.error = Some("a zero: \0".to_owned());
        one.own_credential = true;
        let (one, other) = (Record::from(one), entry(6, "bob@example.com", "t").into());
        let row = unpacked(&[&other, &one], &Policy::default());
        let mut read = Vec::new();
        row.read_into(&mut Texts::default(), &mut read).unwrap();
        let records: Vec<&Journaled<'_>> = read.iter().collect();
        let rests = Rests::of(&records).unwrap();
        let one = &records[1].entry;
        let values = vec![
            Value::text(one.outcome.as_str()),
            Value::Text(rests.of_nth(1).into()),
        ];
        let mut row = Row::new(values.into_iter().map(Value::into_owned).collect());
        let read = measured(&mut row).unwrap();
        let expected = Measured::of(one);
        assert_eq!(read.outcome, expected.outcome);
        assert_eq!((read.counts, read.cost), (expected.counts, expected.cost));
        assert_eq!(read.duration_ms, expected.duration_ms);
        assert_eq!(read.first_token_ms, expected.first_token_ms);
        assert!(read.own_credential && expected.own_credential);
    }
}
