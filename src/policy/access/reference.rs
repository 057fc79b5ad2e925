//! Decisions against a second reading of `docs/GRANTS.md`, which shares no code with the first:
//! it asks the objects as they are written, one question at a time, where the module compiles
//! them. A case is a configuration, a caller and a model; `IRIS_GRANT_CASES` asks for more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Access, Role, Subject};
use crate::base::reasons::Reason;
use crate::config;
use crate::policy::identity::Caller;
use crate::policy::identity::tests_support::whois;

const CASES: usize = 100_000;
const NAMES: [&str; 6] = [
    "a@x.org", "b@x.org", "c@y.org", "tag:ci", "tag:gpu", "tag:z",
];
const OUTSIDE: [&str; 2] = ["external:a@x.org", "external:c@y.org"];
const GROUPS: [&str; 3] = ["group:eng", "group:ops", "autogroup:member"];
const PATTERNS: [&str; 11] = [
    "**", "p/**", "q/**", "*/m", "*/m*", "p/*", "p/m-*-1", "*/*/x", "q*/**", "**/m", "",
];
const PROVIDERS: [&str; 3] = ["p", "q", "q-eu"];
const MODELS: [&str; 5] = ["m", "m-a-1", "n", "v/x", "v/m"];
const WORDS: [&str; 3] = ["one", "two", "three"];
const CAPABILITIES: [&str; 3] = [config::CAPABILITY, "x.org/cap/ai", "y.org/cap/ai"];

/// Objects by the name of their capability.
type App = BTreeMap<&'static str, Vec<Value>>;

/// A caller, as the documentation describes one.
#[derive(Clone, Debug)]
struct Who {
    /// Their login, or the tags of their device; nothing for the machine itself.
    names: Vec<&'static str>,
    shared_in: bool,
    groups: Vec<&'static str>,
    policy: App,
}

/// A configuration as it is written.
#[derive(Debug)]
struct Written {
    /// Names that count.
    capabilities: Vec<&'static str>,
    groups: BTreeMap<&'static str, Vec<&'static str>>,
    grants: Vec<(Vec<&'static str>, App)>,
    admins_read_captures: bool,
}

/// What is decided of a caller and a model.
#[derive(Debug, Default, PartialEq)]
struct Decided {
    role: Option<(Role, String)>,
    covers: Option<(String, String)>,
    quotas: Vec<String>,
    guards: BTreeSet<String>,
    headers: Vec<String>,
    hooks: Vec<String>,
    /// Prices, metrics, captures, the chat.
    may: [bool; 4],
    filters: Vec<bool>,
}

// The second reading.

/// Whether a source names a caller, and then whether it can mean no other one: a user of another
/// tailnet may share a login with one of this.
fn is_meant(src: &str, who: &Who, written: &Written) -> Option<bool> {
    let by_name = |src: &str| {
        let outside = src.strip_prefix("external:");
        match outside {
            Some(login) => (who.shared_in && who.names.contains(&login)).then_some(true),
            None => who.names.contains(&src).then_some(!who.shared_in),
        }
    };
    match src {
        "*" => (!who.shared_in && !who.names.is_empty()).then_some(true),
        "(loopback)" => who.names.is_empty().then_some(true),
        group if group.contains("group:") => {
            let in_group = who.groups.contains(&group).then_some(!who.shared_in);
            let listed = written.groups.get(group).into_iter().flatten();
            listed
                .filter_map(|member| by_name(member))
                .chain(in_group)
                .max()
        }
        name => by_name(name),
    }
}

/// What an object gives a caller who may not be meant: models, and at most the role `user`.
fn without_power(object: &Value) -> Value {
    let mut object = object.clone();
    if can_be_read(&object) {
        if object["role"] == "admin" {
            object["role"] = json!("user");
        }
        for field in [
            "read_pricing",
            "read_metrics",
            "read_captures",
            "filterable_headers",
        ] {
            object.as_object_mut().unwrap().remove(field);
        }
    }
    object
}

fn is_covered(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=name.len()).any(|skip| is_covered(rest, &name[skip..])),
        [b'*', rest @ ..] => {
            let part = name.split(|byte| *byte == b'/').next().unwrap().len();
            (0..=part).any(|skip| is_covered(rest, &name[skip..]))
        }
        [byte, rest @ ..] => name.first() == Some(byte) && is_covered(rest, &name[1..]),
    }
}

fn can_be_read(object: &Value) -> bool {
    matches!(object["role"].as_str(), None | Some("user" | "admin"))
        && (object["models"].is_null() || object["models"].is_string())
        && ["read_pricing", "enable_chat_ui"]
            .iter()
            .all(|flag| object[*flag].is_null() || object[*flag].is_boolean())
        && ["quotas", "guards"]
            .iter()
            .all(|list| object[*list].is_null() || object[*list].is_array())
}

/// Everything that is given to a caller, in its order, with its place.
fn given(written: &Written, who: &Who) -> Vec<(Value, String)> {
    let mut all: Vec<(Value, String)> = Vec::new();
    for (nth, (src, app)) in written.grants.iter().enumerate() {
        let meant = src.iter().filter_map(|src| is_meant(src, who, written));
        if let Some(is_sure) = meant.max() {
            let objects = written
                .capabilities
                .iter()
                .filter_map(|name| app.get(name))
                .flatten();
            all.extend(objects.map(|object| {
                let object = if is_sure {
                    object.clone()
                } else {
                    without_power(object)
                };
                (object, format!("grants[{nth}], line 1"))
            }));
        }
    }
    for name in &written.capabilities {
        let objects = who.policy.get(name).into_iter().flatten();
        all.extend(objects.map(|object| (object.clone(), format!("the tailnet policy's {name}"))));
    }
    all
}

fn reference(written: &Written, who: &Who, name: &str) -> Decided {
    let all = given(written, who);
    let sound: Vec<_> = all
        .iter()
        .filter(|(object, _)| can_be_read(object))
        .collect();
    let says = |field: &str, value: Value| sound.iter().find(|(object, _)| object[field] == value);
    let (admin, user) = (says("role", json!("admin")), says("role", json!("user")));
    let Some((role, (_, from))) = admin
        .map(|by| (Role::Admin, by))
        .or(user.map(|by| (Role::User, by)))
    else {
        return Decided::default();
    };
    let yes = |field: &str, otherwise: bool| {
        says(field, json!(true)).is_some() || says(field, json!(false)).is_none() && otherwise
    };
    let holds = |object: &Value| {
        object["models"]
            .as_str()
            .is_none_or(|models| is_covered(models.as_bytes(), name.as_bytes()))
    };
    let list = |only_sound: bool, field: &str, key: &str| -> Vec<String> {
        let objects = all
            .iter()
            .filter(|(object, _)| holds(object) && (can_be_read(object) || !only_sound));
        let entries = objects.flat_map(|(object, _)| match &object[field] {
            Value::Array(entries) => entries.clone(),
            Value::Null => Vec::new(),
            one => vec![one.clone()],
        });
        entries
            .map(|entry| {
                entry
                    .get(key)
                    .unwrap_or(&entry)
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    };
    let filter = |word: &str| {
        sound.iter().any(|(object, _)| {
            object["filterable_headers"]
                .as_array()
                .is_some_and(|names| names.iter().any(|name| name == word || name == "*"))
        })
    };
    let mut quotas = list(false, "quotas", "bucket");
    quotas.sort();
    Decided {
        covers: (sound
            .iter()
            .find(|(object, _)| object["models"].is_string() && holds(object)))
        .map(|(object, from)| (object["models"].as_str().unwrap().to_owned(), from.clone())),
        quotas,
        guards: list(false, "guards", "").into_iter().collect(),
        headers: list(true, "add_headers", ""),
        hooks: list(true, "send_hooks", "name"),
        may: [
            yes("read_pricing", false),
            yes("read_metrics", false),
            role == Role::Admin && yes("read_captures", written.admins_read_captures),
            yes("enable_chat_ui", true),
        ],
        filters: WORDS.map(filter).to_vec(),
        role: Some((role, from.clone())),
    }
}

// What the gateway decides.

fn real(access: &Access, caller: &Caller, subject: Subject<'_>) -> Decided {
    let Ok(permit) = access.permit(caller) else {
        return Decided::default();
    };
    let mut quotas: Vec<_> = permit
        .quotas(subject)
        .map(|(bucket, _)| bucket.bucket.clone())
        .collect();
    quotas.sort();
    let guards = permit.guards(subject).into_iter();
    Decided {
        role: Some((permit.role(), permit.role_source().to_owned())),
        covers: permit.why(subject).map(|why| match why {
            Reason::Granted { pattern, grant } => (pattern.to_string(), grant.to_string()),
            other => panic!("{other}"),
        }),
        quotas,
        guards: guards.map(str::to_owned).collect(),
        headers: permit
            .headers(subject)
            .map(|header| format!("{}: {}", header.name, header.value))
            .collect(),
        hooks: permit
            .hooks(subject)
            .map(|hook| hook.name.clone())
            .collect(),
        may: [
            permit.may_read_pricing(),
            permit.may_read_metrics(),
            permit.may_read_captures(),
            permit.may_chat(),
        ],
        filters: WORDS.map(|word| permit.may_filter_by(word)).to_vec(),
    }
}

/// Xorshift: the same cases in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }

    /// Once in so many times.
    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn some<T: Copy>(&mut self, all: &[T], most: usize) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| self.of(all)).collect()
    }

    fn object(&mut self) -> Value {
        let mut object = json!({});
        let mut add = |field: &str, value: Value| object[field] = value;
        if self.one_in(3) {
            let role = if self.one_in(3) { "admin" } else { "user" };
            add("role", json!(role));
        }
        if self.one_in(2) {
            add("models", json!(self.of(&PATTERNS)));
        }
        for flag in [
            "read_pricing",
            "read_metrics",
            "read_captures",
            "enable_chat_ui",
        ] {
            if self.one_in(6) {
                add(flag, json!(self.one_in(2)));
            }
        }
        for list in [
            "guards",
            "quotas",
            "add_headers",
            "filterable_headers",
            "send_hooks",
        ] {
            if self.one_in(5) {
                let words = self.some(&WORDS, 2);
                let entry = |word: &&str| match list {
                    "quotas" => json!({ "bucket": word }),
                    "send_hooks" => json!({ "name": word, "events": ["entire_request"] }),
                    "add_headers" => json!(format!("X-{word}: {word}")),
                    _ => json!(word),
                };
                add(list, words.iter().map(entry).collect());
            }
        }
        if self.one_in(20) {
            add("filterable_headers", json!(["*"]));
        }
        // Every eighth is one that can't be read.
        match self.below(48) {
            0 => add("role", json!("owner")),
            1 => add("models", json!(5)),
            2 => add("read_pricing", json!("yes")),
            3 => add("guards", json!("two")),
            4 => add("quotas", json!({ "bucket": "three" })),
            5 => add("enable_chat_ui", json!(1)),
            _ => {}
        }
        object
    }

    fn app(&mut self) -> App {
        let mut app = App::new();
        for capability in CAPABILITIES {
            if self.one_in(if capability == config::CAPABILITY {
                1
            } else {
                4
            }) {
                app.insert(
                    capability,
                    (0..=self.below(3)).map(|_| self.object()).collect(),
                );
            }
        }
        app
    }

    fn written(&mut self) -> Written {
        let sources: Vec<_> = NAMES
            .iter()
            .chain(&OUTSIDE)
            .chain(&GROUPS)
            .chain(&["*", "(loopback)"])
            .copied()
            .collect();
        let capabilities: &[&str] =
            self.of(&[&CAPABILITIES[..1], &CAPABILITIES[..2], &CAPABILITIES[1..2]]);
        Written {
            capabilities: capabilities.to_vec(),
            groups: GROUPS[..2]
                .iter()
                .map(|group| {
                    let mut members = self.some(&NAMES, 3);
                    members.extend(self.some(&OUTSIDE, 1));
                    (*group, members)
                })
                .collect(),
            grants: (0..self.below(7))
                .map(|_| (self.some(&sources, 3), self.app()))
                .collect(),
            admins_read_captures: self.one_in(2),
        }
    }

    fn who(&mut self) -> Who {
        let names = match self.below(5) {
            0 => Vec::new(),
            1 => {
                let mut tags = self.some(&NAMES[3..], 2);
                tags.push(self.of(&NAMES[3..]));
                tags
            }
            _ => vec![self.of(&NAMES[..3])],
        };
        let is_person = names.first().is_some_and(|name| name.contains('@'));
        Who {
            shared_in: is_person && self.one_in(4),
            groups: if names.is_empty() {
                Vec::new()
            } else {
                self.some(&GROUPS, 2)
            },
            policy: if names.is_empty() || self.one_in(2) {
                App::new()
            } else {
                self.app()
            },
            names,
        }
    }
}

impl Written {
    fn compile(&self) -> Access {
        let grants: Vec<_> = self
            .grants
            .iter()
            .map(|(src, app)| json!({ "src": src, "app": app }))
            .collect();
        let text = json!({
            "tailnet": { "capabilities": self.capabilities },
            "groups": self.groups,
            "access": { "admins_read_captures": self.admins_read_captures },
            "grants": grants,
        });
        Access::compile(&config::parse(&text.to_string(), &|_| None).unwrap().file)
    }
}

impl Who {
    fn caller(&self) -> Caller {
        let Some(first) = self.names.first() else {
            return Caller::clone(&Caller::loopback());
        };
        let (login, tags) = if first.contains('@') {
            (Some(*first), &[][..])
        } else {
            (None, &self.names[..])
        };
        let mut whois = whois(login, tags);
        whois.shared_in = self.shared_in;
        whois.groups = self
            .groups
            .iter()
            .map(|group| (*group).to_owned())
            .collect();
        let raw = |object: &Value| RawValue::from_string(object.to_string()).unwrap();
        let policy = self
            .policy
            .iter()
            .map(|(name, objects)| ((*name).to_owned(), objects.iter().map(raw).collect()));
        whois.capabilities = policy.collect();
        Caller::from_whois(whois).unwrap()
    }
}

#[test]
fn every_decision_is_as_documented() {
    let cases = std::env::var("IRIS_GRANT_CASES")
        .ok()
        .and_then(|text| text.parse().ok());
    let cases = cases.unwrap_or(CASES);
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let (mut done, mut allowed, mut admins, mut covered) = (0, 0, 0, 0);
    while done < cases {
        let written = chance.written();
        let access = written.compile();
        for _ in 0..6 {
            let who = chance.who();
            let caller = who.caller();
            for _ in 0..4 {
                let (provider, model) = (chance.of(&PROVIDERS), chance.of(&MODELS));
                let expected = reference(&written, &who, &format!("{provider}/{model}"));
                let decided = real(&access, &caller, Subject::model(provider, model));
                assert_eq!(
                    decided, expected,
                    "{provider}/{model} for {who:?} by {written:?}"
                );
                done += 1;
                allowed += usize::from(expected.role.is_some());
                admins += usize::from(matches!(expected.role, Some((Role::Admin, _))));
                covered += usize::from(expected.covers.is_some());
            }
        }
    }
    println!("{done} cases: {allowed} with a role, {admins} of admins, {covered} with the model");
    // Cases that all say no would prove nothing.
    assert!(allowed * 4 > done && admins * 10 > done && covered * 10 > done && allowed < done);
}
