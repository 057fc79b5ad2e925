//! Whole responses.

use super::*;
use crate::formats::translate::{
    Citation, Failure, InDocument, Json, Response, Seal, SealKind, Stop, Text, Unit, Usage,
};
use crate::wire::sse;

fn read_response(body: &Value) -> Result<Response, Failure> {
    (CODEC.read_response)(&Json::read(body.to_string().as_bytes()).unwrap())
}

fn write_response(response: Response) -> Value {
    value(&(CODEC.write_response)(&Request::default(), response))
}

/// A response with each kind of block.
fn full() -> Value {
    json!({
        "output": { "message": { "role": "assistant", "content": [
            { "reasoningContent": { "reasoningText": { "text": "13 × 17", "signature": "c2ln" } } },
            { "reasoningContent": { "reasoningText": { "text": "unsigned" } } },
            { "reasoningContent": { "redactedContent": "aGlkZGVu" } },
            { "text": "By the charts: " },
            { "citationsContent": {
                "content": [{ "text": "nine metres." }],
                "citations": [
                    { "title": "Chart", "sourceContent": [{ "text": "depth" }],
                      "location": { "documentPage": { "documentIndex": 0, "start": 1, "end": 2 } } },
                    { "title": "Tides", "location": { "web": { "url": "https://tides.example/" } } },
                ],
            } },
            { "image": { "format": "png", "source": { "bytes": "aW1n" } } },
            { "toolUse": { "toolUseId": "t1", "name": "tide", "input": { "at": ["Brest"] } } },
            { "toolUse": { "toolUseId": "t2", "name": "now", "input": {} } },
        ] } },
        "stopReason": "stop_sequence",
        "additionalModelResponseFields": { "stop_sequence": "END" },
        "usage": {
            "inputTokens": 6, "outputTokens": 11, "totalTokens": 2517,
            "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 1500,
            "cacheDetails": [{ "ttl": "1h", "inputTokens": 1200 }, { "ttl": "5m", "inputTokens": 300 }],
        },
        "metrics": { "latencyMs": 0 },
    })
}

#[test]
fn what_is_read_is_written_the_same() {
    assert_eq!(write_response(read_response(&full()).unwrap()), full());
}

#[test]
fn a_providers_response_is_understood() {
    let read = read_response(&full()).unwrap();
    assert_eq!(read.stop, Stop::Sequence(Some("END".to_owned())));
    let usage = Usage {
        input: Some(2506),
        cache_read: Some(1000),
        cache_write: Some(1500),
        cache_write_hour: Some(1200),
        output: Some(11),
        ..Usage::default()
    };
    assert_eq!(read.usage, usage);
    let seal = |kind, value| Some(Seal::new("bedrock_converse", kind, value));
    assert_eq!(
        read.parts[0],
        thought("13 × 17", seal(SealKind::Signature, "c2ln"))
    );
    assert_eq!(read.parts[1], thought("unsigned", None));
    assert_eq!(
        read.parts[2],
        thought("", seal(SealKind::Encrypted, "aGlkZGVu"))
    );
    let Content::Text(text) = &read.parts[4].content else {
        panic!("{:?}", read.parts);
    };
    assert_eq!(
        text.citations[0],
        Citation {
            title: Some("Chart".to_owned()),
            quote: Some("depth".to_owned()),
            document: Some(InDocument {
                index: 0,
                unit: Unit::Page,
                start: 1,
                end: 2
            }),
            ..Citation::default()
        }
    );
    assert_eq!(
        text.citations[1].url.as_deref(),
        Some("https://tides.example/")
    );
    assert_eq!(read.parts[5], medium_of("image/png", "aW1n"));
    assert_eq!(read.parts[6], call("t1", "tide", "{\"at\":[\"Brest\"]}"));
}

fn medium_of(mime: &str, bytes: &str) -> Part {
    let source = Source::Inline(bytes.to_owned());
    Part::new(Content::Media(Media::new(
        MediaKind::Image,
        Some(mime.to_owned()),
        source,
    )))
}

#[test]
fn each_reason_to_stop_has_a_word() {
    for (word, stop) in [
        ("end_turn", Stop::End),
        ("tool_use", Stop::ToolUse),
        ("max_tokens", Stop::MaxTokens),
        ("model_context_window_exceeded", Stop::ContextFull),
        ("content_filtered", Stop::Refused),
        ("stop_sequence", Stop::Sequence(None)),
    ] {
        let body = json!({ "output": { "message": { "content": [] } }, "stopReason": word });
        assert_eq!(read_response(&body).unwrap().stop, stop);
        let written = write_response(Response {
            stop,
            ..Response::default()
        });
        assert_eq!(written["stopReason"], word);
    }
    for (word, stop) in [
        ("guardrail_intervened", Stop::Refused),
        ("something_new", Stop::End),
    ] {
        let body = json!({ "output": { "message": { "content": [] } }, "stopReason": word });
        assert_eq!(read_response(&body).unwrap().stop, stop);
    }
    let paused = write_response(Response {
        stop: Stop::Paused,
        ..Response::default()
    });
    assert_eq!(paused["stopReason"], "end_turn");
}

#[test]
fn a_malformed_response_fails() {
    for word in ["malformed_model_output", "malformed_tool_use"] {
        let body = json!({ "output": { "message": { "content": [] } }, "stopReason": word });
        let message = format!("the model wrote no response: {word}");
        let failure = Failure::reported(Some(502), message);
        assert_eq!(read_response(&body), Err(failure.clone()));
        let event = json!({ "stopReason": word }).to_string();
        let event = sse::Event {
            name: b"messageStop",
            data: event.as_bytes(),
        };
        let streamed = (CODEC.reader)().read(&event, &mut Vec::new());
        assert_eq!(streamed, Err(failure));
    }
}

#[test]
fn a_response_has_what_the_sdks_types_need() {
    let response = Response {
        parts: vec![
            call("", "look", "not json"),
            Part::new(Content::Refusal("No.".to_owned())),
            Part::new(Content::Text(Text {
                citations: vec![Citation::default()],
                ..Text::new("t")
            })),
        ],
        ..Response::default()
    };
    let written = write_response(response);
    let content = &written["output"]["message"]["content"];
    assert!(
        content[0]["toolUse"]["toolUseId"]
            .as_str()
            .unwrap()
            .starts_with("tooluse_")
    );
    assert_eq!(
        content[0]["toolUse"]["input"],
        json!({ "arguments": "not json" })
    );
    assert_eq!(content[1], json!({ "text": "No." }));
    assert_eq!(content[2]["citationsContent"]["citations"], json!([{}]));
    assert_eq!(
        written["usage"],
        json!({ "inputTokens": 0, "outputTokens": 0, "totalTokens": 0 })
    );
    assert_eq!(written["metrics"], json!({ "latencyMs": 0 }));
}

#[test]
fn what_isnt_a_response_fails() {
    for (body, message) in [
        (json!({ "message": "no such model" }), "no such model"),
        (json!({}), "the provider's response has no message"),
        (json!([]), "the provider's response has no message"),
        (
            json!({ "output": { "message": { "content": "x" } } }),
            "the provider's response has no message",
        ),
    ] {
        assert_eq!(read_response(&body).unwrap_err(), Failure::new(message));
    }
}

#[test]
fn odd_members_are_skipped() {
    let read = read_response(
        &serde_json::from_str(include_str!("../../fixtures/odd.response.json")).unwrap(),
    );
    let read = read.unwrap();
    assert_eq!(read.parts, [Part::text("a"), call("t", "f", "not json")]);
    assert_eq!(
        read.usage,
        Usage {
            output: Some(5),
            ..Usage::default()
        }
    );
    let content = json!([7, "x", {}, { "image": {} }, { "toolUse": { "type": "server_tool_use" } }, { "text": "b" }]);
    let read = read_response(&json!({ "output": { "message": { "content": content } } })).unwrap();
    assert_eq!(read.parts, [Part::text("b")]);
}
