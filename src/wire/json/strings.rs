//! The strings of a document that was scanned.

use std::ops::Range;

/// Every string of a JSON document that is a value and no key, as ranges of its bytes with the
/// quotes. For documents that a scan has accepted: in others the ranges mean nothing.
#[must_use]
pub fn strings(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = memchr::memchr(b'"', &bytes[at..]).map(|offset| at + offset) {
        let Some(end) = closing(bytes, start + 1) else {
            break;
        };
        let rest = &bytes[end..];
        let is_key = rest
            .iter()
            .find(|byte| !byte.is_ascii_whitespace())
            .is_some_and(|byte| *byte == b':');
        if !is_key {
            found.push(start..end);
        }
        at = end;
    }
    found
}

/// Just after the quote that closes a string whose inside begins at `at`.
fn closing(bytes: &[u8], mut at: usize) -> Option<usize> {
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
        let text = r#"{"a" : "b", "c":["d\"e","f\\"], "g":{"h":"" , "i":1}}"#;
        let found: Vec<&str> = strings(text.as_bytes())
            .into_iter()
            .map(|range| &text[range])
            .collect();
        assert_eq!(found, [r#""b""#, r#""d\"e""#, r#""f\\""#, r#""""#]);
        assert!(strings(br#"{"a":"b"#).is_empty());
        assert!(strings(b"\"\\").is_empty());
    }
}
