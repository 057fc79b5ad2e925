//! What guardrails find, what they cost, and when they stop.

use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::detector::hits;
use super::*;
use crate::formats::translate::{Seal, SealKind};

const REDACT_MAIL: &str = r#"{"kind":"patterns","detect":["email"],"action":"redact"}"#;
const API: &Format = crate::formats::ALL[0];

fn call(body: &str) -> Call {
    let head = crate::formats::Head {
        path: "/v1/chat/completions",
        query: None,
        headers: &http::HeaderMap::new(),
    };
    API.read(&head, Bytes::copy_from_slice(body.as_bytes()))
        .unwrap()
}

fn request(call: &Call) -> Request<'_> {
    Request {
        api: API,
        call,
        kind: "application/json",
        pass_keys: &[],
    }
}

fn guards(definition: &str) -> (Guards, Vec<(String, String)>) {
    let text = format!(r#"{{"guards":{{"g":{definition}}}}}"#);
    Guards::compile(&config::parse(&text, &|_| None).unwrap().file)
}

fn inspect(definition: &str, body: &str) -> Verdict {
    let (guards, problems) = guards(definition);
    assert!(problems.is_empty(), "{problems:?}");
    let verdict = guards.inspect("g", request(&call(body)), &Limits::default());
    verdict.unwrap()
}

/// The body without what was found, and what that was.
#[track_caller]
fn redacted(definition: &str, body: &str) -> (Bytes, String) {
    match inspect(definition, body) {
        Verdict::Redacted(left, what) => (left, what),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn blocked(definition: &str, body: &str) -> Rejection {
    match inspect(definition, body) {
        Verdict::Blocked(rejection, _) => rejection,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_found_is_taken_out_and_all_else_is_as_it_was() {
    let body = r#"{ "model" : "m", "messages":[{"role":"user","content":"mail \"ann@example.com\" or 4111 1111 1111 1111"}], "n":1.0 }"#;
    let definition = r#"{"kind":"patterns","detect":["email","credit_card"],"action":"redact"}"#;
    let (left, what) = redacted(definition, body);
    let expected = body
        .replace("ann@example.com", "[redacted email]")
        .replace("4111 1111 1111 1111", "[redacted credit_card]");
    assert_eq!(left, expected);
    assert_eq!(what, "1 × email, 1 × credit_card");
}

/// Iris seals what a provider has signed, and anyone can write such a seal.
#[test]
fn a_seal_is_left_alone_and_hides_no_text() {
    let body = |text: &str| {
        let detail = format!(r#"{{"type":"reasoning.text","text":"hm","signature":"{text}"}}"#);
        format!(
            r#"{{"model":"m","messages":[{{"role":"assistant","content":"","reasoning_details":[{detail}]}}]}}"#
        )
    };
    let encode = |text: &[u8]| aws_smithy_types::base64::encode(text);
    let seal = |value: &str| Seal::new("anthropic_messages", SealKind::Signature, value);
    // Such a pattern matches what is drawn at random.
    let random = r#"{"kind":"patterns","patterns":["[A-Za-z0-9+/]{40}"],"action":"redact"}"#;
    let signed = seal(&encode(&[0x9f; 60]));
    for text in [signed.closed(), signed.closed_base64()] {
        let verdict = inspect(random, &body(&text));
        assert!(matches!(verdict, Verdict::Passed), "{text}: {verdict:?}");
    }
    let mail = "ann@example.com, who wrote to the others about it";
    let named = Seal {
        id: Some(mail.to_owned()),
        ..signed
    };
    for seal in [
        seal(mail),
        seal(&encode(mail.as_bytes())),
        seal(&encode(encode(mail.as_bytes()).as_bytes())),
        named,
    ] {
        for text in [seal.closed(), seal.closed_base64()] {
            blocked(REDACT_MAIL, &body(&text));
        }
    }
    let odd = Seal {
        format: "zeus".to_owned(),
        ..seal("v")
    };
    let zeus = r#"{"kind":"patterns","patterns":["zeus"],"action":"redact"}"#;
    blocked(zeus, &body(&odd.closed()));
    // What only looks like one is a text.
    let (left, _) = redacted(
        REDACT_MAIL,
        &body("iris.anthropic_messages.ann@example.com"),
    );
    assert_eq!(left, body("[redacted email]"));
    // In another place a seal is one, too.
    let elsewhere = seal(mail).closed();
    let elsewhere =
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{elsewhere}"}}]}}"#);
    blocked(REDACT_MAIL, &elsewhere);
}

#[test]
fn tools_that_are_not_allowed_are_taken_out_or_block() {
    let allow =
        |action: &str| format!(r#"{{"kind":"tools","allow":["read_*","b"],"action":"{action}"}}"#);
    let body = r#"{"model":"m","n": 1, "tools": [ {"function":{"name":"read_file"}} , {"function":{"name":"rm"}}, {"function":{"name":"b"}}], "stop":[]}"#;
    let (left, _) = redacted(&allow("redact"), body);
    assert_eq!(left, body.replace(r#" {"function":{"name":"rm"}},"#, ""));
    let none = r#"{"model":"m","tools":[{"function":{"name":"rm"}}]}"#;
    blocked(&allow("redact"), none);
    blocked(&allow("block"), body);
    let unclear = call(r#"{"model":"m","Tools":[{"function":{"name":"b"}}]}"#);
    let found = tools::inspect(&["b".to_owned()], false, request(&unclear));
    assert!(found.unwrap().what.contains("read in two ways"));
    let fine = r#"{"model":"m","tools":[{"function":{"name":"b"}}]}"#;
    assert!(matches!(inspect(&allow("block"), fine), Verdict::Passed));
}

#[test]
fn own_patterns_block_and_are_not_repeated() {
    let definition = r#"{"kind":"patterns","patterns":["(?i)project\\s+zeus"]}"#;
    let body = r#"{"model":"m","user":"tell me of Project  Zeus"}"#;
    let rejection = blocked(definition, body);
    assert_eq!(rejection.status, 403);
    assert!(!rejection.message.contains("Zeus"));
    blocked(
        definition,
        r#"{"model":"m","metadata":{"project zeus":"a"}}"#,
    );
    let key = r#"{"model":"m","metadata":{"project":"a"}}"#;
    assert!(matches!(inspect(definition, key), Verdict::Passed));
    let report = definition.replace("]}", r#"],"action":"report"}"#);
    assert!(matches!(inspect(&report, body), Verdict::Reported(_)));
}

#[test]
fn keys_that_agents_send_are_known() {
    for guard in [
        r#"{"kind":"patterns","detect":["email"]}"#,
        r#"{"kind":"tools","allow":[]}"#,
    ] {
        for key in [
            r#""reasoningSummary":"auto""#,
            r#""reasoningEffort":"high""#,
            r#""textVerbosity":"low""#,
            r#""promptCacheKey":"s""#,
            r#""include":["x"]"#,
            r#""litellm_session_id":"s""#,
        ] {
            let body = format!(r#"{{"model":"m",{key}}}"#);
            assert!(matches!(inspect(guard, &body), Verdict::Passed), "{key}");
        }
        blocked(guard, r#"{"model":"m","something":"x"}"#);
    }
}

#[test]
fn guardrails_that_can_not_inspect_are_found() {
    for guard in [
        r#"{"kind":"patterns","detect":["everything"]}"#,
        r#"{"kind":"patterns","patterns":["("]}"#,
        r#"{"kind":"patterns"}"#,
    ] {
        let (guards, problems) = guards(guard);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let call = call(r#"{"model":"m"}"#);
        let verdict = guards.inspect("g", request(&call), &Limits::default());
        assert_eq!(verdict.unwrap_err().status, 503);
    }
    assert!(config::parse(r#"{"guards":{"g":{"kind":"x"}}}"#, &|_| None).is_err());
}

#[test]
fn what_stands_behind_a_near_miss_is_found() {
    let definition = r#"{"kind":"patterns","detect":["credit_card","private_key","api_key","openai_key","email"],"action":"redact"}"#;
    for (text, left) in [
        (
            "no 3456 4111 1111 1111 1111, 3782 822463 10005.",
            "no 3456 [redacted credit_card], [redacted credit_card].",
        ),
        (
            "-----BEGIN RSA PRIVATE KEY-----\\nMIIE cut off",
            "[redacted private_key]",
        ),
        (
            "api_key = 'aB3dE5fG7hJ9kL1m', and so on",
            "api_key = '[redacted api_key]', and so on",
        ),
        (
            "sk-learn-is-a-library-for-machine-learning-in-python and git@github.com:a/b, logo@2x.png",
            "",
        ),
        ("the api key: see the page of the provider", ""),
    ] {
        let body = format!(r#"{{"model":"m","user":"{text}"}}"#);
        match inspect(definition, &body) {
            Verdict::Redacted(found, _) => {
                assert_eq!(found, format!(r#"{{"model":"m","user":"{left}"}}"#));
            }
            _ => assert_eq!(left, "", "{text}"),
        }
    }
}

/// Every kind that is known by its shape.
fn all_kinds() -> Vec<Detector> {
    let names = kinds::names().into_iter();
    names.map(|name| kinds::detector(name).unwrap()).collect()
}

/// How long all kinds take for `unit`, again and again up to `length` bytes.
fn time(detectors: &[Detector], unit: &str, length: usize) -> Duration {
    let text = unit.repeat(length / unit.len() + 1);
    let best = (0..3).map(|_| {
        let began = Instant::now();
        hits(detectors, &text, &Limits::within(Duration::from_mins(5))).unwrap();
        began.elapsed()
    });
    best.min().unwrap()
}

#[test]
fn text_of_near_misses_costs_little_more_than_prose() {
    let detectors = all_kinds();
    let prose = time(&detectors, "the quick brown fox jumps over it. ", 1 << 18);
    let domain = vec!["b".repeat(60); 8].join(".");
    for unit in [
        "sk-",
        "1 ",
        "4111 ",
        "DE89 ",
        "eyJeyJeyJ.",
        "a@",
        "a@a.a.",
        "+1 23 ",
        "api_key=a",
        "api_key=aaaaaaaaaaaaaaaa",
        "api_key=aaaaaaaaaaaaaaaa ",
        "-----BEGIN A ",
        "a://b:c",
        &format!("{}@{domain}.png ", "a".repeat(63)),
        &format!("git@{domain}.org "),
        &"sk-".repeat(90),
    ] {
        let took = time(&detectors, unit, 1 << 18);
        assert!(
            took < prose * 40,
            "{took:?} for {unit:?}, {prose:?} for prose"
        );
    }
}

#[test]
fn twice_the_text_takes_twice_the_time() {
    let detectors = all_kinds();
    for unit in ["sk-", "a@a.png@", "api_key=aaaaaaaaaaaaaaaa", "4111 "] {
        let (half, whole) = (
            time(&detectors, unit, 1 << 17),
            time(&detectors, unit, 1 << 19),
        );
        assert!(whole < half * 10, "{unit:?}: {half:?}, then {whole:?}");
    }
}

#[test]
fn what_stands_in_a_rejected_match_is_found_all_the_same() {
    let detectors = all_kinds();
    for (text, what) in [
        (
            "api_key=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaclient_secret: \"q1W2e3R4t5Y6u7I8o9P0\"",
            "q1W2e3R4t5Y6u7I8o9P0",
        ),
        (
            "api_key=aaaaaaaaaaaaaaaa api_key=q1W2e3R4t5Y6u7I8",
            "q1W2e3R4t5Y6u7I8",
        ),
        ("logo@2x.png@example.com", "2x.png@example.com"),
        ("git@a.org,ann@b.org", "ann@b.org"),
        ("3456 4111 1111 1111 1111", "4111 1111 1111 1111"),
    ] {
        let found = hits(&detectors, text, &Limits::default()).unwrap();
        let found: Vec<&str> = found.iter().map(|(at, _)| &text[at.clone()]).collect();
        assert!(found.contains(&what), "{text}: {found:?}");
    }
}

#[test]
fn what_lies_across_the_pieces_of_a_long_text_is_found() {
    let detectors = [
        kinds::detector("email").unwrap(),
        kinds::detector("private_key").unwrap(),
    ];
    let mail = "ann@example.org";
    for before in (1 << 20) - 20..(1 << 20) + 5 {
        let text = format!("{}{mail} {}", " ".repeat(before), " ".repeat(1000));
        let found = hits(&detectors, &text, &Limits::default()).unwrap();
        assert_eq!(found, [(before..before + mail.len(), "email")]);
    }
    let key = format!(
        "-----BEGIN PRIVATE KEY-----{}-----END PRIVATE KEY-----",
        "\u{e9}".repeat(2 << 20)
    );
    let text = format!("{}{key} {mail}", "\u{e9}".repeat(1 << 19));
    let found = hits(&detectors, &text, &Limits::default()).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].0, 1 << 20..(1 << 20) + key.len());
}

#[test]
fn an_inspection_ends_with_its_time_and_with_its_caller() {
    let (guards, _) = guards(r#"{"kind":"patterns","detect":["email"]}"#);
    let call = call(r#"{"model":"m","input":"fine"}"#);
    let request = Request {
        pass_keys: &["input".to_owned()],
        ..request(&call)
    };
    let gone = tokio_util::sync::CancellationToken::new();
    gone.cancel();
    for limits in [Limits::within(Duration::ZERO), Limits::new(gone)] {
        let rejection = guards.inspect("g", request, &limits).unwrap_err();
        assert_eq!(
            (rejection.status.as_u16(), rejection.code.0),
            (503, "guardrail_unavailable")
        );
        assert!(
            rejection.message.contains("\"g\" did not finish"),
            "{}",
            rejection.message
        );
    }
    assert!(matches!(
        guards.inspect("g", request, &Limits::default()),
        Ok(Verdict::Passed)
    ));
}

#[tokio::test]
async fn long_requests_are_looked_at_by_as_many_at_once_as_there_are_processors() {
    let guards = Guards::default();
    let mut held = Vec::new();
    for _ in 0..limits::at_once() {
        held.push(guards.room("g").await.unwrap());
    }
    assert!(guards.room("g").now_or_never().is_none());
    held.pop();
    assert!(
        guards
            .room("g")
            .now_or_never()
            .is_some_and(|room| room.is_ok())
    );
}

#[test]
fn more_matches_than_can_be_told_apart_block() {
    let mails = "a@b.org ".repeat(100_001);
    let body = format!(r#"{{"model":"m","messages":["{mails}"]}}"#);
    blocked(REDACT_MAIL, &body);
}

#[test]
fn many_places_in_a_text_with_escapes_are_found_in_one_pass() {
    let mails = r"a@b.org \n".repeat(50_000);
    let body = format!(r#"{{"model":"m","messages":["{mails}"]}}"#);
    let began = Instant::now();
    let (left, _) = redacted(REDACT_MAIL, &body);
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(left, body.replace("a@b.org", "[redacted email]"));
}

#[test]
fn keys_that_a_format_does_not_know_are_refused_by_name() {
    let body = r#"{"model":"m","messages":[],"min_p":0.1,"chat_template_kwargs":{},"x_tools":[1],"chat_template":"x","safety_model":null,"y":[]}"#;
    let definition =
        |action: &str| format!(r#"{{"kind":"patterns","detect":["email"],"action":"{action}"}}"#);
    for action in ["block", "redact"] {
        let message = blocked(&definition(action), body).message;
        for (key, is_named) in [
            ("\"x_tools\"", true),
            ("\"chat_template\"", true),
            ("\"y\"", false),
            ("safety_model", false),
            ("min_p", false),
        ] {
            assert_eq!(message.contains(key), is_named, "{key}: {message}");
        }
    }
    assert!(matches!(
        inspect(&definition("report"), body),
        Verdict::Reported(_)
    ));
}

#[test]
fn what_is_found_in_an_encoded_file_is_taken_out_of_it() {
    let encode = |text: &str| aws_smithy_types::base64::encode(text);
    let body = format!(
        r#"{{"model":"m","messages":[{{"content":[{{"file_data":"data:text\/plain;base64,{}"}}]}}]}}"#,
        encode("I am ann@example.org.")
    );
    let (left, _) = redacted(REDACT_MAIL, &body);
    let expected = format!(
        "data:text/plain;base64,{}",
        encode("I am [redacted email].")
    );
    let left: serde_json::Value = serde_json::from_slice(&left).unwrap();
    assert_eq!(left["messages"][0]["content"][0]["file_data"], expected);
}

#[test]
fn what_is_found_in_a_string_and_in_what_it_encodes_is_taken_out_once() {
    let encoded = aws_smithy_types::base64::encode("abcdefghijklmnopqrstuvwxyz0123456789");
    let redact = r#"{"kind":"patterns","patterns":["[A-Za-z0-9]{20,}"],"action":"redact"}"#;
    for (text, left) in [
        (encoded.clone(), "[redacted]".to_owned()),
        (
            format!("see: {encoded}!"),
            "see: [redacted pattern 1]!".to_owned(),
        ),
    ] {
        let body = |text: &str| format!(r#"{{"model":"m","messages":["{text}"],"user":"u"}}"#);
        assert_eq!(redacted(redact, &body(&text)).0, body(&left));
    }
}
