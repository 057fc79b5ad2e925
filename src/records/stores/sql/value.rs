//! Values as both databases can hold them, bound or read, and keys that are not too long for an index.

use crate::records::Failure;
use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// A value, bound or read. What is bound is borrowed: a record has dozens of texts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    /// Text of any length. `PostgreSQL` cannot hold a zero character, and `SQLite` should not
    /// differ.
    pub(crate) fn text(text: impl Into<Cow<'a, str>>) -> Value<'a> {
        Value::Text(stored(text.into()))
    }

    /// The same, owned.
    pub(crate) fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Integer(value) => Value::Integer(value),
            Value::Real(value) => Value::Real(value),
            Value::Text(text) => Value::Text(text.into_owned().into()),
            Value::Bytes(bytes) => Value::Bytes(bytes.into_owned().into()),
        }
    }

    /// Something as JSON text.
    pub(crate) fn json(what: &impl serde::Serialize) -> Value<'static> {
        // Lists and pairs of texts always are JSON.
        Value::text(serde_json::to_string(what).unwrap_or_default())
    }

    /// Text for an index, of `limit` bytes at most: `PostgreSQL` refuses longer keys, and a record
    /// that is refused would stop the queue behind it. Texts that differ stay different.
    pub(crate) fn key(text: &'a str, limit: usize) -> Value<'a> {
        Value::text(key(text, limit))
    }

    /// The key that a person looks for: a text, or a key as it was shown to them.
    pub(crate) fn wanted(text: &'a str, limit: usize) -> Value<'a> {
        if text.len() <= limit {
            return Value::text(text);
        }
        Value::key(text, limit)
    }
}

/// Text as it is stored.
pub(crate) fn stored(text: Cow<'_, str>) -> Cow<'_, str> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return text.replace('\0', "\u{fffd}").into();
    }
    text
}

/// Hexadecimal digits of the hash that a long key ends with: no two texts are found that share 192
/// bits, whatever is tried.
const DIGITS: usize = 48;

/// A text as a key of `limit` bytes at most. A longer one is its beginning, `~`, and a hash of all of
/// it; and so is a short one that reads like that, so that nobody can write another text's key.
pub(crate) fn key(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit && !reads_hashed(text) {
        return text.into();
    }
    let begin = text.floor_char_boundary(limit - DIGITS - 1);
    let mut key = text[..begin].to_owned();
    while key.len() + DIGITS < limit {
        key.push('~');
    }
    for byte in &Sha256::digest(text.as_bytes())[..DIGITS / 2] {
        let _ = write!(key, "{byte:02x}");
    }
    key.into()
}

fn reads_hashed(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    bytes
        .len()
        .checked_sub(DIGITS + 1)
        .is_some_and(|mark| bytes[mark] == b'~' && bytes[mark + 1..].iter().all(is_digit))
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Integer(value)
    }
}

/// A larger number than the databases can hold is stored as the largest.
impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Integer(value.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::text(text)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl From<f64> for Value<'_> {
    /// `SQLite` stores NaN as NULL, which a NOT NULL column would refuse for ever.
    fn from(value: f64) -> Self {
        if value.is_finite() {
            Value::Real(value)
        } else {
            Value::Null
        }
    }
}

/// Rows for one statement, of the same width. Their values stand one behind the other: a batch of records has
/// thousands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows<'v> {
    values: Vec<Value<'v>>,
    width: usize,
    count: usize,
}

impl<'v> Rows<'v> {
    /// A single row.
    pub(crate) fn one(row: impl IntoIterator<Item = Value<'v>>) -> Rows<'v> {
        std::iter::once(row).collect()
    }

    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = Value<'v>>) {
        let before = self.values.len();
        self.values.extend(row);
        let width = self.values.len() - before;
        debug_assert!(
            self.count == 0 || self.width == width,
            "a row of another width"
        );
        (self.width, self.count) = (width, self.count + 1);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many rows there are.
    #[cfg(feature = "postgres")]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The values of each row.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[Value<'v>]> + Clone {
        let rows = (0..self.count).map(|nth| nth * self.width);
        rows.map(|start| &self.values[start..start + self.width])
    }
}

impl<'v, R: IntoIterator<Item = Value<'v>>> FromIterator<R> for Rows<'v> {
    fn from_iter<I: IntoIterator<Item = R>>(rows: I) -> Rows<'v> {
        let mut rows = rows.into_iter();
        let mut all = Rows::default();
        if let Some(first) = rows.next() {
            all.push(first);
            all.values.reserve(all.width * rows.size_hint().0);
        }
        for row in rows {
            all.push(row);
        }
        all
    }
}

/// A row of an answer, taken column by column.
pub(crate) struct Row(std::vec::IntoIter<Value<'static>>);

impl Row {
    pub(crate) fn new(values: Vec<Value<'static>>) -> Row {
        Row(values.into_iter())
    }

    pub(crate) fn value(&mut self) -> Result<Value<'static>, Failure> {
        self.0
            .next()
            .ok_or_else(|| Failure::Value("a column too few".to_owned()))
    }

    pub(crate) fn text(&mut self) -> Result<String, Failure> {
        match self.value()? {
            Value::Text(text) => Ok(text.into_owned()),
            other => Err(unexpected(&other, "text")),
        }
    }

    pub(crate) fn maybe_text(&mut self) -> Result<Option<String>, Failure> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text.into_owned())),
            other => Err(unexpected(&other, "text")),
        }
    }

    pub(crate) fn integer(&mut self) -> Result<i64, Failure> {
        match self.value()? {
            Value::Integer(value) => Ok(value),
            other => Err(unexpected(&other, "an integer")),
        }
    }

    pub(crate) fn maybe_integer(&mut self) -> Result<Option<i64>, Failure> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Integer(value) => Ok(Some(value)),
            other => Err(unexpected(&other, "an integer")),
        }
    }

    /// A count, which is never below zero.
    pub(crate) fn count(&mut self) -> Result<u64, Failure> {
        Ok(self.integer()?.max(0).cast_unsigned())
    }

    pub(crate) fn maybe_bytes(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes.into_owned())),
            other => Err(unexpected(&other, "bytes")),
        }
    }

    /// What was stored as JSON text.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Failure> {
        serde_json::from_str(&self.text()?).map_err(|error| Failure::Value(error.to_string()))
    }
}

fn unexpected(found: &Value<'_>, wanted: &str) -> Failure {
    let kind = match found {
        Value::Null => "nothing",
        Value::Integer(_) => "an integer",
        Value::Real(_) => "a real",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
    };
    Failure::Value(format!("{kind} where {wanted} should be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_both_databases_can_hold() {
        assert_eq!(Value::text("a\0b"), Value::Text("a\u{fffd}b".into()));
        assert_eq!(Value::from(f64::NAN), Value::Null);
    }

    #[test]
    fn texts_that_differ_have_different_keys() {
        assert_eq!(key("short", 64), "short");
        let long = "é".repeat(200);
        let (one, other) = (format!("{long}1"), format!("{long}2"));
        for limit in [64, 256, 384] {
            let (one, other) = (key(&one, limit), key(&other, limit));
            assert_ne!(one, other);
            assert_eq!(one.len(), limit);
            assert!(one.starts_with("éé"));
            // What reads like a key is the key of another text.
            assert_ne!(key(&one, limit), one);
            assert_eq!(Value::wanted(&one, limit), Value::text(&*one));
        }
        assert_eq!(Value::wanted(&one, 64), Value::key(&one, 64));
    }
}
