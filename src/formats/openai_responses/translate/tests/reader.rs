//! Streams of a provider.

use std::fmt::Write;

use serde_json::{Value, json};

use super::super::CODEC;
use super::{call, chat, read_stream};
use crate::formats::translate::checks::{streaming, survives_every_split, whole};
use crate::formats::translate::{Failure, Json, Part, Response, Stop};
use crate::wire::Framing;

/// A provider's stream of these events.
fn stream(events: &[Value]) -> String {
    events.iter().fold(String::new(), |mut out, event| {
        let _ = write!(out, "data: {event}\n\n");
        out
    })
}

fn read_events(events: &[Value]) -> Result<Response, Failure> {
    read_stream(stream(events).as_bytes())
}

#[test]
fn recorded_responses_say_the_same_in_events_and_as_a_whole() {
    for (body, stream) in [
        (
            include_str!("../../fixtures/text.response.json"),
            include_str!("../../fixtures/text.stream.txt"),
        ),
        (
            include_str!("../../fixtures/tools.response.json"),
            include_str!("../../fixtures/tools.stream.txt"),
        ),
        (
            include_str!("../../fixtures/local.response.json"),
            include_str!("../../fixtures/local.stream.txt"),
        ),
        (
            include_str!("../../fixtures/reasoning.response.json"),
            include_str!("../../fixtures/reasoning.stream.txt"),
        ),
        (
            include_str!("../../fixtures/incomplete.response.json"),
            include_str!("../../fixtures/incomplete.stream.txt"),
        ),
    ] {
        let whole = whole(&CODEC, body.as_bytes());
        assert!(!whole.parts.is_empty(), "{body}");
        let streamed = read_stream(stream.as_bytes()).unwrap();
        assert_eq!(
            (&streamed.parts, &streamed.stop),
            (&whole.parts, &whole.stop),
            "{body}"
        );
        assert_eq!(streamed.usage, whole.usage, "{body}");
        survives_every_split(
            (&CODEC, Framing::Text),
            chat(),
            &streaming(),
            stream.as_bytes(),
        );
    }
    let broken_off = include_str!("../../fixtures/broken_off.stream.txt");
    assert!(read_stream(broken_off.as_bytes()).is_err());
}

#[test]
fn errors_are_reported_with_their_status() {
    let created = json!({ "type": "response.created", "response": { "id": "resp_1", "status": "in_progress" } });
    let failed = |error: Value| json!({ "type": "response.failed", "response": { "status": "failed", "error": error } });
    for (event, status, message) in [
        (
            failed(json!({ "code": "rate_limit_exceeded", "message": "slow" })),
            Some(429),
            "slow",
        ),
        (
            failed(json!({ "code": "server_error", "message": "broke" })),
            Some(500),
            "broke",
        ),
        (
            failed(json!({ "code": "invalid_prompt", "message": "bad" })),
            Some(400),
            "bad",
        ),
        (failed(Value::Null), None, "the provider reports an error"),
        (
            json!({ "type": "error", "code": "server_error", "message": "broke", "param": null }),
            Some(500),
            "broke",
        ),
        (
            json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "slow" } }),
            Some(429),
            "slow",
        ),
        (
            json!({ "type": "response.cancelled", "response": { "status": "cancelled" } }),
            None,
            "the provider reports an error",
        ),
    ] {
        let failure = read_events(&[created.clone(), event]).unwrap_err();
        assert_eq!(
            (failure.status, failure.message.as_str()),
            (status, message)
        );
    }
    for body in [
        json!({ "error": { "message": "m", "code": "server_error" } }),
        json!({ "status": "failed", "output": [], "error": { "code": "server_error", "message": "m" } }),
    ] {
        let body = Json::read(body.to_string().as_bytes()).unwrap();
        let failure = (CODEC.read_response)(&body).unwrap_err();
        assert_eq!((failure.status, failure.message.as_str()), (Some(500), "m"));
    }
    for body in ["{}", "[]", r#"{"status":"queued","output":[]}"#] {
        let body = Json::read(body.as_bytes()).unwrap();
        assert!((CODEC.read_response)(&body).is_err(), "{body}");
    }
}

fn added(index: u64, item: &Value) -> Value {
    json!({ "type": "response.output_item.added", "output_index": index, "item": item })
}

fn done(index: u64, item: &Value) -> Value {
    json!({ "type": "response.output_item.done", "output_index": index, "item": item })
}

fn completed(output: &[&Value]) -> Value {
    json!({ "type": "response.completed", "response": { "id": "resp_1", "status": "completed", "output": output } })
}

fn function(id: &str, arguments: &str) -> Value {
    json!({ "type": "function_call", "id": id, "call_id": id, "name": "look", "arguments": arguments })
}

fn arguments(index: u64, delta: &str) -> Value {
    json!({ "type": "response.function_call_arguments.delta", "output_index": index, "delta": delta })
}

#[test]
fn calls_that_come_at_once_are_taken_apart() {
    let (a, b) = (function("a", "{\"x\":1}"), function("b", "{\"y\":2}"));
    let expected = [
        call("a", "look", "{\"x\":1}", false),
        call("b", "look", "{\"y\":2}", false),
    ];
    let begun = [
        added(0, &function("a", "")),
        arguments(0, "{\"x\""),
        added(1, &function("b", "")),
        arguments(1, "{\"y\":2}"),
        arguments(0, ":1}"),
    ];
    let endings = [
        vec![done(0, &a), done(1, &b), completed(&[&a, &b])],
        vec![done(1, &b), done(0, &a), completed(&[])],
        vec![completed(&[&a, &b])],
    ];
    for ending in endings {
        let events = [begun.to_vec(), ending].concat();
        let response = read_events(&events).unwrap();
        assert_eq!(response.parts, expected, "{events:?}");
        assert_eq!(response.stop, Stop::ToolUse);
    }
}

#[test]
fn what_no_event_brings_comes_from_the_whole() {
    let said = json!({ "type": "message", "id": "msg_1", "content": [
        { "type": "output_text", "text": "hi", "annotations": [] }, { "type": "refusal", "refusal": "no" },
    ] });
    let thought = json!({ "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "Hm" }] });
    let called = function("a", "{}");
    let expected = read_events(&[completed(&[&thought, &said, &called])])
        .unwrap()
        .parts;
    assert_eq!(expected.len(), 4);
    let all = [&thought, &said, &called];
    // Each item with its end alone, and with its beginning alone.
    let ends: Vec<Value> = (0..).zip(all).map(|(nth, item)| done(nth, item)).collect();
    let begins = (0..).zip(all).map(|(nth, item)| {
        let mut item = item.clone();
        for key in ["content", "summary"] {
            if item.get(key).is_some() {
                item[key] = json!([]);
            }
        }
        added(nth, &item)
    });
    let only_ends = [ends, vec![completed(&[])]].concat();
    assert_eq!(read_events(&only_ends).unwrap().parts, expected);
    let last: Vec<Value> = begins.skip(2).collect();
    let first_two = [done(0, &thought), done(1, &said)].to_vec();
    let mixed = [first_two, last, vec![completed(&all)]].concat();
    assert_eq!(read_events(&mixed).unwrap().parts, expected);
}

#[test]
fn servers_that_number_items_badly_are_understood() {
    let delta = |id: &str, text: &str| json!({ "type": "response.output_text.delta", "item_id": id, "output_index": 0, "delta": text });
    let item = |id: &str, text: &str| json!({ "type": "message", "id": id, "content": [{ "type": "output_text", "text": text }] });
    let (a, b) = (item("a", "one"), item("b", "two"));
    // All items have the same index.
    let events = [
        added(0, &a),
        delta("a", "one"),
        done(0, &a),
        added(0, &b),
        delta("b", "tw"),
        delta("b", "o"),
        done(0, &b),
        completed(&[&a, &b]),
    ];
    assert_eq!(
        read_events(&events).unwrap().parts,
        [Part::text("one"), Part::text("two")]
    );
    // An item has another id in each event.
    let events = [
        added(0, &item("x", "")),
        delta("y", "one"),
        done(0, &item("z", "one")),
        completed(&[&item("w", "one")]),
    ];
    assert_eq!(read_events(&events).unwrap().parts, [Part::text("one")]);
    // Nothing begins, and nothing ends.
    let events = [delta("a", "on"), delta("a", "e"), completed(&[&a])];
    assert_eq!(read_events(&events).unwrap().parts, [Part::text("one")]);
}
