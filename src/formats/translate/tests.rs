//! Every pair of formats, and what holds of all of them.

use super::checks::{
    collected, framing, in_order, read, streamed, streaming, survives_every_split, translated,
    value, whole, written,
};
use super::*;
use crate::formats::codecs;
use crate::wire::Framing;

/// A response with everything that all formats can say.
fn response() -> Response {
    let call = |id: &str, arguments: &str| {
        Part::new(Content::ToolCall(ToolCall {
            id: id.to_owned(),
            name: "look".to_owned(),
            arguments: arguments.to_owned(),
            is_freeform: false,
        }))
    };
    Response {
        id: Some("id-1".to_owned()),
        model: Some("m-2".to_owned()),
        parts: vec![
            Part::text("Ahoy, »sailor«\n"),
            call("call_1", r#"{"at":[1,2],"deep":{"z":1,"a":"ü"}}"#),
            call("call_2", "{}"),
        ],
        stop: Stop::ToolUse,
        usage: Usage {
            input: Some(30),
            cache_read: Some(10),
            output: Some(20),
            ..Usage::default()
        },
    }
}

/// Seals of every kind, as the caller has them and sends them back.
fn thoughts() -> [Thought; 3] {
    let seal = |kind, value: &str| Some(Seal::new("some_format", kind, value));
    [
        Thought {
            text: "Hm, 27 × 453".to_owned(),
            seal: seal(SealKind::Signature, "c2ln"),
        },
        Thought {
            text: String::new(),
            seal: seal(SealKind::Encrypted, "ZGF0YQ=="),
        },
        Thought {
            text: String::new(),
            seal: seal(SealKind::Next, "bmV4dA=="),
        },
    ]
}

/// Whether it is Ollama's API, which has neither counts of a cache nor a field for a seal.
fn is_ollama(codec: &Codec) -> bool {
    codec.name.starts_with("ollama")
}

/// What a caller reads of a stream is what it reads of a whole response.
#[test]
fn a_stream_says_what_a_whole_response_says() {
    for codec in codecs() {
        let stream = written(codec, &streaming(), response());
        let read = streamed(codec, framing(codec), &stream);
        let read = read.unwrap_or_else(|error| panic!("{}: {error}", codec.name));
        let body = (codec.write_response)(&streaming(), response());
        let read_whole = whole(codec, body.to_string().as_bytes());
        for read in [&read, &read_whole] {
            assert_eq!(read.parts.len(), 3, "{}: {read:?}", codec.name);
            assert_eq!(read.stop, Stop::ToolUse, "{}", codec.name);
            assert_eq!(read.usage.input, Some(30), "{}", codec.name);
            assert_eq!(read.usage.output, Some(20), "{}", codec.name);
            let cache_read = (!is_ollama(codec)).then_some(10);
            assert_eq!(read.usage.cache_read, cache_read, "{}", codec.name);
            for (part, expected) in read.parts.iter().zip(response().parts) {
                match (&part.content, &expected.content) {
                    (Content::ToolCall(read), Content::ToolCall(expected)) => {
                        assert_eq!(read.name, expected.name, "{}", codec.name);
                        assert_eq!(
                            value(&read.input()),
                            value(&expected.input()),
                            "{}",
                            codec.name
                        );
                    }
                    (read, expected) => assert_eq!(read, expected, "{}", codec.name),
                }
            }
        }
    }
}

#[test]
fn every_pair_survives_every_split() {
    for served in codecs() {
        let framing = framing(served);
        let stream = written(served, &streaming(), response());
        for caller in codecs()
            .into_iter()
            .filter(|caller| caller.name != served.name)
        {
            if (caller.stream_type)(&streaming()).starts_with("text/") {
                survives_every_split((served, framing), caller, &streaming(), &stream);
            }
        }
    }
}

#[test]
fn events_come_in_order_and_are_collected_as_they_were() {
    let events = response().into_events();
    in_order(&events);
    assert_eq!(collected(&events), response());
}

#[test]
fn a_collector_keeps_what_there_is_room_for() {
    let mut collector = Collector::new(200);
    for event in response().into_events() {
        collector.add(&event);
    }
    assert!(collector.is_full());
    assert_eq!(collector.response().stop, Stop::ToolUse);
    assert!(collector.response().parts.len() < 3);
}

/// What a caller gets as thoughts of another API's model, it sends back as the same thoughts.
#[test]
fn seals_come_back_as_they_went() {
    for codec in codecs().into_iter().filter(|codec| !is_ollama(codec)) {
        for thought in thoughts() {
            let response = Response {
                parts: vec![
                    Part::new(Content::Reasoning(thought.clone())),
                    Part::new(Content::ToolCall(ToolCall {
                        id: "call_1".to_owned(),
                        name: "look".to_owned(),
                        arguments: "{}".to_owned(),
                        is_freeform: false,
                    })),
                ],
                stop: Stop::ToolUse,
                ..Response::default()
            };
            let request = Request {
                shows_thoughts: Some(true),
                ..streaming()
            };
            let body = (codec.write_response)(&request, response).to_string();
            let seal = thought.seal.as_ref().unwrap();
            // Where the field has to be Base64, it is.
            let is_there = [seal.closed(), seal.closed_base64()]
                .iter()
                .any(|one| body.contains(one));
            assert!(is_there, "{}: {body}", codec.name);
        }
    }
}

#[test]
fn a_budget_is_an_effort_that_most_models_take() {
    for (tokens, effort) in [
        (1, Effort::Low),
        (1_024, Effort::Low),
        (1_025, Effort::Medium),
        (16_384, Effort::High),
        (u64::MAX, Effort::High),
    ] {
        assert_eq!(Reasoning::Budget(tokens).effort(), Some(effort), "{tokens}");
    }
    // The caller's own words stay.
    for effort in [Effort::Minimal, Effort::XHigh, Effort::Max] {
        assert_eq!(Reasoning::Effort(effort).effort(), Some(effort));
    }
}

#[test]
fn only_known_models_take_none_as_effort() {
    for model in [
        "gpt-5.1",
        "openai/gpt-5.2-2025-12-11",
        "gpt-5.4-mini",
        "gpt-6",
    ] {
        assert!(Reasoning::can_be_off(model), "{model}");
    }
    for model in [
        "gpt-5",
        "gpt-5-mini",
        "gpt-5.2-pro",
        "gpt-5.1-codex",
        "gpt-5.1-chat-latest",
        "gpt-oss-120b",
        "gpt-4.1",
        "gpt-4o",
        "o3",
        "",
    ] {
        assert!(!Reasoning::can_be_off(model), "{model}");
    }
}

/// A name is copied into each result, so a long one would multiply what a caller sends.
#[test]
fn a_name_of_a_tool_has_a_bound() {
    let chat = codecs()
        .into_iter()
        .find(|codec| codec.name == "openai_chat")
        .unwrap();
    let refusal = |of_tool: usize, of_call: usize| {
        let function =
            |length: usize| serde_json::json!({ "name": "n".repeat(length), "arguments": "{}" });
        let call =
            serde_json::json!({ "id": "a", "type": "function", "function": function(of_call) });
        let body = serde_json::json!({
            "model": "m",
            "tools": [{ "type": "function", "function": { "name": "n".repeat(of_tool) } }],
            "messages": [{ "role": "assistant", "content": null, "tool_calls": [call] }],
        });
        let refused = translated(chat, chat, &body).err();
        refused.map(|refused| refused.to_string())
    };
    assert_eq!(refusal(256, 256), None);
    let expected = Some("`name` of a tool is longer than 256 bytes".to_owned());
    assert_eq!(refusal(257, 1), expected);
    assert_eq!(refusal(1, 257), expected);
}

/// What the record of a request keeps doesn't grow with the request.
#[test]
fn a_field_that_is_left_out_is_noted_once() {
    let chat = codecs()
        .into_iter()
        .find(|codec| codec.name == "openai_chat");
    let message = serde_json::json!({ "role": "user", "content": "hi", "name": "ann" });
    let body = serde_json::json!({ "model": "m", "messages": vec![message; 1_000] });
    let read = read(chat.unwrap(), &body).unwrap();
    assert_eq!(read.dropped, ["messages.name"]);

    let mut dropped = Vec::new();
    for path in ["a[0].b[12].c", "a[1].b[3].c", "a[0]", "a[x]", "a[1", "a"] {
        note(&mut dropped, path);
    }
    assert_eq!(dropped, ["a.b.c", "a", "a[x]", "a[1"]);
}

#[test]
fn an_error_has_the_status_of_an_error() {
    for status in [400, 429, 502, 599] {
        assert_eq!(Failure::reported(Some(status), "m").status, Some(status));
    }
    for status in [0, 100, 200, 302, 399, 600] {
        assert_eq!(Failure::reported(Some(status), "m").status, None);
    }
}

#[test]
fn a_feature_has_a_field_or_a_place() {
    for codec in codecs() {
        for feature in Feature::ALL {
            let fields = codec.fields.iter().filter(|field| field.feature == feature);
            assert!(fields.count() <= 1, "{}: {feature:?}", codec.name);
        }
    }
}

/// A call of a tool that takes a text passes whole, whatever its length, or fails: it is never cut.
#[test]
fn a_long_call_is_whole_or_an_error() {
    let named = |name: &str| {
        codecs()
            .into_iter()
            .find(|codec| codec.name == name)
            .unwrap()
    };
    let (served, caller) = (named("anthropic_messages"), named("openai_responses"));
    let request = Request {
        tools: vec![Tool {
            name: "patch".to_owned(),
            freeform: Some(Object::default()),
            ..Tool::default()
        }],
        ..streaming()
    };
    let event = |kind: &str, data: Object| format!("event: {kind}\ndata: {data}\n\n");
    let delta = |text: &str| {
        let delta = json::object! { "type": "input_json_delta", "partial_json": text };
        let data = json::object! { "type": "content_block_delta", "index": 0_u64, "delta": delta };
        event("content_block_delta", data)
    };
    let block = json::object! { "type": "tool_use", "id": "t", "name": "patch" };
    let begun = json::object! { "type": "content_block_start", "content_block": block };
    let piece = "x".repeat(1 << 20);
    let call = |mib: usize| {
        let framing = Some(Framing::Text);
        let mut translator = ResponseTranslator::new(served, caller, request.clone(), framing, 0);
        let mut out = Vec::new();
        let mut feed = |text: String| translator.feed(text.as_bytes(), &mut out);
        feed(event(
            "message_start",
            json::object! { "type": "message_start" },
        ))?;
        feed(event("content_block_start", begun.clone()))?;
        feed(delta("{\"input\":\""))?;
        for _ in 0..mib {
            feed(delta(&piece))?;
        }
        feed(delta("\"}"))?;
        let end = json::object! { "type": "content_block_stop" };
        feed(event("content_block_stop", end))?;
        Ok::<_, Failure>(String::from_utf8(out).unwrap())
    };
    let whole = call(9).unwrap();
    let expected = format!("\"delta\":\"{}\"", "x".repeat(9 << 20));
    assert!(whole.contains(&expected), "the call is whole");
    assert_eq!(call(33), Err(Failure::too_long()));
}
