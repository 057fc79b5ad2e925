//! Responses for callers, whole and streamed.

use serde_json::{Value, json};

use super::super::CODEC;
use super::{call, read_stream};
use crate::formats::translate::checks::{streaming, value, whole, written};
use crate::formats::translate::{
    Citation, Content, Delta, Event, LogProb, Open, Part, Response, Seal, SealKind, Stop, Text,
    Thought, Usage,
};
use crate::wire::sse;

/// The events of a stream for a caller.
fn events(stream: &[u8]) -> Vec<Value> {
    let mut events = Vec::new();
    sse::Decoder::default().feed(stream, |event| {
        let data: Value = serde_json::from_slice(event.data).unwrap();
        assert_eq!(data["type"].as_str().unwrap().as_bytes(), event.name);
        assert_eq!(data["sequence_number"], events.len());
        events.push(data);
    });
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let kinds = events.iter().map(|event| event["type"].as_str().unwrap());
    kinds
        .map(|kind| kind.strip_prefix("response.").unwrap_or(kind))
        .collect()
}

/// A response with every kind of part.
fn everything() -> Response {
    let token = |token: &str, top| LogProb {
        token: token.to_owned(),
        bytes: Some(token.as_bytes().to_vec()),
        logprob: -0.5,
        top,
    };
    let cited = Text {
        text: "Ahoy".to_owned(),
        citations: vec![Citation {
            url: Some("https://x.test".to_owned()),
            title: Some("X".to_owned()),
            span: Some((0, 4)),
            ..Citation::default()
        }],
        logprobs: vec![token("Ahoy", vec![token("Hi", Vec::new())])],
    };
    let thought = |text: &str, format: &str, kind| {
        Part::new(Content::Reasoning(Thought {
            text: text.to_owned(),
            seal: Some(Seal::new(format, kind, "c2ln")),
        }))
    };
    Response {
        id: Some("resp_1".to_owned()),
        model: Some("m-2".to_owned()),
        parts: vec![
            thought("Hm", "anthropic_messages", SealKind::Signature),
            Part::new(Content::Text(cited)),
            Part::new(Content::Refusal("No".to_owned())),
            thought("", "gemini_generate_content", SealKind::Next),
            call("call_1", "look", "{\"a\":1}", false),
            call("call_2", "patch", "+ a", true),
        ],
        stop: Stop::ToolUse,
        usage: Usage {
            input: Some(30),
            cache_read: Some(10),
            cache_write: Some(5),
            output: Some(20),
            reasoning: Some(7),
            ..Usage::default()
        },
    }
}

/// What the official SDKs make of a stream: each list grows by an event of its own, and text goes on where
/// its event says.
fn accumulated(events: &[Value]) -> Value {
    assert_eq!(events[0]["type"], "response.created");
    let mut response = events[0]["response"].clone();
    for event in &events[1..] {
        let at = |key: &str| usize::try_from(event[key].as_u64().unwrap()).unwrap();
        let append = |to: &mut Value| {
            let text = to.as_str().unwrap().to_owned() + event["delta"].as_str().unwrap();
            *to = text.into();
        };
        let output = response["output"].as_array_mut().unwrap();
        match event["type"].as_str().unwrap() {
            "response.output_item.added" => {
                assert_eq!(at("output_index"), output.len());
                output.push(event["item"].clone());
            }
            "response.content_part.added" => {
                let content = output[at("output_index")]["content"]
                    .as_array_mut()
                    .unwrap();
                assert_eq!(at("content_index"), content.len());
                content.push(event["part"].clone());
            }
            "response.output_text.delta" => {
                append(&mut output[at("output_index")]["content"][at("content_index")]["text"]);
            }
            "response.refusal.delta" => {
                append(&mut output[at("output_index")]["content"][at("content_index")]["refusal"]);
            }
            "response.function_call_arguments.delta" => {
                append(&mut output[at("output_index")]["arguments"]);
            }
            "response.custom_tool_call_input.delta" => {
                append(&mut output[at("output_index")]["input"]);
            }
            "response.reasoning_summary_part.added" => {
                let summary = output[at("output_index")]["summary"]
                    .as_array_mut()
                    .unwrap();
                assert_eq!(at("summary_index"), summary.len());
                summary.push(event["part"].clone());
            }
            "response.reasoning_summary_text.delta" => {
                append(&mut output[at("output_index")]["summary"][at("summary_index")]["text"]);
            }
            "response.output_item.done" => {
                let item = &mut output[at("output_index")];
                assert_eq!(item["id"], event["item"]["id"]);
                assert_eq!(shown(item), shown(&event["item"]));
                *item = event["item"].clone();
            }
            _ => {}
        }
    }
    response["output"].clone()
}

/// What has been streamed of an item.
fn shown(item: &Value) -> Value {
    let texts = |list: &Value, key: &str| -> Vec<Value> {
        let parts = list.as_array().into_iter().flatten();
        parts.map(|part| part[key].clone()).collect()
    };
    json!([
        item["arguments"],
        item["input"],
        item["name"],
        item["call_id"],
        texts(&item["content"], "text"),
        texts(&item["content"], "refusal"),
        texts(&item["summary"], "text"),
    ])
}

#[test]
fn events_come_in_the_order_that_clients_require() {
    let events = events(&written(&CODEC, &streaming(), everything()));
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&events), expected);
    let response = &events.last().unwrap()["response"];
    assert_eq!(accumulated(&events), response["output"]);
    assert_eq!(
        response["usage"],
        json!({
            "input_tokens": 30, "input_tokens_details": { "cached_tokens": 10, "cache_write_tokens": 5 },
            "output_tokens": 20, "output_tokens_details": { "reasoning_tokens": 7 }, "total_tokens": 50,
        })
    );
    for (event, status) in [
        (&events[0], "in_progress"),
        (&events[1], "in_progress"),
        (&events[30], "completed"),
    ] {
        assert_eq!(event["response"]["status"], status);
        assert_eq!(event["response"]["id"], "resp_1");
        assert_eq!(event["response"]["model"], "m-2");
    }
}

#[test]
fn a_stream_ends_with_what_a_whole_response_is() {
    let stream = events(&written(&CODEC, &streaming(), everything()));
    let mut last = stream.last().unwrap()["response"].clone();
    let mut whole = value(&(CODEC.write_response)(&streaming(), everything()));
    for response in [&mut last, &mut whole] {
        response["created_at"].take();
    }
    assert_eq!(last, whole);
}

#[test]
fn a_response_says_the_same_once_it_was_written() {
    let body = value(&(CODEC.write_response)(&streaming(), everything()));
    let of_whole = whole(&CODEC, body.to_string().as_bytes());
    let of_stream = read_stream(&written(&CODEC, &streaming(), everything())).unwrap();
    assert_eq!(of_stream, of_whole);
    assert_eq!(of_whole.usage, everything().usage);
    assert_eq!(of_whole.stop, Stop::ToolUse);
    let said = |response: &Response| -> Vec<Part> {
        let parts = response.parts.iter();
        let is_thought = |part: &&Part| matches!(part.content, Content::Reasoning(_));
        parts.filter(|part| !is_thought(part)).cloned().collect()
    };
    assert_eq!(said(&of_whole), said(&everything()));
}

#[test]
fn a_response_that_was_cut_off_says_so() {
    for (stop, reason) in [
        (Stop::MaxTokens, "max_output_tokens"),
        (Stop::Refused, "content_filter"),
    ] {
        let response = Response {
            parts: vec![
                Part::text("One"),
                call("call_1", "look", "{}", false),
                Part::text("Two"),
            ],
            stop: stop.clone(),
            ..everything()
        };
        let stream = written(&CODEC, &streaming(), response);
        let events = events(&stream);
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.incomplete");
        assert_eq!(last["response"]["status"], "incomplete");
        assert_eq!(last["response"]["incomplete_details"]["reason"], reason);
        let output = last["response"]["output"].as_array().unwrap();
        let statuses: Vec<_> = output
            .iter()
            .map(|item| item["status"].as_str().unwrap())
            .collect();
        assert_eq!(statuses, ["completed", "completed", "incomplete"]);
        assert_eq!(accumulated(&events), last["response"]["output"]);
        assert_eq!(read_stream(&stream).unwrap().stop, stop);
    }
}

#[test]
fn each_citation_has_its_number_and_the_text_before_it() {
    let cited = |url: Option<&str>| {
        Event::Delta(Delta::Citation(Citation {
            url: url.map(str::to_owned),
            ..Citation::default()
        }))
    };
    let say = |text: &str| Event::Delta(Delta::Text(text.to_owned()));
    let (mut writer, mut out) = ((CODEC.writer)(&streaming()), Vec::new());
    for event in [
        Event::Open(Open::Text),
        say("Ahö"),
        cited(Some("a")),
        cited(None),
        say("y"),
        cited(Some("b")),
        Event::Close,
        Event::Open(Open::Text),
        say("!"),
        cited(Some("c")),
        Event::Close,
        Event::Stop(Stop::End),
    ] {
        writer.write(event, &mut out);
    }
    writer.finish(&mut out);
    let events = events(&out);
    let added = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.annotation.added");
    let added: Vec<_> = added
        .map(|event| {
            let annotation = &event["annotation"];
            (
                annotation["url"].as_str().unwrap(),
                event["content_index"].as_u64().unwrap(),
                event["annotation_index"].as_u64().unwrap(),
                annotation["end_index"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(added, [("a", 0, 0, 3), ("b", 0, 1, 4), ("c", 1, 0, 1)]);
}

/// Work that grows with the product of both would take minutes.
#[test]
fn many_citations_of_a_long_text_take_little_time() {
    let (mut writer, mut out) = ((CODEC.writer)(&streaming()), Vec::new());
    writer.write(Event::Open(Open::Text), &mut out);
    writer.write(Event::Delta(Delta::Text("a".repeat(4 << 20))), &mut out);
    let begun = std::time::Instant::now();
    for _ in 0..20_000 {
        let citation = Citation {
            url: Some("u".to_owned()),
            ..Citation::default()
        };
        writer.write(Event::Delta(Delta::Citation(citation)), &mut out);
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn an_empty_thought_is_left_out() {
    let response = Response {
        parts: vec![
            Part::new(Content::Reasoning(Thought::default())),
            Part::text("hi"),
        ],
        ..Response::default()
    };
    let events = events(&written(&CODEC, &streaming(), response));
    let output = &events.last().unwrap()["response"]["output"];
    assert_eq!(output.as_array().unwrap().len(), 1);
    assert_eq!(accumulated(&events), *output);
}

#[test]
fn any_order_of_events_is_written() {
    let all = [
        Event::Open(Open::Text),
        Event::Delta(Delta::Text("a".to_owned())),
        Event::Open(Open::Reasoning),
        Event::Close,
        Event::Stop(Stop::End),
        Event::Start {
            id: None,
            model: None,
        },
    ];
    for first in &all {
        for second in &all {
            for third in &all {
                let (mut writer, mut out) = ((CODEC.writer)(&streaming()), Vec::new());
                for event in [first, second, third] {
                    writer.write(event.clone(), &mut out);
                }
                writer.finish(&mut out);
                let events = events(&out);
                assert_eq!(events[0]["type"], "response.created");
                assert_eq!(events.last().unwrap()["type"], "response.completed");
            }
        }
    }
}
