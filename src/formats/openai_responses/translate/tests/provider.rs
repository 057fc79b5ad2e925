//! Requests for a provider, and its responses.

use serde_json::{Value, json};

use super::super::CODEC;
use super::{chat, messages};
use crate::formats::translate::checks::{read, streaming, translated, value, whole};
use crate::formats::translate::{
    Content, Inbound, Part, Response, Seal, SealKind, Thought, request,
};

#[test]
fn a_provider_is_asked_for_no_more_than_it_takes() {
    let sent = |body: Value| translated(chat(), &CODEC, &body).unwrap().0;
    let body = sent(
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }],
        "max_tokens": 1, "user": "u".repeat(100),
        "tools": [{ "type": "function", "function": { "name": "t" } }] }),
    );
    assert_eq!(body["max_output_tokens"], 16);
    assert_eq!(body["user"].as_str().unwrap().len(), 64);
    assert_eq!(body["store"], false);
    // Its own default would make a schema strict that isn't meant so.
    assert_eq!(body["tools"][0]["strict"], false);
    assert!(body.get("include").is_none() && body.get("reasoning").is_none());
    let body = sent(json!({ "model": "m", "messages": [], "reasoning_effort": "low" }));
    assert_eq!(body["reasoning"], json!({ "effort": "low" }));
    assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
}

#[test]
fn thoughts_come_back_to_the_provider_that_had_them() {
    for item in [
        json!({ "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "Hm" }],
                "encrypted_content": "gAAA" }),
        json!({ "type": "reasoning", "id": "rs_1", "summary": [],
                "content": [{ "type": "reasoning_text", "text": "Hm" }] }),
    ] {
        let call =
            json!({ "type": "function_call", "call_id": "call_1", "name": "t", "arguments": "{}" });
        let body = json!({ "id": "resp_1", "status": "completed", "output": [item, call] });
        let response = whole(&CODEC, body.to_string().as_bytes());
        let message = value(&(chat().write_response)(&streaming(), response));
        let message = &message["choices"][0]["message"];
        let body = json!({ "model": "m", "messages": [message] });
        let (sent, dropped) = translated(chat(), &CODEC, &body).unwrap();
        assert_eq!(sent["input"], json!([item, call]));
        assert!(dropped.is_empty(), "{dropped:?}");
    }
}

#[test]
fn a_thought_without_what_it_led_to_is_left_out() {
    let body = json!({ "model": "m", "input": [
        { "role": "user", "content": "hi" },
        { "type": "reasoning", "summary": [], "encrypted_content": "gAAA" },
        { "role": "user", "content": "still there?" },
    ] });
    let (sent, _) = translated(&CODEC, &CODEC, &body).unwrap();
    assert_eq!(sent["input"].as_array().unwrap().len(), 2);
    // One with nothing but an id makes no turn.
    let body =
        json!({ "model": "m", "input": [{ "type": "reasoning", "id": "rs_1", "summary": [] }] });
    assert!(read(&CODEC, &body).unwrap().turns.is_empty());
}

#[test]
fn seals_of_other_formats_stay_closed() {
    let seal = Seal::new("anthropic_messages", SealKind::Signature, "c2ln");
    let thought = Thought {
        text: "Hm".to_owned(),
        seal: Some(seal),
    };
    let response = Response {
        parts: vec![Part::new(Content::Reasoning(thought)), Part::text("hi")],
        ..Response::default()
    };
    let written = value(&(CODEC.write_response)(&streaming(), response));
    let body = json!({ "model": "m", "max_output_tokens": 9, "input": written["output"] });
    let (sent, _) = translated(&CODEC, messages(), &body).unwrap();
    let thinking = json!({ "type": "thinking", "thinking": "Hm", "signature": "c2ln" });
    assert_eq!(sent["messages"][0]["content"][0], thinking);
    let (sent, dropped) = translated(&CODEC, &CODEC, &body).unwrap();
    assert_eq!(sent["input"].as_array().unwrap().len(), 1);
    assert_eq!(dropped, ["input.summary"]);
}

#[test]
fn only_a_model_that_takes_it_is_asked_not_to_think() {
    let body =
        json!({ "messages": [{ "role": "user", "content": "hi" }], "reasoning_effort": "none" });
    let text = body.to_string();
    let sent = |model: &str| {
        let inbound = Inbound {
            path: "",
            query: None,
            model,
            is_streamed: false,
            body: text.as_bytes(),
        };
        let sent = request(chat(), &CODEC, &inbound, model).unwrap();
        let body = value(&sent.outbound.body);
        (body.get("reasoning").cloned(), sent.dropped)
    };
    assert_eq!(sent("gpt-5.1"), (Some(json!({ "effort": "none" })), vec![]));
    // These refuse the word.
    for model in ["gpt-5", "gpt-oss-120b", "llama-4"] {
        assert_eq!(sent(model), (None, vec!["reasoning_effort".to_owned()]));
    }
}
