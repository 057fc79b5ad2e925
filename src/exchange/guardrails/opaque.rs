//! Strings that only a provider can read, such as the signatures on reasoning: known by their place
//! in the format, because a caller can give any key its name.

use std::ops::Range;

use super::encoded::{as_text, decode};
use crate::formats::OpaquePlace;
use crate::wire::json;

/// Elements of one array that are looked at.
const MOST: usize = 1_000_000;

/// Signatures are longer, and shorter strings can be read without harm.
const SHORTEST: usize = 64;

/// Where the strings at these places begin, in order. Strings that could be text are left out.
pub(super) fn places(body: &[u8], places: &[OpaquePlace]) -> Vec<usize> {
    let mut found = Vec::new();
    for place in places {
        // Most requests have none of them.
        let key = place.path.rsplit('.').next().unwrap_or_default();
        if memchr::memmem::find(body, key.as_bytes()).is_some() {
            descend(body, 0..body.len(), place.path, place.kinds, &mut found);
        }
    }
    found.sort_unstable();
    found
}

fn descend(body: &[u8], at: Range<usize>, path: &str, kinds: &[&str], found: &mut Vec<usize>) {
    if path.is_empty() {
        if is_opaque(&body[at.clone()]) {
            found.push(at.start);
        }
        return;
    }
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let inside = &body[at.clone()];
    let shift = |range: Range<usize>| at.start + range.start..at.start + range.end;
    if step == "*" {
        for element in json::elements(inside, MOST).unwrap_or_default() {
            descend(body, shift(element), rest, kinds, found);
        }
        return;
    }
    let members = json::members(inside).unwrap_or_default();
    if rest.is_empty() && !kinds.is_empty() && !is_one_of(inside, &members, kinds) {
        return;
    }
    for (key, value) in members {
        if json::string(&inside[key]).as_deref() == Some(step) {
            descend(body, shift(value), rest, kinds, found);
        }
    }
}

/// Whether the type of an object, given once, is one of these.
fn is_one_of(object: &[u8], members: &[(Range<usize>, Range<usize>)], kinds: &[&str]) -> bool {
    let text = |at: &Range<usize>| json::string(&object[at.clone()]);
    let mut types = members
        .iter()
        .filter(|(key, _)| text(key).as_deref() == Some("type"));
    let kind = types.next().and_then(|(_, value)| text(value));
    types.next().is_none() && kind.is_some_and(|kind| kinds.contains(&&*kind))
}

/// Whether it is what providers write there: a long string of base64 that doesn't hold text.
fn is_opaque(literal: &[u8]) -> bool {
    json::string(literal)
        .filter(|text| text.len() >= SHORTEST)
        .and_then(|text| decode(text.as_bytes()))
        .is_some_and(|bytes| as_text(&bytes).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_decides_and_not_the_key() {
        let sealed: Vec<u8> = (0..60_u8).map(|nth| nth.wrapping_mul(89) | 0x80).collect();
        let sealed = aws_smithy_types::base64::encode(sealed);
        let place = OpaquePlace {
            path: "messages.*.content.*.signature",
            kinds: &["thinking"],
            is_aside: false,
        };
        let clear =
            aws_smithy_types::base64::encode("a text that no guardrail lets pass in this place");
        let block = |kind: &str, text: &str| format!(r#"{{"type":"{kind}","signature":"{text}"}}"#);
        let blocks = [
            block("thinking", &sealed),
            block("thinking", "some text"),
            block("thinking", &clear),
            block("thinking", "YWJj"),
            block("text", &sealed),
            format!(r#"{{"type":"thinking","type":"text","signature":"{sealed}"}}"#),
            format!(r#"{{"type":"thinking","input":{{"signature":"{sealed}"}}}}"#),
            format!(r#"{{"signature":"{sealed}"}}"#),
        ];
        let body = format!(
            r#"{{"signature":"{sealed}","messages":[{{"content":[{}],"signature":"{sealed}"}},{{"content":"x"}}]}}"#,
            blocks.join(",")
        );
        let expected = body.find(&blocks[0]).unwrap() + blocks[0].find(&sealed).unwrap() - 1;
        assert_eq!(places(body.as_bytes(), &[place]), [expected]);
        assert!(places(br#"{"messages":"signature"}"#, &[place]).is_empty());
        let untyped = OpaquePlace {
            kinds: &[],
            ..place
        };
        let found = places(body.as_bytes(), &[untyped]);
        // Keys that are there twice are both read.
        assert_eq!(found.len(), 4);
    }
}
