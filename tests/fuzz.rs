//! Every parser of bytes from outside, fed with damaged documents. The rounds are the same each
//! time; `IRIS_FUZZ_ROUNDS` asks for more of them. None may panic, and what is accepted must mean
//! to the gateway what it means to everybody else.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "fuzz/batches.rs"]
mod batches;
#[path = "fuzz/pieces.rs"]
mod pieces;
#[path = "fuzz/smoke.rs"]
mod smoke;
#[path = "fuzz/src/translated.rs"]
#[expect(unreachable_pub, reason = "a part of the fuzz targets' crate too")]
mod translated;

use bytes::Bytes;
use iris::exchange::guardrails::{Guards, Verdict};
use iris::formats::{ALL, Call, Destination, Head};
use iris::wire::{Rejection, json};
use serde_json::Value;

const ROUNDS: u64 = 30_000;

/// Splitmix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

/// Hands each damaged copy of the documents to `check`.
fn fuzz(seed: u64, documents: &[&str], pieces: &[&str], check: impl FnMut(&[u8], &mut Random)) {
    fuzz_for(ROUNDS, seed, documents, pieces, check);
}

/// Does so as often as this says, where a check takes long.
fn fuzz_for(
    most: u64,
    seed: u64,
    documents: &[&str],
    pieces: &[&str],
    mut check: impl FnMut(&[u8], &mut Random),
) {
    let rounds = std::env::var("IRIS_FUZZ_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let mut random = Random(seed);
    for document in documents {
        check(document.as_bytes(), &mut random);
    }
    for _ in 0..rounds.unwrap_or(most) {
        let mut bytes = documents[random.below(documents.len())].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() + 1);
            match random.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
                2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
                3 => {
                    let piece = pieces[random.below(pieces.len())].as_bytes();
                    bytes.splice(at..at, piece.iter().copied());
                }
                _ => {
                    let end = at + random.below(bytes.len() - at + 1);
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        check(&bytes, &mut random);
    }
}

const REQUESTS: [&str; 4] = [
    r#"{"model":"m","messages":[{"role":"user","content":"hé \u00e9 \ud83d\ude00"}],"stream":true}"#,
    r#"{ "stream" : true , "stream_options":{"include_usage":false}, "model":"p/m", "n":-1.5e+3 }"#,
    r#"{"model":"m","stream_options":null,"stream":true,"tools":[[[{}]]],"x":{"model":"n"}}"#,
    r#"{"a":[],"model":"\u006d","stream":false}"#,
];

const PIECES: [&str; 14] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\"model\":\"n\",",
    "\"Model\":1,",
    "\"stream\":true,",
    "\u{feff}",
    "\u{17f}",
    "\0",
];

fn read(body: &[u8]) -> Result<Call, Rejection> {
    let head = Head {
        path: "/v1/chat/completions",
        query: None,
        headers: &http::HeaderMap::new(),
    };
    ALL[0].read(&head, Bytes::copy_from_slice(body))
}

fn elsewhere() -> Destination<'static> {
    Destination {
        model: "other/model",
        project: None,
        region: None,
        flags: &["openai_chat"],
    }
}

#[test]
fn what_is_sent_on_is_what_was_judged() {
    fuzz(1, &REQUESTS, &PIECES, |bytes, _| {
        let api = ALL[0];
        let Ok(call) = read(bytes) else {
            return;
        };
        // Whatever is accepted is JSON to everyone, with one model, the same for all.
        let value: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(value["model"], call.model.as_str());
        assert_eq!(value["stream"].as_bool().unwrap_or_default(), call.stream);
        let out = api.prepare(&call, &elsewhere()).unwrap();
        let sent: Value = serde_json::from_slice(&out.body).unwrap();
        assert_eq!(sent["model"], "other/model");
        let usage = &sent["stream_options"]["include_usage"];
        assert_eq!(call.stream, *usage == Value::Bool(true) && call.stream);
        for (key, field) in value.as_object().unwrap() {
            assert!(
                key == "model" || key == "stream_options" || sent[key] == *field,
                "{key}"
            );
        }
    });
}

const GUARDED: [&str; 4] = [
    r#"{"model":"m","messages":[{"role":"user","content":"a\u0040b.org \ud83d\ude00 4111 1111 1111 1111"}]}"#,
    r#"{"tools":[{"type":"function","function":{"name":"ok"}}, {"type":"function","function":{"name":"no"}}],"model":"m"}"#,
    r#"{"model":"m","functions":[{"name":"no"}],"tools":[{"type":"x"}],"x":"{\"to\":\"a@b.org\"}"}"#,
    r#"{"model":"m","x":["-----BEGIN PRIVATE KEY-----\n","+49 30 901820","DE89 3704 0044 0532 0130 00"]}"#,
];

#[test]
fn what_guards_leave_is_the_same_request_without_what_they_found() {
    let section = r#"{"guards":{
        "p":{"kind":"patterns","detect":["email","credit_card","private_key","phone","iban","api_key"],"action":"redact"},
        "t":{"kind":"tools","allow":["ok*"],"action":"strip"}}}"#;
    let file = iris::config::parse(section, &|_| None).unwrap().file;
    let (guards, problems) = Guards::compile(&file);
    assert!(problems.is_empty());
    let pieces = [
        &PIECES[..],
        &["a@b.org", "\\u0040", "\\", "[{}],", "\"tools\":", "null"],
    ]
    .concat();
    fuzz(9, &GUARDED, &pieces, |bytes, _| {
        let Ok(call) = read(bytes) else {
            return;
        };
        let before: Value = serde_json::from_slice(bytes).unwrap();
        for name in ["p", "t"] {
            let request = iris::exchange::guardrails::Request {
                api: ALL[0],
                call: &call,
                kind: "application/json",
                pass_keys: &[],
            };
            let Ok(Verdict::Redacted(left, _)) = guards.inspect(
                name,
                request,
                &iris::exchange::guardrails::Limits::default(),
            ) else {
                continue;
            };
            let after: Value = serde_json::from_slice(&left).unwrap();
            assert_eq!(read(&left).unwrap().model, call.model);
            for (key, value) in before.as_object().unwrap() {
                let is_tools = name == "t" && matches!(key.as_str(), "tools" | "functions");
                // Of strings some are others now; nothing else is.
                assert!(is_tools || shape(value) == shape(&after[key]), "{key}");
            }
        }
    });
}

/// A value with all strings alike.
fn shape(value: &Value) -> Value {
    match value {
        Value::String(_) => Value::String(String::new()),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| (key.clone(), shape(value));
            Value::Object(members.iter().map(member).collect())
        }
        other => other.clone(),
    }
}

#[test]
fn strings_are_read_as_everyone_reads_them() {
    let documents = [r#""plain""#, r#""\u00e9\n\"\\/""#, r#""\ud83d\ude00""#];
    fuzz(2, &documents, &PIECES, |bytes, _| {
        if let Ok(text) = serde_json::from_slice::<String>(bytes)
            && bytes.starts_with(b"\"")
            && bytes.ends_with(b"\"")
        {
            assert_eq!(json::string(bytes).as_deref(), Some(text.as_str()));
        }
    });
}

#[test]
fn an_answer_that_is_damaged_is_metered_as_far_as_it_goes() {
    let documents = [
        r#"{"choices":[{"message":{"content":"a","tool_calls":[{}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":1}}}"#,
        r#"{"error":{"message":"x"}}"#,
    ];
    fuzz(4, &documents, &PIECES, |bytes, _| {
        let call = read(REQUESTS[3].as_bytes()).unwrap();
        let mut meter = ALL[0].meter(&call.metered(10_000));
        meter.body(bytes);
        meter.finish();
    });
}

#[test]
fn a_reduced_copy_is_json_and_of_a_short_document_the_document() {
    let documents = [
        REQUESTS[0],
        REQUESTS[1],
        r#"[{"a":1,"a":null},"x",[2.5e3],{"b":{"c":"\ud83d\ude00"}}]"#,
        r#"{"usage":{"n":3},"list":[1,2,3],"error":null,"":"\\\""}"#,
    ];
    fuzz(11, &documents, &PIECES, |bytes, random| {
        let sieve = |cuts: &mut dyn FnMut() -> usize| {
            let (mut sieve, mut elements) = (json::Sieve::default(), Vec::new());
            let mut rest = bytes;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts().clamp(1, rest.len()));
                rest = after;
                sieve.feed(piece, &mut |element| elements.push(element.to_vec()));
            }
            let complete = sieve.is_complete();
            (complete, elements, sieve.finish())
        };
        let whole = sieve(&mut || usize::MAX);
        assert_eq!(sieve(&mut || 1), whole);
        assert_eq!(sieve(&mut || random.below(7)), whole);
        let (complete, elements, copy) = whole;
        let parse = |copy: &[u8]| -> Value { serde_json::from_slice(copy).unwrap() };
        let elements: Vec<Value> = elements.iter().map(|element| parse(element)).collect();
        let copy = (!copy.is_empty()).then(|| parse(&copy));
        match serde_json::from_slice::<Value>(bytes) {
            // A long list of numbers is cut.
            _ if bytes.split(|byte| *byte == b',').count() > 31 => {}
            Ok(Value::Array(list)) => assert_eq!(elements, list),
            Ok(object @ Value::Object(_)) => {
                assert!(complete);
                assert_eq!(copy, Some(object));
            }
            _ => {}
        }
    });
}

#[test]
fn labels_mean_the_same_when_they_are_written_again() {
    use iris::base::labels::{LONGEST, Labels, MOST};
    let documents = ["project=web,run=42", " a=1 ,\tb=x/y:z@1+2", "k=v"];
    let pieces = [
        "=", ",", " ", "\t", "project=", "=x", "\u{e4}", "(none)", "A", "\0",
    ];
    let mut accepted = 0;
    fuzz(17, &documents, &pieces, |bytes, random| {
        let parsed = match Labels::parse([bytes]) {
            Ok(parsed) => parsed,
            Err(error) => {
                assert!(error.to_string().len() < 1_000, "{error}");
                return;
            }
        };
        accepted += 1;
        assert!(parsed.iter().len() <= MOST);
        let is_short = |text: &str| (1..=LONGEST).contains(&text.len());
        assert!(
            parsed
                .iter()
                .all(|(key, value)| is_short(key) && is_short(value))
        );
        let written = parsed.to_string();
        assert_eq!(Labels::parse([written.as_bytes()]).as_ref(), Ok(&parsed));
        // A header may be sent in parts.
        let commas: Vec<usize> = written.match_indices(',').map(|(at, _)| at).collect();
        if let Some(at) = commas.get(random.below(commas.len())) {
            let parts = [&written.as_bytes()[..*at], &written.as_bytes()[at + 1..]];
            assert_eq!(Labels::parse(parts).as_ref(), Ok(&parsed));
        }
    });
    assert!(accepted > 1_000, "{accepted}");
}

#[test]
fn a_configuration_that_was_shown_comes_back_as_it_was() {
    let documents = [
        include_str!("../config/example.hujson"),
        r#"{"providers":{"p":{"baseurl":"http://u:pw@h/x?key=k","apikey":"sk-0123456789abcdef",
            "add_headers":["Authorization: Bearer abc","X-Team: red"]},"q":{"apikey":12}},
            "list":[{"token":"a"},{"token":"b"}],"database":{"url":"postgres://u:p@h/d?password=x"}}"#,
    ];
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "//",
        "/*",
        "*/",
        "${A}",
        "@",
        "?key=",
        "sk-",
        "apikey",
        "\"token\":\"x\",",
        "\u{feff}",
        "\\",
    ];
    let mut hidden = 0;
    fuzz(11, &documents, &pieces, |bytes, _| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(shown) = iris::config::redacted(&text) else {
            return;
        };
        hidden += shown.matches(iris::config::PLACEHOLDER).count();
        assert_eq!(iris::config::redacted(&shown).unwrap(), shown, "{text}");
        let back = iris::config::restored(&shown, &text, &|_| false);
        assert_eq!(back.as_deref(), Ok(&*text), "{shown}");
    });
    assert!(hidden > 1_000, "{hidden} secrets");
}

#[test]
fn a_configuration_is_read_or_refused_with_a_place() {
    let example = include_str!("../config/example.hujson");
    let minimal = include_str!("../config/minimal.hujson");
    let pieces = [
        "{", "}", "[", "]", ",", ":", "\"", "//", "/*", "*/", "${", "null", "1e99", "\u{feff}",
    ];
    fuzz(5, &[example, minimal], &pieces, |bytes, _| {
        let text = String::from_utf8_lossy(bytes);
        match iris::config::parse(&text, &|_| Some(String::new())) {
            Ok(loaded) => drop(iris::exchange::rules::Rules::compile(loaded, 1)),
            Err(findings) => {
                let lines = text.lines().count() + 1;
                assert!(
                    findings.iter().all(|finding| finding.at.line <= lines),
                    "{findings:?}"
                );
                assert!(!findings.is_empty());
            }
        }
    });
}
