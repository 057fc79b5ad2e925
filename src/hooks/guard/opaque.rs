//! Strings that only a provider can read, such as the signatures on reasoning: known by their place
//! in the format, because a caller can give any key its name.

use std::ops::Range;

use crate::wire::json;

/// Elements of one array that are looked at.
const MOST: usize = 1_000_000;

/// Where the strings at `paths` begin, in order; `*` stands for each element of an array. Strings
/// that could be text are left out.
pub(super) fn places(body: &[u8], paths: &[&[&str]]) -> Vec<usize> {
    let mut found = Vec::new();
    for path in paths {
        // Most requests have none of them.
        let key = path.last().copied().unwrap_or_default();
        if memchr::memmem::find(body, key.as_bytes()).is_some() {
            descend(body, 0..body.len(), path, &mut found);
        }
    }
    found.sort_unstable();
    found
}

fn descend(body: &[u8], at: Range<usize>, path: &[&str], found: &mut Vec<usize>) {
    let Some((step, rest)) = path.split_first() else {
        if is_opaque(&body[at.clone()]) {
            found.push(at.start);
        }
        return;
    };
    let inside = &body[at.clone()];
    let shift = |range: Range<usize>| at.start + range.start..at.start + range.end;
    if *step == "*" {
        for element in json::elements(inside, MOST).unwrap_or_default() {
            descend(body, shift(element), rest, found);
        }
        return;
    }
    for (key, value) in json::members(inside).unwrap_or_default() {
        if json::string(&inside[key]).as_deref() == Some(step) {
            descend(body, shift(value), rest, found);
        }
    }
}

/// A string of base64, which is what providers write there.
fn is_opaque(literal: &[u8]) -> bool {
    json::string(literal).is_some_and(|text| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_decides_and_not_the_key() {
        let path: &[&[&str]] = &[&["messages", "*", "content", "*", "signature"]];
        let body = br#"{"signature":"aaaa","messages":[{"content":[{"signature":"bbbb"},{"signature":"some text"},{"input":{"signature":"cccc"}}],"signature":"dddd"},{"content":"x"}]}"#;
        let found = places(body, path);
        let texts: Vec<&[u8]> = found.iter().map(|at| &body[at + 1..at + 5]).collect();
        assert_eq!(texts, [b"bbbb"]);
        assert!(places(br#"{"messages":"signature"}"#, path).is_empty());
    }
}
