//! Places in a document that was scanned: what can be cut out of it, and what it is made of.

use std::borrow::Cow;
use std::ops::Range;

use super::scanner::Scanner;
use super::{fail, string};

/// Where the member whose value stands at `value` can be cut out of its object, with the comma
/// that parts it from its neighbour.
#[must_use]
pub fn member(bytes: &[u8], value: &Range<usize>) -> Range<usize> {
    let is_space = |at: usize| matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r'));
    let back = |mut at: usize| {
        while at > 0 && is_space(at - 1) {
            at -= 1;
        }
        at
    };
    // Over the colon and the key's two quotes.
    let colon = back(value.start).saturating_sub(1);
    let close = back(colon).saturating_sub(1);
    let start = bytes[..close]
        .iter()
        .rposition(|byte| *byte == b'"')
        .unwrap_or(close);
    let mut end = value.end;
    while is_space(end) {
        end += 1;
    }
    if bytes.get(end) == Some(&b',') {
        return start..end + 1;
    }
    let before = back(start);
    if before > 0 && bytes[before - 1] == b',' {
        return before - 1..value.end;
    }
    start..value.end
}

/// The elements of a JSON array, as ranges of its bytes; `None` for anything else, or more than
/// `most` of them.
#[must_use]
pub fn elements(array: &[u8], most: usize) -> Option<Vec<Range<usize>>> {
    let mut found = Vec::new();
    items(array, b'[', |_, element| {
        let has_room = found.len() < most;
        found.push(element);
        has_room
    })?;
    Some(found)
}

/// The members of a JSON object, each as the ranges of its key (a literal) and of its value;
/// `None` for anything else.
#[must_use]
pub fn members(object: &[u8]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let mut found = Vec::new();
    items(object, b'{', |key, value| {
        found.push((key, value));
        true
    })?;
    Some(found)
}

/// Calls `each` with the elements of a JSON array, one after the other, as long as it returns true. Anything
/// but an array has none.
pub fn each_element<'a>(array: &'a [u8], mut each: impl FnMut(&'a [u8]) -> bool) {
    // What comes before an end is handed over all the same.
    let _ = items(array, b'[', |_, element| each(&array[element]));
}

/// Calls `each` with the keys and the values of a JSON object, one after the other, as long as it returns
/// true. `None` for anything else, and if it did not.
pub fn each_member<'a>(
    object: &'a [u8],
    mut each: impl FnMut(Cow<'a, str>, &'a [u8]) -> bool,
) -> Option<()> {
    items(object, b'{', |key, value| {
        string(&object[key]).is_some_and(|key| each(key, &object[value]))
    })
}

/// Hands over what stands in an object or a list, as long as `take` returns true.
fn items(
    bytes: &[u8],
    open: u8,
    mut take: impl FnMut(Range<usize>, Range<usize>) -> bool,
) -> Option<()> {
    let mut scanner = Scanner::new(bytes);
    scanner.space();
    let each = |_: &[u8], key, value: Range<usize>| {
        let at = value.start;
        take(key, value)
            .then_some(())
            .ok_or_else(|| fail(at, "too many"))
    };
    scanner.items(open, 0, each).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::scan;

    #[test]
    fn members_are_cut_with_one_comma() {
        for (body, left) in [
            (r#"{"id":"x"}"#, "{}"),
            (r#"{ "id" : 1 , "b":2}"#, r#"{  "b":2}"#),
            (r#"{"a":1 , "id":[2] }"#, r#"{"a":1  }"#),
            (r#"{"a":1,"\u0069d":{},"b":2}"#, r#"{"a":1,"b":2}"#),
            (
                "{\"a\":1\t,\n\"id\"\r:\t1\n\r ,\"b\":2}",
                "{\"a\":1\t,\n\"b\":2}",
            ),
            (r#"{"id":1  ,  "b":2}"#, r#"{  "b":2}"#),
            (r#"{"a":"," ,"id":"}"}"#, r#"{"a":"," }"#),
            (r#"  { "id":1 }  "#, r"  {  }  "),
        ] {
            let value = scan(body.as_bytes(), &["id"]).unwrap().get(0).unwrap();
            let cut = member(body.as_bytes(), &value);
            let mut rest = body.to_owned();
            rest.replace_range(cut, "");
            assert_eq!(rest, left);
            assert!(scan(rest.as_bytes(), &[]).is_ok(), "{rest}");
        }
        // A value that isn't a member's has nothing before it.
        assert_eq!(member(b" 1", &(1..2)), 0..2);
    }

    #[test]
    fn elements_are_ranges_of_their_array() {
        let array = br#" [ {"a":[1]} , "x",3]"#;
        let found: Vec<&[u8]> = elements(array, 3)
            .unwrap()
            .into_iter()
            .map(|at| &array[at])
            .collect();
        assert_eq!(found, [&br#"{"a":[1]}"#[..], br#""x""#, b"3"]);
        assert_eq!(elements(array, 2), None);
        assert_eq!(elements(b"{}", 3), None);
        assert!(elements(b"[ ]", 0).unwrap().is_empty());
    }

    #[test]
    fn members_are_keys_and_values() {
        let object = br#" { "a" : [1] , "b\"":{"c":2}}"#;
        let found: Vec<(&[u8], &[u8])> = members(object)
            .unwrap()
            .into_iter()
            .map(|(key, value)| (&object[key], &object[value]))
            .collect();
        assert_eq!(
            found,
            [
                (&br#""a""#[..], &b"[1]"[..]),
                (&br#""b\"""#[..], &br#"{"c":2}"#[..])
            ]
        );
        assert_eq!(members(b"{ }").unwrap(), []);
        assert_eq!(members(b" {\t} ").unwrap(), []);
        assert_eq!(
            members(b"{ \"a\" : 1 , \"b\" : 2 }").unwrap(),
            [(2..5, 8..9), (12..15, 18..19)]
        );
        for broken in [
            "",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1",
            "{\"a\":1;\"b\":2}",
            "{\"a\":1,}",
            "{1:1}",
        ] {
            assert_eq!(members(broken.as_bytes()), None, "{broken}");
        }
        assert_eq!(members(b"[1]"), None);
    }
}
