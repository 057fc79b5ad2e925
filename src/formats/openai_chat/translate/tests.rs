//! Requests and responses of chat completions, read and written.

mod bounds;
mod efforts;
mod servers;

use std::fmt::Write;

use serde_json::{Value, json};

use super::CODEC;
use crate::formats::translate::checks::{
    read, streamed, streaming, translated, value, whole, written,
};
use crate::formats::translate::{
    Content, Event, EventReader, Part, Response, Seal, SealKind, Stop, Thought, ToolCall,
};
use crate::wire::{Framing, sse};

/// Everything that a caller can ask for and a provider can do.
fn everything() -> Value {
    let file = json!({ "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE" });
    let function = |name: &str, arguments: &str| json!({ "name": name, "arguments": arguments });
    json!({
        "model": "m",
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": [
                { "type": "text", "text": "What is this?" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBO", "detail": "low" } },
                { "type": "image_url", "image_url": { "url": "https://x.test/a.png" } },
                { "type": "file", "file": file },
                { "type": "input_audio", "input_audio": { "data": "UklG", "format": "wav" } },
            ] },
            { "role": "assistant", "content": "I look.", "tool_calls": [
                { "id": "call_1", "type": "function", "function": function("look", "{\"z\":1,\"a\":2}") },
                { "id": "call_2", "type": "function", "function": function("now", "{}") },
                { "id": "call_3", "type": "custom", "custom": { "name": "patch", "input": "+ a" } },
            ] },
            { "role": "tool", "tool_call_id": "call_1", "content": "seen" },
            { "role": "tool", "tool_call_id": "call_2", "content": "noon" },
            { "role": "tool", "tool_call_id": "call_3", "content": "done" },
            { "role": "system", "content": "Be briefer." },
            { "role": "user", "content": "Go on." },
        ],
        "max_completion_tokens": 500, "temperature": 1.5, "top_p": 0.5, "seed": 7,
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "stop": ["END", "STOP"],
        "logprobs": true, "top_logprobs": 2, "reasoning_effort": "high",
        "response_format": { "type": "json_schema", "json_schema": {
            "name": "log", "description": "A log.", "schema": { "type": "object" }, "strict": true,
        } },
        "tools": [
            { "type": "function", "function": { "name": "look", "description": "Looks.",
              "parameters": { "type": "object" }, "strict": true } },
            { "type": "function", "function": { "name": "now" } },
            { "type": "custom", "custom": { "name": "patch", "format": { "type": "text" } } },
        ],
        "tool_choice": { "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [
            { "type": "function", "function": { "name": "look" } },
        ] } },
        "parallel_tool_calls": false, "verbosity": "low", "prompt_cache_key": "k", "user": "u1",
        "metadata": { "a": "b" }, "stream": true,
    })
}

#[test]
fn a_request_keeps_its_meaning() {
    let (sent, dropped) = translated(&CODEC, &CODEC, &everything()).unwrap();
    assert_eq!(sent, everything());
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn every_choice_of_tools_keeps_its_meaning() {
    for choice in [
        json!("auto"),
        json!("none"),
        json!("required"),
        json!({ "type": "function", "function": { "name": "look" } }),
        json!({ "type": "custom", "custom": { "name": "patch" } }),
    ] {
        let mut body = everything();
        body["tool_choice"] = choice;
        assert_eq!(translated(&CODEC, &CODEC, &body).unwrap().0, body);
    }
}

#[test]
fn what_is_not_known_is_refused_by_its_name() {
    for (pointer, value, field) in [
        ("/logit_bias", json!({ "1": 2 }), "logit_bias.1"),
        ("/n", json!(2), "n"),
        ("/modalities", json!(["text", "audio"]), "modalities"),
        ("/functions", json!([]), "functions"),
        ("/grammar", json!("x"), "grammar"),
        ("/messages/0/role", json!("function"), "messages[0].role"),
        (
            "/messages/1/content/0/type",
            json!("video"),
            "messages[1].content[0].type",
        ),
        (
            "/messages/1/content/3/file/file_id",
            json!("f"),
            "messages[1].content[3].file.file_id",
        ),
        (
            "/messages/2/audio",
            json!({ "id": "a" }),
            "messages[2].audio",
        ),
        ("/tools/0/type", json!("web_search"), "tools[0].type"),
        ("/tool_choice", json!("odd"), "tool_choice"),
        ("/reasoning_effort", json!("odd"), "reasoning_effort"),
        ("/stop", json!([1]), "stop"),
        ("/service_tier", json!("flex"), "service_tier"),
    ] {
        let mut body = everything();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[key] = value;
        let refused = read(&CODEC, &body).unwrap_err();
        assert_eq!(refused.field, field, "{refused}");
    }
}

#[test]
fn hints_are_left_out_and_named() {
    let mut body = everything();
    body["store"] = json!(true);
    body["prediction"] = json!({ "type": "content", "content": "x" });
    body["messages"][0]["name"] = json!("boss");
    let (_, dropped) = translated(&CODEC, &CODEC, &body).unwrap();
    assert_eq!(dropped, ["store", "prediction", "messages.name"]);
}

#[test]
fn recorded_responses_say_the_same_in_events_and_as_a_whole() {
    for (body, stream) in [
        (
            include_str!("../fixtures/text.response.json"),
            include_str!("../fixtures/text.stream.txt"),
        ),
        (
            include_str!("../fixtures/tools.response.json"),
            include_str!("../fixtures/tools.stream.txt"),
        ),
        (
            include_str!("../fixtures/local.response.json"),
            include_str!("../fixtures/local.stream.txt"),
        ),
    ] {
        let whole = whole(&CODEC, body.as_bytes());
        let streamed = streamed(&CODEC, Framing::Text, stream.as_bytes()).unwrap();
        assert_eq!(
            (&streamed.parts, &streamed.stop),
            (&whole.parts, &whole.stop),
            "{body}"
        );
        assert_eq!(streamed.usage, whole.usage, "{body}");
        let written = written(&CODEC, &streaming(), whole.clone());
        let again = self::streamed(&CODEC, Framing::Text, &written).unwrap();
        assert_eq!(
            (again.parts, again.stop),
            (whole.parts, whole.stop),
            "{body}"
        );
    }
}

#[test]
fn a_response_is_written_as_it_was_read() {
    let body: Value =
        serde_json::from_str(include_str!("../fixtures/tools.response.json")).unwrap();
    let again = value(&(CODEC.write_response)(
        &streaming(),
        whole(&CODEC, body.to_string().as_bytes()),
    ));
    let message = |body: &Value| {
        let message = &body["choices"][0]["message"];
        json!([
            message["content"],
            message["tool_calls"],
            body["choices"][0]["finish_reason"]
        ])
    };
    assert_eq!(message(&again), message(&body));
    assert_eq!(again["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
    assert_eq!(
        again["usage"]["completion_tokens_details"]["reasoning_tokens"],
        3
    );
}

/// Calls that come piece by piece in turn: nothing says when one is whole before the end.
#[test]
fn calls_that_come_in_turn_are_told_one_after_the_other() {
    let call = |index: u64, id: Option<&str>, arguments: &str| {
        let name = id.map(|_| format!("tool{index}"));
        let function = json!({ "name": name, "arguments": arguments });
        json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [
            { "index": index, "id": id, "function": function },
        ] } }] })
    };
    let stop = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    let chunks = [
        call(0, Some("a"), "{\"x\""),
        call(1, Some("b"), "{\"y\""),
        call(0, None, ":1}"),
        call(1, None, ":2}"),
        stop,
    ];
    let mut stream = String::new();
    for chunk in chunks {
        write!(stream, "data: {chunk}\n\n").unwrap();
    }
    let response = streamed(&CODEC, Framing::Text, stream.as_bytes()).unwrap();
    let call = |id: &str, name: &str, arguments: &str| {
        Part::new(Content::ToolCall(ToolCall {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            is_freeform: false,
        }))
    };
    let expected = [
        call("a", "tool0", "{\"x\":1}"),
        call("b", "tool1", "{\"y\":2}"),
    ];
    assert_eq!(response.parts, expected);
    assert_eq!(response.stop, Stop::ToolUse);
}

#[test]
fn log_probabilities_and_citations_pass() {
    let token = json!({ "token": "hi", "logprob": -0.5, "bytes": [104, 105], "top_logprobs": [
        { "token": "ho", "logprob": -1.5, "bytes": null },
    ] });
    let citation = json!({ "type": "url_citation", "url_citation": {
        "start_index": 0, "end_index": 2, "url": "https://x.test", "title": "X",
    } });
    let body = json!({ "choices": [{
        "message": { "role": "assistant", "content": "hi", "annotations": [citation] },
        "logprobs": { "content": [token], "refusal": null }, "finish_reason": "stop",
    }] });
    let again = value(&(CODEC.write_response)(
        &streaming(),
        whole(&CODEC, body.to_string().as_bytes()),
    ));
    assert_eq!(
        again["choices"][0]["logprobs"],
        body["choices"][0]["logprobs"]
    );
    let annotations = &body["choices"][0]["message"]["annotations"];
    assert_eq!(again["choices"][0]["message"]["annotations"], *annotations);
    let stream = written(
        &CODEC,
        &streaming(),
        whole(&CODEC, body.to_string().as_bytes()),
    );
    let read = streamed(&CODEC, Framing::Text, &stream).unwrap();
    assert_eq!(read.parts, whole(&CODEC, body.to_string().as_bytes()).parts);
}

/// A thought that belongs to a call comes back in front of that call.
#[test]
fn thoughts_of_other_formats_come_back_where_they_were() {
    let seal = |kind, value: &str| Some(Seal::new("other", kind, value));
    let thought = |text: &str, seal| {
        let text = text.to_owned();
        Part::new(Content::Reasoning(Thought { text, seal }))
    };
    let call = |id: &str| {
        Part::new(Content::ToolCall(ToolCall {
            id: id.to_owned(),
            name: "t".to_owned(),
            arguments: "{}".to_owned(),
            is_freeform: false,
        }))
    };
    let parts = vec![
        thought("hm", seal(SealKind::Signature, "s")),
        thought("", seal(SealKind::Encrypted, "e")),
        Part::text("hi"),
        thought("", seal(SealKind::Next, "n")),
        call("a"),
        call("b"),
    ];
    let response = Response {
        parts: parts.clone(),
        ..Response::default()
    };
    let whole = value(&(CODEC.write_response)(&streaming(), response.clone()));
    let message = whole["choices"][0]["message"].clone();
    assert_eq!(message["reasoning_content"], "hm");
    let request = read(&CODEC, &json!({ "model": "m", "messages": [message] })).unwrap();
    assert_eq!(request.turns[0].parts, parts);

    let stream = String::from_utf8(written(&CODEC, &streaming(), response)).unwrap();
    let details = |text: &str| text.matches("\"reasoning_details\"").count();
    assert_eq!(details(&stream), 3);
    let belongs = stream
        .lines()
        .find(|line| line.contains("\"id\":\"a\""))
        .unwrap();
    assert!(belongs.contains("reasoning.encrypted"), "{belongs}");
}

#[test]
fn an_error_in_a_stream_is_reported() {
    let stream = b"data: {\"error\":{\"message\":\"busy\",\"code\":503}}\n\n";
    let failure = streamed(&CODEC, Framing::Text, stream).unwrap_err();
    assert_eq!(
        (failure.status, failure.message.as_str()),
        (Some(503), "busy")
    );
    let stream = b"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
    assert!(streamed(&CODEC, Framing::Text, stream).is_err());
}

#[test]
fn rubbish_is_no_panic() {
    for data in [
        "{}",
        "[]",
        "1",
        "null",
        "{\"choices\":1}",
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{}]}}]}",
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":-1,\"function\":{\"name\":1}}]}}]}",
    ] {
        let mut events: Vec<Event> = Vec::new();
        let mut reader: Box<dyn EventReader> = (CODEC.reader)();
        let event = sse::Event {
            name: b"",
            data: data.as_bytes(),
        };
        let _ = reader.read(&event, &mut events);
        let _ = reader.finish(&mut events);
    }
}
