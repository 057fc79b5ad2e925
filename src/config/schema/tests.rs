//! What is declared is what is read: for values that a reader of their own takes, and for words.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Key, Kind, document};
use crate::config::declare::Section;
use crate::config::finding::Findings;
use crate::config::table::Item;
use crate::config::{CAPABILITY, File, hujson};

fn messages(document: &Value) -> Vec<String> {
    let root = hujson::parse(&document.to_string()).unwrap();
    let findings = Findings::default();
    let item = Item::root(&root, &findings);
    File::of(item.table().unwrap());
    let all = findings.sorted();
    let about_the_whole = "nobody will be able to manage this instance";
    let messages = all.into_iter().map(|finding| finding.message);
    messages
        .filter(|message| !message.contains(about_the_whole))
        .collect()
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// A value of a kind; texts that mean something have an example with their key.
fn some(kind: Kind) -> Value {
    match kind {
        Kind::Text | Kind::Secret => json!("x"),
        Kind::Flag => json!(true),
        Kind::Integer(least, _) => json!(least.max(1)),
        Kind::Number => json!(1),
        Kind::Duration => json!("7m"),
        Kind::Port => json!(":81"),
        Kind::Word(words) => json!(first(words)),
        Kind::List(kind) => json!([some(*kind)]),
        Kind::Object(keys) | Kind::Prices(keys) => least(&keys()),
        Kind::Map(_, kind) => json!({ "x": some(*kind) }),
        Kind::Any(kinds) => some(kinds[0]),
        Kind::Capabilities(_) => json!({ CAPABILITY: [] }),
    }
}

fn first(words: &[&'static str]) -> &'static str {
    words.iter().find(|word| !word.is_empty()).unwrap()
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

/// A value with every key there is. `round` chooses among values of several forms; lists and maps
/// hold all of them.
fn whole(kind: Kind, round: usize) -> Value {
    let forms = |kind: &Kind| match kind {
        Kind::Any(kinds) => kinds.to_vec(),
        other => vec![*other],
    };
    match kind {
        Kind::Object(keys) | Kind::Prices(keys) => {
            let members = keys().into_iter().map(|key| {
                let value = match key.kind {
                    Kind::Object(_)
                    | Kind::List(_)
                    | Kind::Map(..)
                    | Kind::Any(_)
                    | Kind::Capabilities(_)
                    | Kind::Prices(_) => whole(key.kind, round),
                    _ => example(&key),
                };
                (key.name.to_owned(), value)
            });
            Value::Object(members.collect())
        }
        Kind::List(kind) => {
            let items = forms(kind).into_iter();
            items.map(|kind| whole(kind, round)).collect()
        }
        Kind::Map(_, kind) => {
            let items = forms(kind).into_iter().enumerate();
            let members = items.map(|(nth, kind)| (format!("n{nth}"), whole(kind, round)));
            Value::Object(members.collect())
        }
        Kind::Any(kinds) => whole(kinds[round % kinds.len()], round),
        Kind::Capabilities(keys) => json!({ CAPABILITY: [whole(Kind::Object(keys), round)] }),
        plain => some(plain),
    }
}

#[test]
fn every_key_that_is_declared_is_read() {
    for round in 0..2 {
        let document = whole(Kind::Object(document), round);
        let mut unknown = messages(&document);
        unknown.retain(|message| message.contains("unknown"));
        assert!(unknown.is_empty(), "{unknown:#?}");
    }
}

/// Is shown a key, and how a document is made that gives it a value or none.
type Look<'a> = dyn FnMut(&Key, &dyn Fn(Option<Value>) -> Value) + 'a;

/// Calls `look` with each key below these, and a function that puts an object with the needed
/// keys and those given into a document.
fn each(keys: &[Key], into: &dyn Fn(Value) -> Value, look: &mut Look<'_>) {
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
        Kind::Object(keys) | Kind::Prices(keys) => each(&keys(), into, look),
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

#[test]
fn words_are_taken_and_others_are_not() {
    let mut looked_at = 0;
    each(&document(), &|document| document, &mut |key, place| {
        let Kind::Word(words) = key.kind else {
            return;
        };
        // The word that makes the object what it is.
        if words.len() == 1 && key.required {
            return;
        }
        looked_at += 1;
        let before = messages(&place(Some(json!(first(words)))));
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
    let all = crate::config::capability::Capability::keys();
    let acting = all.iter().filter(|key| !key.idle);
    for key in acting {
        let value = match key.example {
            Some(_) => example(key),
            None => whole(key.kind, 0),
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
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIGURATION.md");
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
