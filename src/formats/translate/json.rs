//! JSON that keeps the order of its keys: a model reads the properties of a schema in their order, and
//! `serde_json::Value` would sort them.

use std::fmt;
use std::iter;

use indexmap::IndexMap;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Number;

use crate::wire::json;

/// A JSON value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Json {
    /// `null`, and what is missing.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Object),
}

/// A JSON object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(IndexMap<String, Json>);

/// Stands for what is missing.
static MISSING: Json = Json::Null;

/// An object with these members.
macro_rules! object {
    ($($key:literal: $value:expr),* $(,)?) => {{
        #[allow(unused_mut, clippy::allow_attributes, reason = "of an empty object")]
        let mut object = $crate::formats::translate::Object::default();
        $(object.put($key, $value);)*
        object
    }};
}
pub(in crate::formats) use object;

/// Bytes that a value takes at most besides its text: it stands in a list that has room for twice as many, or
/// in an object with a key and an index. A test measures it.
const VALUE: usize = 320;

impl Json {
    /// About how many bytes the value takes in memory that a JSON text stands for: no less than it does.
    #[must_use]
    pub fn weight(text: &[u8]) -> usize {
        let (mut values, mut at) = (1_usize, 0);
        while let Some(byte) = text.get(at) {
            at = match byte {
                b'"' => json::closing(text, at + 1).unwrap_or(text.len()),
                b',' | b'[' | b'{' => {
                    values += 1;
                    at + 1
                }
                _ => at + 1,
            };
        }
        text.len().saturating_add(values.saturating_mul(VALUE))
    }

    /// Reads JSON text.
    ///
    /// # Errors
    /// If it isn't JSON, is nested deeper than 128 levels, or has a key twice in one object.
    pub fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// The member of an object; `null` if it is missing, or this isn't an object.
    #[must_use]
    pub fn at(&self, key: &str) -> &Self {
        match self {
            Self::Object(object) => object.0.get(key).unwrap_or(&MISSING),
            _ => &MISSING,
        }
    }

    /// The elements of an array; none of any other value.
    #[must_use]
    pub fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }

    /// The string.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The string, if it isn't empty.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        self.text().filter(|text| !text.is_empty())
    }

    /// The number, if it is whole and not negative.
    #[must_use]
    pub fn whole(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// The truth value.
    #[must_use]
    pub fn flag(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Whether it is `null` or missing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// Whether it is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }
}

impl Object {
    /// Adds a member.
    pub fn put(&mut self, key: &str, value: impl Into<Json>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Adds a member if there is a value.
    pub fn put_some(&mut self, key: &str, value: Option<impl Into<Json>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// Takes a member out; `None` also for `null`.
    pub fn take(&mut self, key: &str) -> Option<Json> {
        self.0.shift_remove(key).filter(|value| !value.is_null())
    }

    /// The value of a member, if it is there.
    pub fn at_mut(&mut self, key: &str) -> Option<&mut Json> {
        self.0.get_mut(key)
    }

    /// Leaves only these members.
    pub fn keep(&mut self, keys: &[&str]) {
        self.0.retain(|key, _| keys.contains(&key.as_str()));
    }

    /// Whether it has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The members in their order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl fmt::Display for Json {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Json {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<bool> for Json {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Self {
        Self::Number(number.into())
    }
}

impl From<f64> for Json {
    fn from(number: f64) -> Self {
        Number::from_f64(number).map_or(Self::Null, Self::Number)
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl From<Vec<Json>> for Json {
    fn from(list: Vec<Json>) -> Self {
        Self::List(list)
    }
}

impl From<Vec<Object>> for Json {
    fn from(list: Vec<Object>) -> Self {
        Self::List(list.into_iter().map(Self::Object).collect())
    }
}

impl From<Vec<String>> for Json {
    fn from(list: Vec<String>) -> Self {
        Self::List(list.into_iter().map(Self::Text).collect())
    }
}

impl From<&[u8]> for Json {
    fn from(bytes: &[u8]) -> Self {
        let numbers = bytes.iter().map(|byte| u64::from(*byte).into());
        Self::List(numbers.collect())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => out.serialize_unit(),
            Self::Bool(flag) => out.serialize_bool(*flag),
            Self::Number(number) => number.serialize(out),
            Self::Text(text) => out.serialize_str(text),
            Self::List(list) => out.collect_seq(list),
            Self::Object(object) => object.serialize(out),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(&self.0)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let elements = iter::from_fn(|| list.next_element().transpose());
        elements.collect::<Result<_, _>>().map(Json::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = IndexMap::new();
        while let Some((key, value)) = members.next_entry::<String, Json>()? {
            if object.contains_key(&key) {
                return Err(de::Error::custom(format!("duplicate key `{key}`")));
            }
            object.insert(key, value);
        }
        Ok(Json::Object(Object(object)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a value takes besides itself.
    fn taken(json: &Json) -> usize {
        match json {
            Json::Text(text) => text.capacity(),
            Json::List(list) => {
                let inner: usize = list.iter().map(taken).sum();
                inner + list.capacity() * size_of::<Json>()
            }
            Json::Object(Object(map)) => {
                let inner = map.iter().map(|(key, value)| key.capacity() + taken(value));
                // An entry with its hash, and its place in the index.
                let entry = size_of::<(usize, String, Json)>() + 2 * size_of::<usize>();
                inner.sum::<usize>() + map.capacity() * entry
            }
            _ => 0,
        }
    }

    #[test]
    fn a_value_takes_no_more_than_it_is_weighed_as() {
        let many = |one: &str| format!("[{}]", vec![one; 10_000].join(","));
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let members: Vec<String> = (0..10_000).map(|nth| format!("\"{nth}\":{nth}")).collect();
        let wide = format!("{{{}}}", members.join(","));
        for text in [
            "1".to_owned(),
            many("1"),
            many("[]"),
            many("{}"),
            many("\"\""),
            many("{\"a\":[{}]}"),
            many("{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5}"),
            deep,
            wide,
        ] {
            let json = Json::read(text.as_bytes()).unwrap();
            let taken = size_of::<Json>() + taken(&json);
            let weight = Json::weight(text.as_bytes());
            let shown: String = text.chars().take(40).collect();
            assert!(taken <= weight, "{shown}: {taken} > {weight}");
            assert!(
                weight <= 16 * taken,
                "{shown}: {weight} is far more than {taken}"
            );
        }
        // Brackets within a text do not count, and a text without an end counts as a value.
        let text = serde_json::Value::from("[{\",".repeat(10_000)).to_string();
        assert!(Json::weight(text.as_bytes()) < 2 * text.len());
        assert!(Json::weight(&text.as_bytes()[..text.len() - 1]) < 2 * text.len());
    }
}
