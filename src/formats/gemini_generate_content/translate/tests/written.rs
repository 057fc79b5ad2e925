//! A response for a caller.

use serde_json::{Value, json};

use super::super::CODEC;
use super::chat;
use crate::formats::translate::checks::{
    read, streamed, streaming, survives_every_split, through, value, whole, written,
};
use crate::formats::translate::{
    Citation, Content, Delivery, InDocument, LogProb, Part, Request, Response, Seal, SealKind,
    Stop, Text, Thought, ToolCall, Unit, Usage,
};
use crate::wire::Framing;

/// A response with all that a caller can get.
fn response() -> Response {
    let seal = |kind, value: &str| Some(Seal::new("some_format", kind, value));
    let thought = |text: &str, seal| {
        Part::new(Content::Reasoning(Thought {
            text: text.to_owned(),
            seal,
        }))
    };
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
            thought("Hm, ", seal(SealKind::Signature, "s1")),
            thought("", seal(SealKind::Encrypted, "e1")),
            thought("", seal(SealKind::Encrypted, "e2")),
            Part::text("I look."),
            thought("", seal(SealKind::Next, "n1")),
            call("call_1", r#"{"a":[true],"z":1}"#),
            call("call_2", "{}"),
        ],
        stop: Stop::ToolUse,
        usage: Usage {
            input: Some(30),
            cache_read: Some(10),
            input_audio: Some(5),
            output: Some(20),
            reasoning: Some(8),
            ..Usage::default()
        },
    }
}

/// The parts of each response of a stream, as the SDKs keep them for the next request.
fn kept(stream: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(stream.to_vec()).unwrap();
    let events = text.split("\n\n").filter(|event| !event.is_empty());
    let events = events.map(|event| {
        let data: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
        data["candidates"][0]["content"].clone()
    });
    events.collect()
}

fn history(contents: &[Value]) -> Vec<Part> {
    let request = read(&CODEC, &json!({ "contents": contents })).unwrap();
    request
        .turns
        .into_iter()
        .flat_map(|turn| turn.parts)
        .collect()
}

#[test]
fn what_a_caller_gets_comes_back_as_it_was() {
    let request = Request {
        shows_thoughts: Some(true),
        ..streaming()
    };
    let body = value(&(CODEC.write_response)(&request, response()));
    let content = body["candidates"][0]["content"].clone();
    assert_eq!(history(&[content]), response().parts);
    let stream = written(&CODEC, &request, response());
    assert_eq!(history(&kept(&stream)), response().parts);
    assert_eq!(body["responseId"], "id-1");
    assert_eq!(body["modelVersion"], "m-2");
    assert_eq!(body["candidates"][0]["finishReason"], "STOP");
    assert_eq!(
        body["usageMetadata"],
        json!({
            "promptTokenCount": 30, "candidatesTokenCount": 12, "totalTokenCount": 50,
            "cachedContentTokenCount": 10, "thoughtsTokenCount": 8,
            "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": 25 }, { "modality": "AUDIO", "tokenCount": 5 }],
        })
    );
}

#[test]
fn a_caller_who_does_not_ask_for_thoughts_gets_none() {
    let body = value(&(CODEC.write_response)(&streaming(), response()));
    let parts = body["candidates"][0]["content"]["parts"]
        .as_array()
        .unwrap()
        .clone();
    assert!(
        parts.iter().all(|part| part.get("thought").is_none()),
        "{body}"
    );
    assert_eq!(
        parts[0]["text"], "",
        "the first of two signatures for one part"
    );
    assert_eq!(parts[1]["text"], "I look.");
    // What signs a text went with the text.
    let expected = &response().parts[1..];
    assert_eq!(
        history(&[body["candidates"][0]["content"].clone()]),
        expected
    );
    assert_eq!(
        history(&kept(&written(&CODEC, &streaming(), response()))),
        expected
    );
}

#[test]
fn a_stream_can_be_an_array() {
    let request = Request {
        delivery: Delivery::Array,
        ..streaming()
    };
    assert_eq!((CODEC.stream_type)(&request), "application/json");
    let stream = written(&CODEC, &request, response());
    let responses: Vec<Value> = serde_json::from_slice(&stream).unwrap();
    let (last, others) = responses.split_last().unwrap();
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert_eq!(last["usageMetadata"]["totalTokenCount"], 50);
    assert!(
        others
            .iter()
            .all(|one| one["candidates"][0].get("finishReason").is_none())
    );
    assert!(
        responses
            .iter()
            .all(|one| one["responseId"] == "id-1" && one["modelVersion"] == "m-2")
    );
    // A response of which nothing came is an array too.
    let empty = written(&CODEC, &request, Response::default());
    assert_eq!(
        serde_json::from_slice::<Vec<Value>>(&empty).unwrap().len(),
        1
    );
}

#[test]
fn citations_and_log_probabilities_go_with_the_text() {
    let token = |token: &str, logprob| LogProb {
        token: token.to_owned(),
        logprob,
        ..LogProb::default()
    };
    let response = Response {
        parts: vec![
            Part::text("Ä: "),
            Part::new(Content::Text(Text {
                text: "it is 5.".to_owned(),
                citations: vec![
                    Citation {
                        title: Some("Log".to_owned()),
                        quote: Some("5".to_owned()),
                        document: Some(InDocument {
                            index: 0,
                            unit: Unit::Page,
                            start: 1,
                            end: 2,
                        }),
                        ..Citation::default()
                    },
                    Citation {
                        url: Some("https://a.test".to_owned()),
                        span: Some((6, 7)),
                        ..Citation::default()
                    },
                ],
                logprobs: vec![
                    LogProb {
                        top: vec![token("it", -0.25), token("so", -2.0)],
                        ..token("it", -0.25)
                    },
                    token(" is", -0.75),
                ],
            })),
        ],
        ..Response::default()
    };
    let body = value(&(CODEC.write_response)(&streaming(), response.clone()));
    let candidate = &body["candidates"][0];
    assert_eq!(
        candidate["content"]["parts"],
        json!([{ "text": "Ä: it is 5." }])
    );
    assert_eq!(
        candidate["groundingMetadata"],
        json!({
            "groundingChunks": [{ "retrievedContext": { "title": "Log", "text": "5" } },
                { "web": { "uri": "https://a.test" } }],
            "groundingSupports": [
                { "segment": { "startIndex": 4, "endIndex": 12, "text": "it is 5." }, "groundingChunkIndices": [0] },
                { "segment": { "startIndex": 10, "endIndex": 11, "text": "5" }, "groundingChunkIndices": [1] }],
        })
    );
    assert_eq!(candidate["avgLogprobs"], -0.5);
    assert_eq!(
        candidate["logprobsResult"]["chosenCandidates"][1]["token"],
        " is"
    );
    let again = whole(&CODEC, body.to_string().as_bytes());
    let Content::Text(text) = &again.parts[0].content else {
        panic!("a text")
    };
    let Content::Text(before) = &response.parts[1].content else {
        panic!("a text")
    };
    assert_eq!(text.logprobs, before.logprobs);
    let stream = written(&CODEC, &streaming(), response);
    let again = streamed(&CODEC, Framing::Text, &stream).unwrap();
    assert!(matches!(&again.parts[0].content, Content::Text(one) if one.citations.len() == 2));
}

#[test]
fn a_caller_of_generated_content_is_served_by_chat() {
    let stream = b"data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n\
        data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n\
        data: [DONE]\n\n";
    let served = (chat(), Framing::Text);
    let out = through(served, &CODEC, &streaming(), &[stream]);
    let text = String::from_utf8(out).unwrap();
    let events: Vec<&str> = text.split("\n\n").collect();
    assert!(events[0].contains(r#""parts":[{"text":"Hi"}]"#), "{text}");
    assert!(
        events[1].contains(r#""finishReason":"MAX_TOKENS""#),
        "{text}"
    );
    survives_every_split(served, &CODEC, &streaming(), stream);
}
