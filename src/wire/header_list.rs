//! Headers as text that is kept, all in one piece of memory: each request has two such lists.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Between a name and its value, which have none.
const BETWEEN: char = '\0';
/// Behind a value, which has none.
const END: char = '\n';

/// Names and values in their order. In JSON it is a list of pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderList(String);

impl HeaderList {
    /// An empty list with room for so many bytes of text.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// Adds a header.
    pub fn push(&mut self, name: &str, value: &str) {
        self.0.push_str(name);
        self.0.push(BETWEEN);
        if value.contains(END) {
            self.0.push_str(&value.replace(END, " "));
        } else {
            self.0.push_str(value);
        }
        self.0.push(END);
    }

    /// The headers.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.0.split_terminator(END);
        lines.filter_map(|line| line.split_once(BETWEEN))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for HeaderList {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut list = Self::default();
        for (name, value) in headers {
            list.push(name.as_ref(), value.as_ref());
        }
        list
    }
}

impl Serialize for HeaderList {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for HeaderList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = HeaderList;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of names and values")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<HeaderList, A::Error> {
                let mut list = HeaderList::default();
                while let Some((name, value)) = pairs.next_element::<(String, String)>()? {
                    list.push(&name, &value);
                }
                Ok(list)
            }
        }

        from.deserialize_seq(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list_of_pairs_in_json() {
        let json = r#"[["host","a:1"],["x",""],["x","größe \"1\""]]"#;
        let list: HeaderList = serde_json::from_str(json).unwrap();
        let pairs = [("host", "a:1"), ("x", ""), ("x", "größe \"1\"")];
        assert_eq!(list.iter().collect::<Vec<_>>(), pairs);
        assert_eq!(serde_json::to_string(&list).unwrap(), json);
        assert_eq!(list, pairs.into_iter().collect());
        assert!(!list.is_empty() && HeaderList::default().is_empty());
        assert!(serde_json::from_str::<HeaderList>("[[1]]").is_err());
    }
}
