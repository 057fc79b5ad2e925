//! What servers other than OpenAI's send.

use std::fmt::Write;

use serde_json::{Value, json};

use super::CODEC;
use crate::formats::translate::checks::{streamed, value, whole};
use crate::formats::translate::{
    Content, Part, Request, Response, Role, Seal, SealKind, Stop, Thought, Turn,
};
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

/// Mistral's models send a list, whole and in a stream, and then the text alone.
#[test]
fn thoughts_in_the_content_are_read_and_go_back() {
    let thinking = |text: &str| {
        let inner = json!({ "type": "text", "text": text });
        json!({ "type": "thinking", "thinking": [inner], "closed": true })
    };
    let text = |text: &str| json!({ "type": "text", "text": text });
    let content = json!([
        thinking("Let me "),
        thinking("see."),
        text("Four"),
        text(".")
    ]);
    let body = json!({ "choices": [{
        "message": { "role": "assistant", "content": content }, "finish_reason": "stop",
    }] });
    let thought = Thought {
        text: "Let me see.".to_owned(),
        seal: Some(Seal::new("openai_chat", SealKind::Signature, "content")),
    };
    let expected = [Part::new(Content::Reasoning(thought)), Part::text("Four.")];
    let parts = whole(&CODEC, body.to_string().as_bytes()).parts;
    assert_eq!(parts, expected);
    let response = of_deltas(&[
        json!({ "content": [thinking("Let me ")] }),
        json!({ "content": [thinking("see."), text("")] }),
        json!({ "content": [text("Four")] }),
        json!({ "content": "." }),
    ]);
    assert_eq!(response.parts, expected);

    let request = Request {
        turns: vec![Turn::new(Role::Assistant, parts)],
        ..Request::default()
    };
    let outbound = (CODEC.write_request)(&request).unwrap();
    let sent = &value(&outbound.body)["messages"][0];
    let thinking = json!({ "type": "thinking", "thinking": [text("Let me see.")] });
    assert_eq!(sent["content"], json!([thinking, text("Four.")]));
}

#[test]
fn rubbish_in_a_list_of_content_is_skipped() {
    for content in [
        json!([1, null, "x", [], {}]),
        json!([{ "type": "thinking" }, { "type": "thinking", "thinking": [1, {}] }]),
        json!([{ "type": "text" }, { "type": "reference", "reference_ids": [1] }]),
        json!({ "type": "text", "text": "x" }),
    ] {
        assert_eq!(of_deltas(&[json!({ "content": content })]).parts, []);
        let body = json!({ "choices": [{ "message": { "content": content } }] });
        assert_eq!(whole(&CODEC, body.to_string().as_bytes()).parts, []);
    }
}
