//! The keys as JSON Schema, which editors use to complete and to check.

use serde_json::{Map, Value, json};

use super::{Key, Kind, document};
use crate::base::money::Field;

/// What a text that holds a reference looks like: it may become anything.
const REFERENCE: &str = r"\$\{";

/// The JSON Schema (2020-12) of a configuration.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = object(&document());
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Iris configuration");
    schema
}

fn object(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = value(key.kind);
    schema["description"] = json!(description(key));
    if let Some(default) = &key.default {
        schema["default"] = default.clone();
    }
    schema
}

/// Editors show no links.
fn description(key: &Key) -> String {
    let mut text = String::new();
    let mut rest = key.meaning;
    while let Some((before, link)) = rest.split_once('[')
        && let Some((_, target)) = link.split_once("](")
        && let Some((page, after)) = target.split_once(')')
    {
        text.push_str(before);
        text.push_str("docs/");
        text.push_str(page);
        rest = after;
    }
    text.push_str(rest);
    if key.idle {
        text.push_str(" Not yet acting.");
    }
    text
}

fn value(kind: Kind) -> Value {
    match kind {
        Kind::Text | Kind::Secret => json!({ "type": "string" }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Integer(least, most) => {
            let mut schema = json!({ "type": "integer" });
            if least > i64::MIN {
                schema["minimum"] = json!(least);
            }
            if most < i64::MAX {
                schema["maximum"] = json!(most);
            }
            schema
        }
        Kind::Number => json!({ "type": "number", "minimum": 0 }),
        Kind::Duration => {
            let pattern = format!(r"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)$|{REFERENCE}");
            json!({ "type": "string", "pattern": pattern })
        }
        Kind::Port => {
            json!({ "type": "string", "pattern": format!("^(:[0-9]{{1,5}})?$|{REFERENCE}") })
        }
        Kind::Word(words) => {
            // The empty word is offered last.
            let mut words = words.to_vec();
            words.sort_by_key(|word| word.is_empty());
            json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": REFERENCE }] })
        }
        Kind::List(kind) => json!({ "type": "array", "items": value(*kind) }),
        Kind::Object(keys) => object(&keys()),
        Kind::Map(_, kind) => json!({ "type": "object", "additionalProperties": value(*kind) }),
        Kind::Any(kinds) => {
            let kinds: Vec<Value> = kinds.iter().map(|kind| value(*kind)).collect();
            json!({ "anyOf": kinds })
        }
        Kind::Capabilities(keys) => {
            let capability = object(&keys());
            json!({
                "type": "object",
                "patternProperties": { "/cap/aperture$": { "type": "array", "items": capability } },
                "additionalProperties": { "type": "array" },
            })
        }
        Kind::Prices(keys) => {
            let mut schema = object(&keys());
            let names = Field::ALL.map(Field::name).join("|");
            let pattern = format!("^({names})(_above_[0-9]+k)?$");
            let price = json!({
                "type": ["string", "number"],
                "description": "Dollars for a million tokens, or for a thousand searches.",
            });
            schema["patternProperties"] = json!({ pattern: price });
            schema
        }
    }
}
