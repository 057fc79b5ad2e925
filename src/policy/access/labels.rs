//! Labels that grants require of requests, so that a caller can't evade the budget of a project by leaving its
//! label out.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::is_named;
use crate::base::labels::{self, HEADER, Labels};

/// The labels that one capability object requires.
#[derive(Clone, Debug, Default)]
pub struct RequiredLabels(Vec<Required>);

/// A key, and a pattern for its value.
#[derive(Clone, Debug)]
struct Required {
    key: String,
    pattern: String,
}

impl<'de> Deserialize<'de> for RequiredLabels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let parsed = texts.iter().map(|text| {
            Required::parse(text).ok_or_else(|| {
                let why = format!("require_labels {text:?} is neither a key nor key=pattern");
                serde::de::Error::custom(why)
            })
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }
}

impl Required {
    fn parse(text: &str) -> Option<Self> {
        let (key, pattern) = text.split_once('=').unwrap_or((text, "*"));
        labels::is_required(text).then(|| Self {
            key: key.to_owned(),
            pattern: pattern.to_owned(),
        })
    }
}

impl RequiredLabels {
    /// Whether none is required.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As they are written.
    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .map(|Required { key, pattern }| format!("{key}={pattern}"))
    }

    /// Those of an object that can't be decoded: an entry that can't be read requires what no request has.
    pub(super) fn of_broken(entries: &[Value]) -> Self {
        let entries = entries.iter().map(|entry| {
            let text = entry.as_str().unwrap_or_default();
            Required::parse(text).unwrap_or_else(|| Required {
                key: text.to_owned(),
                pattern: String::new(),
            })
        });
        Self(entries.collect())
    }

    /// What a request lacks, as a sentence for its caller; `None` if it has what is required.
    pub(super) fn missing(&self, labels: &Labels) -> Option<String> {
        self.0.iter().find_map(|Required { key, .. }| {
            let patterns = self.0.iter().filter(|one| one.key == *key);
            let patterns = patterns.map(|one| one.pattern.as_str());
            match labels.get(key) {
                Some(value) if patterns.clone().any(|pattern| is_named(value, pattern)) => None,
                Some(value) => {
                    let patterns: Vec<_> = patterns.map(|one| format!("{one:?}")).collect();
                    Some(format!(
                        "the label {key:?} is {value:?}: expected {}",
                        patterns.join(" or ")
                    ))
                }
                None => Some(format!(
                    "this request needs the label {key:?}: send the header {HEADER}: {key}=…"
                )),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_needs_one_of_its_patterns() {
        let required = |texts: &str| serde_json::from_str::<RequiredLabels>(texts).unwrap();
        let missing = |texts: &str, header: &str| {
            let labels = Labels::parse([header.as_bytes()]).unwrap();
            required(texts).missing(&labels)
        };
        let two = r#"["project=web-*", "project=api", "run"]"#;
        for has in ["project=web-1,run=1", "run=x,project=api,more=y"] {
            assert_eq!(missing(two, has), None, "{has}");
        }
        for (has, says) in [
            ("run=1", "this request needs the label \"project\""),
            ("project=api", "this request needs the label \"run\""),
            (
                "project=apis,run=1",
                "is \"apis\": expected \"web-*\" or \"api\"",
            ),
        ] {
            let why = missing(two, has).unwrap();
            assert!(why.contains(says), "{has}: {why}");
        }
        assert_eq!(missing("[]", ""), None);
        for odd in [
            r#"["a b"]"#,
            r#"["=x"]"#,
            r#"["project="]"#,
            r#"["A"]"#,
            "[5]",
        ] {
            assert!(
                serde_json::from_str::<RequiredLabels>(odd).is_err(),
                "{odd}"
            );
            let entries: Vec<Value> = serde_json::from_str(odd).unwrap();
            let broken = RequiredLabels::of_broken(&entries);
            let labels = Labels::parse([&b"project=x"[..]]).unwrap();
            assert!(broken.missing(&labels).is_some(), "{odd}");
        }
    }
}
