//! The strings of a document that was scanned.

use std::ops::Range;

/// A string of a document that is a value and no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Where it stands, quotes included.
    pub at: Range<usize>,
    /// Where the key stands whose value it is, if it is one.
    pub key: Option<Range<usize>>,
}

/// Every string of a JSON document that is a value and no key. For documents that a scan has
/// accepted: in others the ranges mean nothing.
#[must_use]
pub fn strings(bytes: &[u8]) -> Vec<Text> {
    let mut found = Vec::new();
    let (mut before, mut key) = (0, None);
    for at in literals(bytes) {
        // Between a key and its value there is a colon, and nothing else.
        let mut between = bytes[before..at.start].iter();
        if !between.all(|byte| *byte == b':' || byte.is_ascii_whitespace()) {
            key = None;
        }
        before = at.end;
        let mut rest = bytes[at.end..].iter();
        if rest.find(|byte| !byte.is_ascii_whitespace()) == Some(&b':') {
            key = Some(at);
        } else {
            let key = key.take();
            found.push(Text { at, key });
        }
    }
    found
}

/// Every string, those that are keys included, quotes included. In what is not JSON, whatever stands
/// between two quotes.
pub fn literals(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + memchr::memchr(b'"', &bytes[at..])?;
        at = closing(bytes, start + 1)?;
        Some(start..at)
    })
}

/// Just after the quote that closes a string whose inside begins at `at`.
#[must_use]
pub fn closing(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_keys_are_not() {
        let text = r#"{"a" : "b", "c":["d\"e","f\\"], "g":{"h":"" , "i":1, "j":["k"]}}"#;
        let found = strings(text.as_bytes());
        let found: Vec<(&str, Option<&str>)> = found
            .into_iter()
            .map(|found| (&text[found.at], found.key.map(|key| &text[key])))
            .collect();
        assert_eq!(
            found,
            [
                (r#""b""#, Some(r#""a""#)),
                (r#""d\"e""#, None),
                (r#""f\\""#, None),
                (r#""""#, Some(r#""h""#)),
                (r#""k""#, None),
            ]
        );
        let found = strings(br#"{"a":"b"}"#);
        assert_eq!(
            (found[0].at.clone(), found[0].key.clone()),
            (5..8, Some(1..4))
        );
        // What stands between a key and a string makes it another's.
        let found = strings(br#"{"a":1,"b":{},"c":["d"],"e" : "f"}"#);
        let keys: Vec<_> = found.into_iter().map(|found| found.key).collect();
        assert_eq!(keys, [None, Some(24..27)]);
        assert_eq!(strings(br#"["a\\","b\"","c"]"#).len(), 3);
        assert!(strings(br#"{"a":"b"#).is_empty());
        assert!(strings(b"\"\\").is_empty());
    }
}
