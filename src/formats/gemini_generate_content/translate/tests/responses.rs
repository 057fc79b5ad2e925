//! A provider's response.

use serde_json::{Value, json};

use super::super::CODEC;
use super::chat;
use crate::formats::translate::checks::{streamed, streaming, survives_every_split, value, whole};
use crate::formats::translate::{Content, Json, Response, Stop, Usage};
use crate::wire::Framing;

/// Without the ids that were made.
fn comparable(mut response: Response) -> Response {
    for part in &mut response.parts {
        if let Content::ToolCall(call) = &mut part.content {
            assert!(!call.id.is_empty());
            call.id = "id".to_owned();
            call.arguments = value(&call.input()).to_string();
        }
    }
    response
}

macro_rules! fixture {
    ($name:literal) => {
        (
            include_str!(concat!("../../fixtures/", $name, ".response.json")),
            include_str!(concat!("../../fixtures/", $name, ".stream.txt")),
        )
    };
}

#[test]
fn recorded_responses_say_the_same_in_events_and_as_a_whole() {
    for (body, stream) in [
        fixture!("text"),
        fixture!("tools"),
        fixture!("blocked"),
        fixture!("image"),
        fixture!("code"),
        fixture!("candidates"),
        fixture!("search"),
        fixture!("odd"),
    ] {
        let whole = comparable(whole(&CODEC, body.as_bytes()));
        let streamed = streamed(&CODEC, Framing::Text, stream.as_bytes()).unwrap();
        assert_eq!(comparable(streamed), whole, "{body}");
    }
}

#[test]
fn calls_thoughts_and_counts_are_read() {
    let (body, _) = fixture!("tools");
    let response = whole(&CODEC, body.as_bytes());
    assert_eq!(response.stop, Stop::ToolUse);
    assert_eq!(
        response.usage,
        Usage {
            input: Some(80),
            cache_read: Some(64),
            output: Some(75),
            reasoning: Some(44),
            ..Usage::default()
        }
    );
    let kinds: Vec<String> = response
        .parts
        .iter()
        .map(|part| match &part.content {
            Content::Reasoning(thought) => {
                let seal = thought.seal.as_ref();
                format!(
                    "{}{:?}",
                    thought.text,
                    seal.map(|seal| (seal.kind, &*seal.value))
                )
            }
            Content::ToolCall(call) => format!("{} {}", call.name, call.arguments),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "Looking both cities up.None",
            "Some((Next, \"c2ln\"))",
            "weather {\"city\":\"Oslo\",\"days\":2}",
            "weather {\"city\":\"Rome\"}",
            "now {}",
        ]
    );
}

#[test]
fn a_signature_at_the_end_of_a_stream_stays_there() {
    let (_, stream) = fixture!("thinking");
    let response = streamed(&CODEC, Framing::Text, stream.as_bytes()).unwrap();
    let [thought, text, end] = response.parts.as_slice() else {
        panic!("three parts: {response:?}")
    };
    assert!(
        matches!(&thought.content, Content::Reasoning(one) if one.text == "Seventeen times three.")
    );
    assert_eq!(text.as_text(), Some("It is 51."));
    assert!(
        matches!(&end.content, Content::Reasoning(one) if one.seal.as_ref().unwrap().value == "ZW5k")
    );
    survives_every_split(
        (&CODEC, Framing::Text),
        chat(),
        &streaming(),
        stream.as_bytes(),
    );
}

#[test]
fn a_prompt_that_is_blocked_is_a_refusal() {
    let (body, _) = fixture!("blocked");
    let response = whole(&CODEC, body.as_bytes());
    assert_eq!(response.stop, Stop::Refused);
    assert!(response.parts.is_empty());
    for reason in ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "IMAGE_SAFETY"] {
        let body = json!({ "candidates": [{ "finishReason": reason }] });
        assert_eq!(
            whole(&CODEC, body.to_string().as_bytes()).stop,
            Stop::Refused
        );
    }
}

#[test]
fn what_is_no_response_is_a_failure() {
    let fails = |body: Value| {
        let body = Json::read(body.to_string().as_bytes()).unwrap();
        (CODEC.read_response)(&body).unwrap_err()
    };
    let error = fails(json!({ "error": { "code": 429, "message": "slow down" } }));
    assert_eq!((error.status, &*error.message), (Some(429), "slow down"));
    let broken = json!({ "candidates": [{ "finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "f(" }] });
    let broken = fails(broken);
    assert_eq!(broken.status, Some(502));
    assert!(
        broken.message.contains("MALFORMED_FUNCTION_CALL f("),
        "{broken}"
    );
    for odd in [json!({}), json!([]), json!(7), json!({ "choices": [] })] {
        fails(odd);
    }
    let (_, stream) = fixture!("cut");
    assert!(streamed(&CODEC, Framing::Text, stream.as_bytes()).is_err());
    let error = b"data: {\"error\":{\"code\":503,\"message\":\"overloaded\"}}\n\n";
    let error = streamed(&CODEC, Framing::Text, error).unwrap_err();
    assert_eq!(error.status, Some(503));
}

#[test]
fn places_are_counted_in_bytes_there_and_in_characters_here() {
    let body = json!({ "candidates": [{
        "content": { "parts": [{ "text": "Größe: 5 m." }], "role": "model" },
        "finishReason": "STOP",
        "groundingMetadata": {
            "groundingChunks": [{ "web": { "uri": "https://a.test", "title": "a" } }, { "web": { "uri": "https://b.test" } }],
            "groundingSupports": [{ "segment": { "startIndex": 9, "endIndex": 13, "text": "5 m." },
                "groundingChunkIndices": [1, 0, 7] }],
        },
        "citationMetadata": { "citationSources": [{ "uri": "https://c.test", "endIndex": 7 }] },
    }] });
    let response = whole(&CODEC, body.to_string().as_bytes());
    let Content::Text(text) = &response.parts[0].content else {
        panic!("a text")
    };
    let places: Vec<_> = text
        .citations
        .iter()
        .map(|one| (one.url.as_deref().unwrap(), one.span))
        .collect();
    assert_eq!(
        places,
        [
            ("https://c.test", Some((0, 5))),
            ("https://b.test", Some((7, 11))),
            ("https://a.test", Some((7, 11))),
        ]
    );
    let written = value(&(CODEC.write_response)(&streaming(), response));
    let grounding = &written["candidates"][0]["groundingMetadata"];
    assert_eq!(
        grounding["groundingSupports"][1],
        json!({ "segment": { "startIndex": 9, "endIndex": 13, "text": "5 m." }, "groundingChunkIndices": [1] })
    );
    assert_eq!(
        grounding["groundingChunks"][1],
        json!({ "web": { "uri": "https://b.test" } })
    );
}

#[test]
fn no_response_makes_it_panic() {
    let (body, stream) = fixture!("odd");
    whole(&CODEC, body.as_bytes());
    streamed(&CODEC, Framing::Text, stream.as_bytes()).unwrap();
    let (body, _) = fixture!("search");
    let tree: Value = serde_json::from_str(body).unwrap();
    for key in [
        "content",
        "groundingMetadata",
        "citationMetadata",
        "finishReason",
        "logprobsResult",
        "index",
    ] {
        for odd in [
            json!(null),
            json!(-1),
            json!("x"),
            json!([[1]]),
            json!({ "parts": 1, "groundingSupports": [{
            "segment": { "startIndex": 99, "endIndex": 3 }, "groundingChunkIndices": [0, -1] }] }),
        ] {
            let mut body = tree.clone();
            body["candidates"][0][key] = odd;
            let body = Json::read(body.to_string().as_bytes()).unwrap();
            let _ = (CODEC.read_response)(&body);
        }
    }
}
