//! The description and the readers, held against each other in both directions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::keys::DOCUMENT;
use super::{Key, Kind};
use crate::config::finding::Findings;
use crate::config::table::Item;
use crate::config::{CAPABILITY, Database, File, hujson, read};

/// What readers say of a document, errors included, and what they make of it.
fn reads(document: &Value) -> (File, Findings) {
    let root = hujson::parse(&document.to_string()).unwrap();
    let findings = Findings::default();
    let item = Item {
        node: &root,
        path: String::new(),
        findings: &findings,
    };
    let file = read::file(&item);
    (file, findings)
}

fn messages(document: &Value) -> Vec<String> {
    let all = reads(document).1.sorted();
    let about_the_whole = "nobody will be able to manage this instance";
    let messages = all.into_iter().map(|finding| finding.message);
    messages
        .filter(|message| !message.contains(about_the_whole))
        .collect()
}

/// What a document means, without where it stands.
fn meaning(document: &Value) -> String {
    let place = regex::Regex::new(r"Position \{[^}]*\}").unwrap();
    let text = format!("{:?}", reads(document).0);
    place.replace_all(&text, "").into_owned()
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// A value of a kind; texts that mean something have an example with their key.
fn some(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!("x"),
        Kind::Flag => json!(true),
        Kind::Integer(least, _) => json!(least.max(1)),
        Kind::Number => json!(1),
        Kind::Duration => json!("7m"),
        Kind::Port => json!(":81"),
        Kind::Word(words) => json!(words[0]),
        Kind::List(kind) => json!([some(*kind)]),
        Kind::Object(keys) | Kind::Prices(keys) => least(keys),
        Kind::Map(_, kind) => json!({ "x": some(*kind) }),
        Kind::Any(kinds) => some(kinds[0]),
        Kind::Capabilities(_) => json!({ CAPABILITY: [] }),
    }
}

fn example(key: &Key) -> Value {
    key.example.map_or_else(|| some(key.kind), parsed)
}

/// An object with what it needs and nothing else.
fn least(keys: &[Key]) -> Value {
    let needed = keys.iter().filter(|key| key.required);
    let members: Map<String, Value> = needed
        .map(|key| (key.name.to_owned(), example(key)))
        .collect();
    Value::Object(members)
}

type Paths = BTreeMap<String, BTreeSet<String>>;

/// A value with every key there is. `round` chooses among values of several forms; lists and maps
/// hold all of them. The keys of each object go into `expected`.
fn whole(kind: Kind, path: &str, round: usize, expected: &mut Paths) -> Value {
    let forms = |kind: &Kind| match kind {
        Kind::Any(kinds) => kinds.to_vec(),
        other => vec![*other],
    };
    match kind {
        Kind::Object(keys) | Kind::Prices(keys) => {
            let names = keys.iter().map(|key| key.name.to_owned());
            expected.entry(path.to_owned()).or_default().extend(names);
            let members = keys.iter().map(|key| {
                let path = match path {
                    "" => key.name.to_owned(),
                    path => format!("{path}.{}", key.name),
                };
                let value = match key.kind {
                    Kind::Object(_)
                    | Kind::List(_)
                    | Kind::Map(..)
                    | Kind::Any(_)
                    | Kind::Capabilities(_)
                    | Kind::Prices(_) => whole(key.kind, &path, round, expected),
                    _ => example(key),
                };
                (key.name.to_owned(), value)
            });
            Value::Object(members.collect())
        }
        Kind::List(kind) => {
            let items = forms(kind).into_iter().enumerate();
            items
                .map(|(nth, kind)| whole(kind, &format!("{path}[{nth}]"), round, expected))
                .collect()
        }
        Kind::Map(_, kind) => {
            let items = forms(kind).into_iter().enumerate();
            let members = items.map(|(nth, kind)| {
                let name = format!("n{nth}");
                let value = whole(kind, &format!("{path}.{name}"), round, expected);
                (name, value)
            });
            Value::Object(members.collect())
        }
        Kind::Any(kinds) => whole(kinds[round % kinds.len()], path, round, expected),
        Kind::Capabilities(keys) => {
            let path = format!("{path}.{CAPABILITY}[0]");
            json!({ CAPABILITY: [whole(Kind::Object(keys), &path, round, expected)] })
        }
        plain => some(plain),
    }
}

/// Objects whose keys no table reads: capability objects, which `access` decodes (and holds to
/// what is described here), and prices, whose keys are names of rates as well.
fn is_read_otherwise(path: &str) -> bool {
    let is_price = path.starts_with("prices.") && path.strip_suffix(".modes").is_none();
    path.contains(CAPABILITY) || is_price
}

#[test]
fn readers_know_the_keys_that_are_described_and_no_others() {
    for round in 0..2 {
        let mut described = Paths::new();
        let document = whole(Kind::Object(DOCUMENT), "", round, &mut described);
        described.retain(|path, _| !is_read_otherwise(path));
        let (_, findings) = reads(&document);
        let mut asked = findings.all_asked();
        // Known so that more can be said of them than that they are unknown.
        let grant = asked.get_mut("grants[0]").unwrap();
        for policy_only in ["dst", "ip", "srcPosture"] {
            assert!(grant.remove(policy_only), "{policy_only}");
        }
        for path in asked.keys().chain(described.keys()) {
            assert_eq!(
                asked.get(path),
                described.get(path),
                "read and described at {path:?}"
            );
        }
        let unknown: Vec<_> = messages(&document)
            .into_iter()
            .filter(|message| message.contains("unknown"))
            .collect();
        assert!(unknown.is_empty(), "{unknown:#?}");
    }
}

/// Is shown a key, and how a document is made that gives it a value or none.
type Look<'a> = dyn FnMut(&'static Key, &dyn Fn(Option<Value>) -> Value) + 'a;

/// Calls `look` with each key below these, and a function that puts an object with the needed
/// keys and those given into a document.
fn each(keys: &'static [Key], into: &dyn Fn(Value) -> Value, look: &mut Look<'_>) {
    for key in keys {
        let place = |value: Option<Value>| {
            let mut object = least(keys);
            if let Some(value) = value {
                object[key.name] = value;
            }
            into(object)
        };
        look(key, &place);
        inside(key.kind, &|value| place(Some(value)), look);
    }
}

fn inside(kind: Kind, into: &dyn Fn(Value) -> Value, look: &mut Look<'_>) {
    match kind {
        Kind::Object(keys) | Kind::Prices(keys) => each(keys, into, look),
        Kind::List(kind) => inside(*kind, &|value| into(json!([value])), look),
        Kind::Map(_, kind) => inside(*kind, &|value| into(json!({ "x": value })), look),
        Kind::Any(kinds) => {
            for kind in kinds {
                inside(*kind, into, look);
            }
        }
        _ => {}
    }
}

/// Another value than the default, if the kind has one.
fn other(key: &Key, default: &Value) -> Option<Value> {
    if key.example.is_some() {
        return Some(example(key));
    }
    match (key.kind, default) {
        (Kind::Flag, Value::Bool(value)) => Some(json!(!value)),
        (Kind::Integer(..), Value::Number(number)) => number.as_i64().map(|one| json!(one + 1)),
        (Kind::Word(words), _) => {
            let mut others = words
                .iter()
                .filter(|word| !word.is_empty() && json!(word) != *default);
            others.next().map(|word| json!(word))
        }
        (kind, _) => Some(some(kind)),
    }
}

#[test]
fn defaults_are_what_the_readers_leave_and_other_values_are_not() {
    // They can't be printed.
    let secret = [
        "auth_key",
        "apikey",
        "access_key_id",
        "access_secret",
        "url",
    ];
    let mut looked_at = 0;
    each(DOCUMENT, &|document| document, &mut |key, place| {
        let Some(default) = key.default.map(parsed) else {
            return;
        };
        looked_at += 1;
        let without = place(None);
        let with = place(Some(default.clone()));
        assert_eq!(meaning(&without), meaning(&with), "{with}");
        let Some(other) = other(key, &default).filter(|_| !secret.contains(&key.name)) else {
            return;
        };
        assert_ne!(other, default, "{} has no other example", key.name);
        let changed = place(Some(other));
        assert_ne!(
            meaning(&without),
            meaning(&changed),
            "{changed} is without effect"
        );
    });
    assert!(looked_at > 80, "{looked_at}");
    let url = DOCUMENT.iter().find(|key| key.name == "database").unwrap();
    let Kind::Object(keys) = url.kind else {
        panic!("an object")
    };
    assert_eq!(
        parsed(keys[0].default.unwrap()),
        Database::default().url.expose()
    );
}

#[test]
fn words_are_taken_and_others_are_not() {
    let mut looked_at = 0;
    each(DOCUMENT, &|document| document, &mut |key, place| {
        let Kind::Word(words) = key.kind else {
            return;
        };
        // The word that makes the object what it is.
        if words.len() == 1 && key.required {
            return;
        }
        looked_at += 1;
        let before = messages(&place(Some(json!(words[0]))));
        for word in words {
            let document = place(Some(json!(word)));
            // A signature wants more of its provider, and a key that can be one.
            if *word != "aws-sigv4" {
                assert_eq!(messages(&document).len(), before.len(), "{document}");
            }
        }
        let document = place(Some(json!("no-such-word")));
        let after = messages(&document);
        assert_ne!(after, before, "{document} is taken");
        for message in after {
            if let Some((_, list)) = message.split_once("is not one of ") {
                let known: BTreeSet<&str> = list
                    .split(", ")
                    .map(|word| word.trim_matches('"'))
                    .collect();
                assert_eq!(known, words.iter().copied().collect(), "{document}");
            }
        }
    });
    assert!(looked_at > 15, "{looked_at}");
}

/// Capability objects with one key each: those that must be decoded and mean something, and those
/// that must not.
pub(crate) fn capabilities() -> (Vec<Value>, Vec<Value>) {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    let acting = super::access::CAPABILITY.iter().filter(|key| !key.idle);
    for key in acting {
        let value = match key.example {
            Some(_) => example(key),
            None => whole(key.kind, "", 0, &mut Paths::new()),
        };
        taken.push(json!({ key.name: value }));
        refused.push(json!({ key.name: 5 }));
        inside(
            key.kind,
            &|value| json!({ key.name: value }),
            &mut |inner, place| {
                let Kind::List(Kind::Word(words)) = inner.kind else {
                    return;
                };
                taken.extend(words.iter().map(|word| place(Some(json!([word])))));
                refused.push(place(Some(json!(["no-such-word"]))));
                refused.push(place(Some(json!("no list"))));
            },
        );
    }
    (taken, refused)
}

/// Rewrites the reference where `IRIS_WRITE_DOCS` is set.
#[test]
fn the_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIGURATION.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mark = "<!-- What follows is generated: `just reference` -->\n";
    let (by_hand, generated) = text
        .split_once(mark)
        .expect("the mark in docs/CONFIGURATION.md");
    if std::env::var_os("IRIS_WRITE_DOCS").is_some() {
        std::fs::write(path, format!("{by_hand}{mark}{}", super::reference())).unwrap();
        return;
    }
    assert!(
        generated == super::reference(),
        "docs/CONFIGURATION.md is stale: run `just reference`"
    );
}
