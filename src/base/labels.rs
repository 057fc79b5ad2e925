//! Labels: what a caller says that a request is for, in the header `x-iris-labels: project=web,run=42`. Records
//! are found by them, and buckets can be told apart by them. They give a caller nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::Text;

/// The header that has them.
pub const HEADER: &str = "x-iris-labels";
/// Labels of a request at most.
pub const MOST: usize = 10;
/// Bytes of a key, and of a value, at most.
pub const LONGEST: usize = 64;

/// Labels by their keys, in the order of the keys. A request without any takes no memory for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Option<Arc<[(Text, Text)]>>);

/// What is wrong with a header of labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// There are too many.
    #[error("a request has at most {MOST} labels, and {HEADER} has {0}")]
    TooMany(usize),
    /// It isn't a key and a value.
    #[error("the label {0} of {HEADER} has no value: expected key=value")]
    NoValue(Shown),
    /// The key is empty, too long, or has another character.
    #[error(
        "the label {0} of {HEADER} has an invalid key: expected 1 to {LONGEST} lower-case letters, digits, \
         \".\", \"_\" and \"-\""
    )]
    Key(Shown),
    /// The value is empty, too long, or has another character.
    #[error(
        "the label {0} of {HEADER} has an invalid value: expected 1 to {LONGEST} letters, digits and characters \
         of \"._-/:@+\""
    )]
    Value(Shown),
    /// A key stands there twice.
    #[error("the label {0} stands in {HEADER} twice")]
    Twice(Shown),
}

/// A label as an error shows it: quoted, and cut where it is long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut start: String = text.chars().take(LONGEST).collect();
        if start.len() < text.len() {
            start.push('…');
        }
        Self(start)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Whether a text can be the key of a label.
#[must_use]
pub fn is_key(text: &[u8]) -> bool {
    let is_letter = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
    };
    (1..=LONGEST).contains(&text.len()) && text.iter().all(is_letter)
}

/// Whether a text can be the value of a label.
#[must_use]
pub fn is_value(text: &[u8]) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.iter().copied().all(is_of_value)
}

fn is_of_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte)
}

/// Whether a text says which label is required: a key, or a key and a pattern for its value.
#[must_use]
pub fn is_required(text: &str) -> bool {
    let (key, pattern) = text.split_once('=').unwrap_or((text, "*"));
    let mut letters = pattern.bytes();
    is_key(key.as_bytes())
        && (1..=LONGEST).contains(&pattern.len())
        && letters.all(|byte| byte == b'*' || is_of_value(byte))
}

impl Labels {
    /// Reads the values of all headers of labels that a request has.
    ///
    /// # Errors
    /// The first thing that is wrong, with the label that it is wrong with.
    pub fn parse<'h>(headers: impl IntoIterator<Item = &'h [u8]>) -> Result<Self, LabelsError> {
        let mut found: Vec<(Text, Text)> = Vec::new();
        let mut count = 0;
        for header in headers {
            // A client whose variable isn't set sends an empty header.
            if header.trim_ascii().is_empty() {
                continue;
            }
            for label in header.split(|byte| *byte == b',') {
                count += 1;
                if count <= MOST {
                    let (key, value) = one(label.trim_ascii())?;
                    if found.iter().any(|(known, _)| known == key) {
                        return Err(LabelsError::Twice(Shown::of(key.as_bytes())));
                    }
                    found.push((key.into(), value.into()));
                }
            }
        }
        if count > MOST {
            return Err(LabelsError::TooMany(count));
        }
        found.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(found.into_iter().collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|label| label.0 == key)
            .map(|label| label.1)
    }

    /// All of them, in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let all = self.0.as_deref().unwrap_or_default();
        all.iter().map(|(key, value)| (&**key, &**value))
    }
}

/// A key and a value.
fn one(label: &[u8]) -> Result<(&str, &str), LabelsError> {
    let at = label.iter().position(|byte| *byte == b'=');
    let at = at.ok_or_else(|| LabelsError::NoValue(Shown::of(label)))?;
    let (key, value) = (&label[..at], &label[at + 1..]);
    if !is_key(key) {
        return Err(LabelsError::Key(Shown::of(label)));
    }
    if !is_value(value) {
        return Err(LabelsError::Value(Shown::of(label)));
    }
    let text = |bytes| str::from_utf8(bytes).map_err(|_| LabelsError::Value(Shown::of(label)));
    Ok((text(key)?, text(value)?))
}

/// Those of a record.
impl<K: Into<Text>, V: Into<Text>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let labels = labels
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()));
        let all: Arc<[(Text, Text)]> = labels.collect();
        Self(Some(all).filter(|all| !all.is_empty()))
    }
}

/// As they stand in the header.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (key, value)) in self.iter().enumerate() {
            let comma = if nth > 0 { "," } else { "" };
            write!(f, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}

/// An object of texts.
impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.iter().len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// Those that were stored, whatever the rules for new ones are.
impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let labels = BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(labels.into_iter().collect())
    }
}

/// The key of a label for whose value a place in the name of a budget stands: that of `<label.project>` is
/// `project`.
#[must_use]
pub fn placeholder(place: &str) -> Option<&str> {
    let key = place.strip_prefix("<label.")?.strip_suffix('>')?;
    is_key(key.as_bytes()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(header: &str) -> Result<String, String> {
        let labels = Labels::parse([header.as_bytes()]);
        labels
            .map(|labels| labels.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn labels_are_keys_and_values() {
        for (header, expected) in [
            ("", ""),
            (" \t", ""),
            ("project=web", "project=web"),
            (" run=42 ,\tproject=acme/web ", "project=acme/web,run=42"),
            ("a.b_c-1=A:b@c+d", "a.b_c-1=A:b@c+d"),
        ] {
            assert_eq!(parsed(header).as_deref(), Ok(expected), "{header:?}");
        }
        let two = Labels::parse([&b"run=1"[..], b"", b"project=x"]).unwrap();
        assert_eq!(two.get("project"), Some("x"));
        assert_eq!(two.get("run"), Some("1"));
        assert_eq!(two.get("team"), None);
        assert_eq!(
            serde_json::to_string(&two).unwrap(),
            r#"{"project":"x","run":"1"}"#
        );
        let long = format!("{}={}", "k".repeat(LONGEST), "v".repeat(LONGEST));
        assert_eq!(parsed(&long).as_ref(), Ok(&long));
    }

    #[test]
    fn what_is_wrong_names_the_label() {
        for (header, says) in [
            (
                "project",
                "the label \"project\" of x-iris-labels has no value",
            ),
            ("a=1,,b=2", "the label \"\" of x-iris-labels has no value"),
            ("a=1,", "the label \"\" of x-iris-labels has no value"),
            ("=x", "the label \"=x\" of x-iris-labels has an invalid key"),
            (
                "Project=x",
                "the label \"Project=x\" of x-iris-labels has an invalid key",
            ),
            ("a b=x", "has an invalid key"),
            ("a =x", "has an invalid key"),
            ("a= x", "has an invalid value"),
            (
                "project=",
                "the label \"project=\" of x-iris-labels has an invalid value",
            ),
            ("project=a=b", "has an invalid value"),
            ("project=a;b", "has an invalid value"),
            ("project=(none)", "has an invalid value"),
            ("project=\u{e4}", "has an invalid value"),
            (
                "a=1,b=2,a=3",
                "the label \"a\" stands in x-iris-labels twice",
            ),
        ] {
            let error = parsed(header).unwrap_err();
            assert!(error.contains(says), "{header:?}: {error}");
        }
        let many: Vec<String> = (0..=MOST).map(|nth| format!("k{nth}=v")).collect();
        let says = "a request has at most 10 labels, and x-iris-labels has 11";
        assert_eq!(parsed(&many.join(",")).unwrap_err(), says);
        assert!(parsed(&many[..MOST].join(",")).is_ok());
        for long in [
            format!("{}=v", "k".repeat(65)),
            format!("k={}", "v".repeat(65)),
        ] {
            let error = parsed(&long).unwrap_err();
            assert!(error.len() < 400 && error.contains('…'), "{error}");
        }
        assert!(Labels::parse([&b"a=1"[..], b"a=2"]).is_err());
        assert!(Labels::parse([&[0xff, b'=', 0x00][..]]).is_err());
    }

    #[test]
    fn a_place_in_a_name_stands_for_a_label() {
        assert_eq!(placeholder("<label.project>"), Some("project"));
        for none in [
            "<label.>",
            "<label.A>",
            "<label>",
            "<user>",
            "label.project",
            "<label.a",
        ] {
            assert_eq!(placeholder(none), None, "{none}");
        }
    }
}
