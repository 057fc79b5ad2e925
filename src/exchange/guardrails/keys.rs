//! What a model reads of a JSON body besides its strings: names of fields that a caller chooses, and
//! long numbers. Neither can be replaced without changing what the request means.

use super::BETWEEN;
use super::encoded::any_of_base64;
use crate::wire::json;

/// Shorter names hold nothing that a detector knows.
const SHORTEST_KEY: usize = 9;
/// Digits of the shortest account number.
const SHORTEST_NUMBER: usize = 9;

/// Objects whose keys a caller chooses: arguments and results of tools, the fields of a schema.
const FREE: [&str; 12] = [
    "args",
    "arguments",
    "definitions",
    "$defs",
    "input",
    "json",
    "labels",
    "metadata",
    "output",
    "patternProperties",
    "properties",
    "response",
];

/// Words of JSON Schema, which are among the fields of a schema.
const SCHEMA: [&str; 28] = [
    "additionalItems",
    "additionalProperties",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "definitions",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "description",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxContains",
    "maxLength",
    "maxProperties",
    "minContains",
    "minLength",
    "minProperties",
    "multipleOf",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "propertyOrdering",
    "unevaluatedItems",
    "unevaluatedProperties",
    "writeOnly",
];

/// An object or a list around the place that is read.
struct Level {
    is_object: bool,
    is_free: bool,
}

/// The keys and numbers of a body that a scan has accepted, one after the other.
pub(super) fn keys_and_numbers(body: &[u8]) -> String {
    let mut read = String::new();
    let mut levels: Vec<Level> = Vec::new();
    let mut opens_free = false;
    let mut at = 0;
    while let Some(byte) = body.get(at) {
        let top = levels.last();
        let (in_object, in_free) = top.map_or((false, false), |top| (top.is_object, top.is_free));
        let start = at;
        at += 1;
        match byte {
            b'"' => {
                let Some(end) = json::closing(body, start + 1) else {
                    break;
                };
                at = end;
                if in_object && is_before_colon(&body[end..]) {
                    let key = json::string(&body[start..end]).unwrap_or_default();
                    opens_free = FREE.contains(&&*key);
                    push_key(&key, in_free, &mut read);
                }
            }
            b'{' | b'[' => {
                let opens_free = std::mem::take(&mut opens_free) && *byte == b'{';
                levels.push(Level {
                    is_object: *byte == b'{',
                    is_free: in_free || opens_free,
                });
            }
            b'}' | b']' => drop(levels.pop()),
            b'-' | b'0'..=b'9' => {
                let rest = &body[start..];
                let length = rest.iter().take_while(|byte| is_of_number(**byte)).count();
                at = start + length.max(1);
                let literal = std::str::from_utf8(&rest[..length]).unwrap_or_default();
                if let Some(number) = long_number(literal) {
                    read.push_str(&number);
                    read.push_str(BETWEEN);
                }
            }
            _ => {}
        }
    }
    read
}

fn is_before_colon(rest: &[u8]) -> bool {
    let next = rest.iter().find(|byte| !byte.is_ascii_whitespace());
    next == Some(&b':')
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || b"+-.eE".contains(&byte)
}

/// Adds a key, unless it is a word of a format: letters, where callers don't choose the keys.
fn push_key(key: &str, is_free: bool, read: &mut String) {
    let is_word = key
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if key.len() < SHORTEST_KEY || (is_word && (!is_free || SCHEMA.contains(&key))) {
        return;
    }
    for text in std::iter::once(key).chain(any_of_base64(key).as_deref()) {
        read.push_str(text);
        read.push_str(BETWEEN);
    }
}

/// The digits of a number that has many, however it is written.
fn long_number(literal: &str) -> Option<String> {
    let literal = literal.trim_start_matches('-');
    let digits = if literal.contains(['e', 'E']) {
        // No account number has more digits.
        let number = literal.parse().ok().filter(|number: &f64| *number < 1e40)?;
        format!("{number:.0}")
    } else {
        literal.split('.').next().unwrap_or_default().to_owned()
    };
    (digits.len() >= SHORTEST_NUMBER).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_keys_and_long_numbers_are_read() {
        let body = r#"{"model":"m","prompt_cache_retention":1,"seed":123456789,"messages":[
            {"content":[{"type":"tool_use","input":{"ann@example.org":true,"project_zeus":{"deeper_name":1}}}]},
            {"args":{"card":4111111111111111,"other":-4.111111111111111e15,"third":4111111111111112.0}},
            {"input":[{"encrypted_content_of":1}], "\u0061nn@example.com":0.123456789012}],
            "tools":[{"parameters":{"additionalProperties":false,"properties":{"additionalProperties":{},"secret_name":{"description":"x"}}}}],
            "YW5uQGV4YW1wbGUub3Jn":[]}"#;
        let read = keys_and_numbers(body.as_bytes());
        let read: Vec<&str> = read.split_terminator(BETWEEN).collect();
        assert_eq!(
            read,
            [
                "123456789",
                "ann@example.org",
                "project_zeus",
                "deeper_name",
                "4111111111111111",
                "4111111111111111",
                "4111111111111112",
                "ann@example.com",
                "secret_name",
                "YW5uQGV4YW1wbGUub3Jn",
                "ann@example.org",
            ]
        );
        for broken in ["", "\"", "{\"a", "]]}}", "-", "{\"a\":1e"] {
            assert_eq!(keys_and_numbers(broken.as_bytes()), "", "{broken}");
        }
    }
}
