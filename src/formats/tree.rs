//! JSON of providers, read so that one odd value loses nothing else: keys given twice, counts
//! written as other numbers, texts and numbers that no parser accepts.

use std::fmt;
use std::ops::ControlFlow;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::wire::json::{Oddities, Outline, Part, Sieve};

/// What an element of a list or a member of an object costs beside its text: a stream of
/// nothing but empty pieces must come to an end too.
pub(super) const OVERHEAD: usize = 32;
/// Members that counts may have, and bytes of one.
const MAX_COUNTS: usize = 64;
const MAX_COUNT: usize = 2048;
/// A document up to here is read whole.
const MAX_WHOLE: usize = 64 * 1024;
/// No response has as many tokens: a higher count is a fault of the server, and would empty a
/// budget for ever. A double holds it exactly.
const MAX_TOKENS: u64 = 1 << 40;

/// Reports that some servers give as a list; their sum counts.
const REPORTS: [&str; 2] = ["usage", "usageMetadata"];

/// The outline of a document that can be read as it is. Of any other, [`object`] makes one that can.
pub(super) fn outlined<'a>(outline: &'a mut Outline, data: &'a [u8]) -> Option<Part<'a>> {
    outline.of(data, Oddities::Refused(&REPORTS))
}

/// What `read` finds in a document, if that is an object.
pub(super) fn read<R>(data: &[u8], read: impl FnOnce(Part<'_>) -> R) -> Option<R> {
    let mut outline = Outline::default();
    if let Some(whole) = outlined(&mut outline, data) {
        return Some(read(whole));
    }
    read_object(&object(data)?, read)
}

/// The same for one of which a reduced copy is enough.
pub(super) fn read_reduced<R>(data: &[u8], read: impl FnOnce(Part<'_>) -> R) -> Option<R> {
    if data.len() <= MAX_WHOLE {
        return self::read(data, read);
    }
    read_object(&sieved(data)?, read)
}

/// The same for an object that was put together.
pub(super) fn read_object<R>(
    object: &Map<String, Value>,
    read: impl FnOnce(Part<'_>) -> R,
) -> Option<R> {
    let plain = serde_json::to_vec(object).ok()?;
    let mut outline = Outline::default();
    outline.of(&plain, Oddities::Ignored).map(read)
}

/// The members of a document, if it is an object.
pub(super) fn object(data: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice::<Tree>(data) {
        Ok(Tree(value)) => members(value),
        Err(_) => sieved(data),
    }
}

/// The members of a document of which a reduced copy is enough.
pub(super) fn reduced(data: &[u8]) -> Option<Map<String, Value>> {
    if data.len() <= MAX_WHOLE {
        return object(data);
    }
    sieved(data)
}

/// The members of a document without what no parser accepts.
fn sieved(data: &[u8]) -> Option<Map<String, Value>> {
    let mut sieve = Sieve::default();
    sieve.feed(data, &mut |_| {});
    if !sieve.is_complete() {
        return None;
    }
    let Tree(value) = serde_json::from_slice(&sieve.finish()).ok()?;
    members(value)
}

/// The elements of the array that a path of keys leads to; none of any other value.
pub(super) fn list<'a>(of: Part<'a>, path: &str) -> impl Iterator<Item = Part<'a>> + Clone {
    of.at(path).into_iter().flat_map(Part::elements)
}

/// The elements of an array; none of any other value.
pub(super) fn elements(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Calls `each` with the elements of an array, one after the other, until it breaks off. Anything but
/// an array has none.
pub(super) fn each<'a>(array: &'a [u8], each: impl FnMut(&'a RawValue) -> ControlFlow<()>) {
    struct Elements<F>(F);

    impl<'de, F: FnMut(&'de RawValue) -> ControlFlow<()>> Visitor<'de> for Elements<F> {
        type Value = ();

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(element) = list.next_element::<&'de RawValue>()? {
                if (self.0)(element).is_break() {
                    return Err(A::Error::custom("enough"));
                }
            }
            Ok(())
        }
    }

    let _ = serde_json::Deserializer::from_slice(array).deserialize_seq(Elements(each));
}

/// A count of tokens. Some servers write them as `12.0`, as averages, or as text.
pub(super) fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| rounded(number.as_f64()?)),
        Value::String(text) => digits(text),
        _ => None,
    }
    .filter(|count| *count <= MAX_TOKENS)
}

/// The same in an outline.
pub(super) fn counted(part: Part<'_>) -> Option<u64> {
    if part.is_number() {
        let whole = part.whole();
        whole.or_else(|| rounded(part.raw().parse().ok()?))
    } else {
        digits(&part.text()?)
    }
    .filter(|count| *count <= MAX_TOKENS)
}

fn rounded(number: f64) -> Option<u64> {
    let is_count = number >= 0.0;
    is_count.then(|| format!("{:.0}", number.abs().round()).parse().ok())?
}

fn digits(text: &str) -> Option<u64> {
    let is_count = text.len() < 16 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_count.then(|| text.parse().ok())?
}

/// The highest of the counts under these keys: servers that have several names for one count
/// leave some of them at zero.
pub(super) fn highest(of: Part<'_>, keys: &[&str]) -> Option<u64> {
    let named = of.members().filter(|(key, _)| keys.contains(key));
    named.filter_map(|(_, value)| counted(value)).max()
}

/// Adds a later report of what was used to an earlier one. Counts are those of the whole response
/// up to here, so that they never fall; what the later report leaves out stays.
pub(super) fn add_counts(held: &mut Map<String, Value>, reported: Map<String, Value>) {
    for (key, value) in reported {
        let has_place = held.len() < MAX_COUNTS;
        match (held.get_mut(&key), value) {
            (Some(Value::Object(held)), Value::Object(reported)) => add_counts(held, reported),
            (Some(Value::Array(held)), Value::Array(reported))
                if !held.is_empty() && reported.is_empty() => {}
            (Some(Value::Object(_)), _) | (Some(_), Value::Null) => {}
            (Some(held), value) => {
                let (before, now) = (count(held), count(&value));
                let is_poorer = before.is_some() && now < before;
                if !is_poorer && size(&value) <= MAX_COUNT.max(size(held)) {
                    *held = value;
                }
            }
            (None, Value::Object(reported)) if has_place => {
                let mut held_below = Map::new();
                add_counts(&mut held_below, reported);
                held.insert(key, Value::Object(held_below));
            }
            (None, value) => {
                if has_place && key.len() + size(&value) <= MAX_COUNT {
                    held.insert(key, value);
                }
            }
        }
    }
}

/// The same for a member that holds counts.
pub(super) fn add_counts_at(
    into: &mut Map<String, Value>,
    key: &str,
    reported: Map<String, Value>,
) {
    let held = into.entry(key).or_insert(Value::Null);
    if !held.is_object() {
        *held = Value::Object(Map::new());
    }
    if let Value::Object(held) = held {
        add_counts(held, reported);
    }
}

/// Roughly the bytes that a value holds.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(|item| OVERHEAD + size(item)).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| OVERHEAD + key.len() + size(value))
            .sum(),
        _ => 8,
    }
}

/// The sum of what is known; `None` if nothing is.
pub(super) fn sum(parts: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    parts.into_iter().flatten().reduce(u64::saturating_add)
}

/// A value whose objects may have a key twice: the last value counts that isn't `null`,
/// and of counts the highest.
struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader).map(Self)
    }
}

/// Whether a member holds counts.
fn is_report(key: &str) -> bool {
    matches!(key, "usage" | "usageMetadata" | "timings" | "meta")
        || key.ends_with("_details")
        || key.ends_with("Details")
}

/// The sum of reports that come as a list; any other list as it is.
fn summed(list: Vec<Value>) -> Value {
    let counts = |(key, value): (&String, &Value)| key.contains("oken") && count(value).is_some();
    let is_report = |one: &Value| {
        one.as_object()
            .is_some_and(|report| report.iter().any(counts))
    };
    if list.is_empty() || !list.iter().all(is_report) {
        return Value::Array(list);
    }
    let mut sum = Map::new();
    for (key, value) in list.into_iter().filter_map(members).flatten() {
        let now = sum.entry(key).or_insert(Value::Null);
        *now = match (count(now), count(&value)) {
            (Some(before), Some(more)) => before.saturating_add(more).into(),
            _ if value.is_null() => continue,
            _ => value,
        };
    }
    Value::Object(sum)
}

fn members(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        into.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Tree(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((key, Tree(value))) = members.next_entry::<String, Tree>()? {
            let value = match (key.as_str(), value) {
                ("usage" | "usageMetadata", Value::Array(list)) => summed(list),
                (_, value) => value,
            };
            match fields.entry(key) {
                Entry::Occupied(mut held) => {
                    let has_counts = is_report(held.key());
                    match (held.get_mut(), value) {
                        (_, Value::Null) => {}
                        (Value::Object(held), Value::Object(reported)) if has_counts => {
                            add_counts(held, reported);
                        }
                        (Value::Object(_), _) if has_counts => {}
                        (Value::Number(held), Value::Number(reported)) => {
                            if reported.as_f64() > held.as_f64() {
                                *held = reported;
                            }
                        }
                        (held, value) => *held = value,
                    }
                }
                Entry::Vacant(free) => {
                    free.insert(value);
                }
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_odd_member_loses_only_itself() {
        for (data, expected) in [
            (r#"{"a":1,"a":2}"#, json!({"a":2})),
            (r#"{"a":{"b":1},"a":null}"#, json!({"a":{"b":1}})),
            (r#"{"a":2,"a":0}"#, json!({"a":2})),
            (
                r#"{"usage":{"a":9,"b":{"c":5}},"usage":{"a":0,"d":1},"usage":{},"usage":7}"#,
                json!({"usage":{"a":9,"b":{"c":5},"d":1}}),
            ),
            (
                r#"{"usage":[{"input_tokens":3,"x":1},{"input_tokens":4,"output_tokens":5,"x":null}]}"#,
                json!({"usage":{"input_tokens":7,"output_tokens":5,"x":1}}),
            ),
            (r#"{"usage":[{"a":3},4]}"#, json!({"usage":[{"a":3},4]})),
            (r#"{"a":NaN,"b":1}"#, json!({"a":null,"b":1})),
            (r#"{"a":"x\ud83d","b":1}"#, json!({"a":"x","b":1})),
            (r#"{"a":1} {"b":2}"#, json!({"a":1})),
            (
                r#"{"a":[1,-2,0.5,"x",true,null]}"#,
                json!({"a":[1,-2,0.5,"x",true,null]}),
            ),
        ] {
            assert_eq!(
                object(data.as_bytes()).map(Value::Object),
                Some(expected),
                "{data}"
            );
        }
        for data in ["", "[]", "1", "x", "{", r#"{"a":1"#, r#"{"a" 1}"#] {
            assert_eq!(object(data.as_bytes()), None, "{data}");
        }
    }

    #[test]
    fn counts_are_whole_numbers_however_they_are_written() {
        for (value, expected) in [
            (json!(0), Some(0)),
            (json!(12), Some(12)),
            (json!(12.0), Some(12)),
            (json!(123.2), Some(123)),
            (json!(123.5), Some(124)),
            (json!(-0.0), Some(0)),
            (json!("12"), Some(12)),
            (json!(-1), None),
            (json!(-0.4), None),
            (json!(1e99), None),
            (json!(1_u64 << 40), Some(1 << 40)),
            (json!((1_u64 << 40) + 1), None),
            (json!(u64::MAX), None),
            (json!(1e15), None),
            (json!("999999999999999"), None),
            (json!(null), None),
            (json!(true), None),
            (json!("1.5"), None),
            (json!(""), None),
            (json!([1]), None),
            (json!({}), None),
        ] {
            assert_eq!(count(&value), expected, "{value}");
        }
    }

    #[test]
    fn counts_never_fall_and_stay_when_left_out() {
        let mut held = Map::new();
        for reported in [
            json!({"input":10,"output":1,"details":{"cached":4},"lists":[{"n":1}],"tier":"a","x":null}),
            json!({"input":0,"output":3,"details":{"cached":0,"written":2},"lists":[],"tier":"b"}),
            json!({"input":null,"output":2,"details":null}),
            json!({"output":"odd","details":7,"input":{"n":1}}),
        ] {
            let Value::Object(reported) = reported else {
                unreachable!()
            };
            add_counts(&mut held, reported);
        }
        assert_eq!(
            Value::Object(held),
            json!({"input":10,"output":3,"details":{"cached":4,"written":2},"lists":[{"n":1}],"tier":"b","x":null})
        );
        let mut held = Map::new();
        for nth in 0..1000 {
            let reported = json!({ nth.to_string(): { nth.to_string(): "x".repeat(3000) } });
            add_counts(&mut held, reported.as_object().unwrap().clone());
        }
        assert_eq!(held.len(), MAX_COUNTS);
        assert!(size(&Value::Object(held)) < 10_000);
    }
}
