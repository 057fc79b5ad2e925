//! What servers other than OpenAI's send.

use std::fmt::Write;

use serde_json::{Value, json};

use super::CODEC;
use crate::formats::translate::checks::streamed;
use crate::formats::translate::{Content, Response, Stop};
use crate::wire::Framing;

/// The response of a stream whose chunks have these deltas.
fn of_deltas(deltas: &[Value]) -> Response {
    let mut stream = String::new();
    for delta in deltas {
        let chunk = json!({ "choices": [{ "index": 0, "delta": delta }] });
        write!(stream, "data: {chunk}\n\n").unwrap();
    }
    stream.push_str("data: [DONE]\n\n");
    streamed(&CODEC, Framing::Text, stream.as_bytes()).unwrap()
}

/// A delta with one call; `null` stands for what the server leaves out.
fn call(index: &Value, id: &Value, name: &Value, arguments: &str) -> Value {
    let mut function = json!({ "name": name, "arguments": arguments });
    let mut call = json!({ "index": index, "id": id, "type": "function" });
    for object in [&mut function, &mut call] {
        let members = object.as_object_mut().unwrap();
        members.retain(|_, value| !value.is_null());
    }
    call["function"] = function;
    json!({ "tool_calls": [call] })
}

fn calls(response: &Response) -> Vec<(&str, &str, &str)> {
    let calls = response.parts.iter().map(|part| match &part.content {
        Content::ToolCall(call) => (&*call.id, &*call.name, &*call.arguments),
        other => panic!("{other:?} isn't a call"),
    });
    calls.collect()
}

/// Ollama sends each call in one piece with the same index, or without one.
#[test]
fn calls_with_one_index_are_told_apart_by_their_ids() {
    for index in [json!(0), json!(null)] {
        let response = of_deltas(&[
            call(&index, &json!("a"), &json!("look"), "{\"x\":1}"),
            call(&index, &json!("b"), &json!("look"), "{\"x\":2}"),
            call(&index, &json!("c"), &json!("now"), "{}"),
        ]);
        let expected = [
            ("a", "look", "{\"x\":1}"),
            ("b", "look", "{\"x\":2}"),
            ("c", "now", "{}"),
        ];
        assert_eq!(calls(&response), expected, "index {index}");
        assert_eq!(response.stop, Stop::ToolUse);
    }
}

#[test]
fn pieces_go_to_the_call_of_their_id_or_to_the_latest() {
    let (index, none) = (json!(0), json!(null));
    let response = of_deltas(&[
        call(&index, &json!("a"), &json!("look"), "{\"x\""),
        call(&index, &none, &none, ":1"),
        call(&index, &json!("b"), &json!("look"), "{\"y\""),
        call(&index, &json!(""), &none, ":2"),
        call(&index, &json!("a"), &none, "}"),
        call(&index, &json!("b"), &json!("look"), ""),
        call(&index, &none, &none, "}"),
    ]);
    let expected = [("a", "look", "{\"x\":1}"), ("b", "look", "{\"y\":2}")];
    assert_eq!(calls(&response), expected);
}

#[test]
fn without_index_and_id_a_name_begins_a_call() {
    let none = json!(null);
    for id in [json!(""), json!(null)] {
        let response = of_deltas(&[
            call(&none, &id, &json!("look"), "{\"x\":"),
            call(&none, &id, &none, "1}"),
            call(&none, &id, &json!("look"), "{\"x\":"),
            call(&none, &id, &none, "2}"),
        ]);
        let expected = [("", "look", "{\"x\":1}"), ("", "look", "{\"x\":2}")];
        assert_eq!(calls(&response), expected, "id {id}");
    }
}

/// Some servers repeat the id and the name in each piece.
#[test]
fn an_id_that_repeats_goes_on_with_its_call() {
    let response = of_deltas(&[
        call(&json!(0), &json!("a"), &json!("look"), "{\"x\""),
        call(&json!(0), &json!("a"), &json!("look"), ":1}"),
    ]);
    assert_eq!(calls(&response), [("a", "look", "{\"x\":1}")]);
}
