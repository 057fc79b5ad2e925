//! A request for a provider.

use serde_json::json;

use super::super::CODEC;
use super::{chat, messages};
use crate::formats::translate::checks::{read, translated, value};
use crate::formats::translate::{Delivery, Inbound, Request};

#[test]
fn the_method_and_the_query_say_how_the_response_comes() {
    let read = |is_streamed, query| {
        let inbound = Inbound {
            path: "/v1beta/models/m:generateContent",
            query,
            model: "m",
            is_streamed,
            body: b"{}",
        };
        (CODEC.read_request)(&inbound).unwrap()
    };
    assert_eq!(read(false, Some("alt=sse")).delivery, Delivery::Whole);
    assert_eq!(read(true, None).delivery, Delivery::Array);
    let request = read(true, Some("key=1&alt=sse"));
    assert_eq!(request.delivery, Delivery::Events { usage: true });
    let sent = (CODEC.write_request)(&Request {
        model: "a/b:c".to_owned(),
        ..request
    });
    let sent = sent.unwrap();
    assert_eq!(sent.path, "/v1beta/models/a%2Fb%3Ac:streamGenerateContent");
    assert_eq!(sent.query, Some("alt=sse"));
}

#[test]
fn chat_is_written_as_generated_content() {
    let body = json!({
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": [{ "type": "text", "text": "?" },
                { "type": "image_url", "image_url": { "url": "https://x.test/a.png?b", "detail": "low" } }] },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "1", "type": "function", "function": { "name": "look", "arguments": "{\"a\":1}" } },
                { "id": "2", "type": "function", "function": { "name": "now", "arguments": "" } }] },
            { "role": "tool", "tool_call_id": "2", "content": "noon" },
            { "role": "tool", "tool_call_id": "1", "content": "[1]" },
        ],
        "tools": [{ "type": "function", "function": { "name": "look", "strict": true, "parameters": { "type": "object" } } },
            { "type": "function", "function": { "name": "now" } }],
        "reasoning_effort": "low", "seed": 4_294_967_297_u64, "response_format": { "type": "json_object" },
    });
    let (sent, dropped) = translated(chat(), &CODEC, &body).unwrap();
    assert_eq!(dropped, ["messages.content.image_url.detail"]);
    assert_eq!(
        sent,
        json!({
            "systemInstruction": { "parts": [{ "text": "Be brief." }] },
            "contents": [
                { "role": "user", "parts": [{ "text": "?" },
                    { "fileData": { "mimeType": "image/png", "fileUri": "https://x.test/a.png?b" } }] },
                { "role": "model", "parts": [
                    { "functionCall": { "id": "1", "name": "look", "args": { "a": 1 } },
                      "thoughtSignature": "skip_thought_signature_validator" },
                    { "functionCall": { "id": "2", "name": "now", "args": {} } }] },
                { "role": "user", "parts": [
                    { "functionResponse": { "id": "2", "name": "now", "response": { "output": "noon" } } },
                    { "functionResponse": { "id": "1", "name": "look", "response": { "output": [1] } } }] },
            ],
            "tools": [{ "functionDeclarations": [
                { "name": "look", "parametersJsonSchema": { "type": "object" } }, { "name": "now" }] }],
            "toolConfig": { "functionCallingConfig": { "mode": "VALIDATED" } },
            "generationConfig": { "seed": 1, "responseMimeType": "application/json",
                "thinkingConfig": { "thinkingBudget": 1024, "includeThoughts": true } },
        })
    );
}

#[test]
fn media_of_results_follow_the_results() {
    let image = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "iVBO" } });
    let body = json!({ "max_tokens": 9, "messages": [
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "1", "name": "look", "input": {} },
            { "type": "tool_use", "id": "2", "name": "now", "input": {} }] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "1", "content": [{ "type": "text", "text": "seen" }, image] },
            { "type": "tool_result", "tool_use_id": "2", "is_error": true }] },
    ] });
    let (sent, _) = translated(messages(), &CODEC, &body).unwrap();
    assert_eq!(
        sent["contents"][1]["parts"],
        json!([
            { "functionResponse": { "id": "1", "name": "look", "response": { "output": "seen" } } },
            { "functionResponse": { "id": "2", "name": "now", "response": { "error": "" } } },
            { "text": "What the function call 1 returned:" },
            { "inlineData": { "mimeType": "image/png", "data": "iVBO" } },
        ])
    );
}

#[test]
fn a_model_is_asked_to_think_in_its_own_words() {
    for (model, reasoning, expected) in [
        (
            "gemini-2.5-flash",
            json!({ "type": "enabled", "budget_tokens": 50_000 }),
            json!({ "thinkingBudget": 24_576, "includeThoughts": true }),
        ),
        (
            "gemini-2.5-flash",
            json!({ "type": "adaptive" }),
            json!({ "thinkingBudget": -1, "includeThoughts": true }),
        ),
        (
            "gemini-3-pro-preview",
            json!({ "type": "adaptive" }),
            json!({ "includeThoughts": true }),
        ),
        (
            "gemini-3.5-flash",
            json!({ "type": "disabled" }),
            json!({ "thinkingBudget": 0 }),
        ),
        (
            "gemini-2.5-flash-preview-09-2025",
            json!({ "type": "disabled" }),
            json!({ "thinkingBudget": 0 }),
        ),
        (
            "models/gemini-2.5-pro",
            json!({ "type": "disabled" }),
            json!({ "thinkingBudget": 128 }),
        ),
        (
            "gemini-pro-latest",
            json!({ "type": "disabled" }),
            json!({ "thinkingBudget": 128 }),
        ),
        (
            "gemini-3.1-pro-preview",
            json!({ "type": "disabled" }),
            json!({ "thinkingLevel": "LOW" }),
        ),
    ] {
        let body = json!({ "messages": [], "max_tokens": 9, "thinking": reasoning });
        let request = read(messages(), &body).unwrap();
        let request = Request {
            model: model.to_owned(),
            ..request
        };
        let sent = value(&(CODEC.write_request)(&request).unwrap().body);
        assert_eq!(
            sent["generationConfig"]["thinkingConfig"], expected,
            "{model}"
        );
    }
    let body =
        json!({ "messages": [{ "role": "user", "content": "?" }], "reasoning_effort": "minimal" });
    let request = read(chat(), &body).unwrap();
    for (model, level) in [("gemini-3-flash", "MINIMAL"), ("gemini-3-pro", "LOW")] {
        let request = Request {
            model: model.to_owned(),
            ..request.clone()
        };
        let sent = value(&(CODEC.write_request)(&request).unwrap().body);
        assert_eq!(
            sent["generationConfig"]["thinkingConfig"]["thinkingLevel"],
            level
        );
    }
}

#[test]
fn a_prompt_of_the_system_alone_is_asked_as_the_user() {
    let body = json!({ "messages": [{ "role": "system", "content": "Write a poem." }] });
    let (sent, _) = translated(chat(), &CODEC, &body).unwrap();
    assert_eq!(
        sent,
        json!({ "contents": [{ "role": "user", "parts": [{ "text": "Write a poem." }] }] })
    );
}
