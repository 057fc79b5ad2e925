//! The keys as tables, for `docs/CONFIGURATION.md`.

use std::fmt::Write;

use indexmap::IndexMap;

use super::{Key, Kind, document};
use crate::base::money::Field;

/// A line of a table.
struct Row {
    kind: String,
    default: String,
    meaning: String,
}

/// Rows by key, by the keys that lead to their object.
type Sections = IndexMap<String, IndexMap<&'static str, Row>>;

/// The reference: a table for the document, and one for each object in it.
#[must_use]
pub fn reference() -> String {
    let mut sections = Sections::new();
    object("", &document(), &mut sections);
    let mut out = String::new();
    for (path, rows) in &sections {
        let title = if path.is_empty() {
            "The document".to_owned()
        } else {
            format!("`{path}`")
        };
        let level = if path.contains(['.', '[']) {
            "####"
        } else {
            "###"
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "\n{level} {title}\n\n| key | type | default | |\n|---|---|---|---|"
        );
        for (name, row) in rows {
            let inner = if path.is_empty() && sections.contains_key(*name) {
                format!("[`{name}`](#{name})")
            } else {
                format!("`{name}`")
            };
            let Row {
                kind,
                default,
                meaning,
            } = row;
            let _ = writeln!(out, "| {inner} | {kind} | {default} | {meaning} |");
        }
    }
    out
}

fn object(path: &str, keys: &[Key], sections: &mut Sections) {
    for key in keys {
        let kind = kind_name(key.kind);
        let default = match (key.required, &key.default) {
            (true, _) => "required".to_owned(),
            (false, Some(json)) => format!("`{json}`"),
            (false, None) => String::new(),
        };
        let mut meaning = key.meaning.replace('|', "\\|");
        if key.idle {
            meaning.push_str(" Not yet acting.");
        }
        let rows = sections.entry(path.to_owned()).or_default();
        match rows.get_mut(key.name) {
            // Objects of several forms share a table.
            Some(row) if row.kind != kind => row.kind = format!("{} or {kind}", row.kind),
            Some(_) => {}
            None => {
                rows.insert(
                    key.name,
                    Row {
                        kind,
                        default,
                        meaning,
                    },
                );
            }
        }
    }
    for key in keys {
        let path = if path.is_empty() {
            key.name.to_owned()
        } else {
            format!("{path}.{}", key.name)
        };
        inside(&path, key.kind, sections);
    }
}

/// The objects in a value.
fn inside(path: &str, kind: Kind, sections: &mut Sections) {
    match kind {
        Kind::Object(keys) => object(path, &keys(), sections),
        Kind::List(kind) => inside(&format!("{path}[]"), *kind, sections),
        Kind::Map(name, kind) => {
            let name = name.replace(':', "-").to_uppercase();
            inside(&format!("{path}.{name}"), *kind, sections);
        }
        Kind::Any(kinds) => {
            for kind in kinds {
                inside(path, *kind, sections);
            }
        }
        Kind::Capabilities(keys) => object(&format!("{path}.CAPABILITY[]"), &keys(), sections),
        Kind::Prices(keys) => {
            object(path, &keys(), sections);
            let rows = sections.entry(path.to_owned()).or_default();
            for field in Field::ALL {
                let meaning = format!(
                    "Dollars for {} {}. With `_above_200k` behind the name, for prompts above 200,000 tokens.",
                    if field.quantity() == 1_000 {
                        "a thousand"
                    } else {
                        "a million"
                    },
                    field.unit(),
                );
                let row = Row {
                    kind: "price".to_owned(),
                    default: String::new(),
                    meaning,
                };
                rows.insert(field.name(), row);
            }
        }
        _ => {}
    }
}

fn kind_name(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Secret => "text".to_owned(),
        Kind::Flag => "true or false".to_owned(),
        Kind::Integer(least, most) => match (least > i64::MIN, most < i64::MAX) {
            (true, true) => format!("{least} to {most}"),
            (true, false) => format!("number from {least} on"),
            _ => "whole number".to_owned(),
        },
        Kind::Number => "number".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Port => "port".to_owned(),
        Kind::Word(words) => {
            let words = words.iter().filter(|word| !word.is_empty());
            let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
        Kind::List(kind) => format!("list of {}", plural(*kind)),
        Kind::Object(_) | Kind::Map(..) | Kind::Capabilities(_) | Kind::Prices(_) => {
            "object".to_owned()
        }
        Kind::Any(kinds) => {
            let mut names: Vec<String> = kinds.iter().map(|kind| kind_name(*kind)).collect();
            names.dedup();
            names.join(" or ")
        }
    }
}

fn plural(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Secret => "texts".to_owned(),
        Kind::Object(_) => "objects".to_owned(),
        Kind::Any(kinds) => {
            let mut names: Vec<String> = kinds.iter().map(|kind| plural(*kind)).collect();
            names.dedup();
            names.join(" or ")
        }
        other => kind_name(other),
    }
}
