//! Requests and responses of messages, read and written.

use serde_json::{Value, json};

use super::CODEC;
use crate::formats::translate::checks::{
    read, streamed, streaming, translated, value, whole, written,
};
use crate::formats::translate::{Content, Response, Seal, SealKind, Stop};
use crate::wire::Framing;

/// Everything that a caller can ask for and a provider can do.
fn everything() -> Value {
    json!({
        "model": "m",
        "max_tokens": 5000,
        "system": [{ "type": "text", "text": "Be brief.", "cache_control": { "type": "ephemeral", "ttl": "1h" } }],
        "messages": [
            { "role": "user", "content": [
                { "type": "text", "text": "What is this?" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "iVBO" } },
                { "type": "image", "source": { "type": "url", "url": "https://x.test/a.png" } },
                { "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "JVBE" },
                  "title": "Log", "citations": { "enabled": true } },
                { "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "words" } },
                { "type": "document", "source": { "type": "url", "url": "https://x.test/a.pdf" },
                  "cache_control": { "type": "ephemeral" } },
            ] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "Hm", "signature": "c2ln" },
                { "type": "redacted_thinking", "data": "ZGF0YQ==" },
                { "type": "text", "text": "I look." },
                { "type": "tool_use", "id": "toolu_1", "name": "look", "input": { "z": 1, "a": [true] } },
                { "type": "tool_use", "id": "toolu_2", "name": "now", "input": {} },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "toolu_1", "content": [
                    { "type": "text", "text": "seen" },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/jpeg", "data": "/9j/" } },
                ] },
                { "type": "tool_result", "tool_use_id": "toolu_2", "content": [], "is_error": true },
                { "type": "text", "text": "Go on." },
            ] },
        ],
        "tools": [
            { "name": "look", "description": "Looks.", "strict": true,
              "input_schema": { "type": "object", "properties": { "z": { "type": "number" }, "a": { "type": "array" } } } },
            { "name": "now", "input_schema": { "type": "object" }, "cache_control": { "type": "ephemeral" } },
        ],
        "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop_sequences": ["END"],
        "thinking": { "type": "enabled", "budget_tokens": 2000 },
        "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } },
        "metadata": { "user_id": "u1" },
        "stream": true,
    })
}

#[test]
fn a_request_keeps_its_meaning() {
    let (sent, dropped) = translated(&CODEC, &CODEC, &everything()).unwrap();
    assert_eq!(sent, everything());
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn keys_keep_their_order() {
    let body = r#"{"model":"m","max_tokens":1,"messages":[],"tools":[{"name":"t","input_schema":{"z":1,"a":2}}]}"#;
    let body: Value = serde_json::from_str(body).unwrap();
    let request = read(&CODEC, &body).unwrap();
    assert_eq!(
        request.tools[0]
            .parameters
            .as_ref()
            .unwrap()
            .to_string()
            .len(),
        13
    );
    let text = r#"{"z":1,"a":2}"#;
    let json = crate::formats::translate::Json::read(text.as_bytes()).unwrap();
    assert_eq!(json.to_string(), text);
}

#[test]
fn what_is_not_known_is_refused_by_its_name() {
    for (pointer, value, field) in [
        ("/container", json!("c"), "container"),
        ("/speed", json!("fast"), "speed"),
        (
            "/messages/0/content/0/x",
            json!(1),
            "messages[0].content[0].x",
        ),
        (
            "/messages/0/content/0/type",
            json!("search_result"),
            "messages[0].content[0].type",
        ),
        (
            "/messages/0/content/1/source/type",
            json!("file"),
            "messages[0].content[1].source.type",
        ),
        (
            "/tools/1/type",
            json!("web_search_20250305"),
            "tools[1].type",
        ),
        ("/thinking/type", json!("odd"), "thinking.type"),
        ("/max_tokens", json!("9"), "max_tokens"),
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
    body["context_management"] = json!({ "edits": [] });
    body["messages"][0]["content"][3]["context"] = json!("a log");
    let (_, dropped) = translated(&CODEC, &CODEC, &body).unwrap();
    assert_eq!(dropped, ["context_management", "messages.content.context"]);
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
            include_str!("../fixtures/thinking.response.json"),
            include_str!("../fixtures/thinking.stream.txt"),
        ),
        (
            include_str!("../fixtures/cached.response.json"),
            include_str!("../fixtures/cached.stream.txt"),
        ),
    ] {
        let whole = whole(&CODEC, body.as_bytes());
        let streamed = streamed(&CODEC, Framing::Text, stream.as_bytes()).unwrap();
        assert_eq!(comparable(streamed), comparable(whole.clone()), "{body}");
        let written = written(&CODEC, &streaming(), whole.clone());
        let again = read_again(&written);
        assert_eq!(comparable(again), comparable(whole), "{body}");
    }
}

fn read_again(stream: &[u8]) -> Response {
    streamed(&CODEC, Framing::Text, stream).unwrap()
}

/// Without what a stream writes otherwise: the JSON of parameters, and counts of zero.
fn comparable(mut response: Response) -> Value {
    for part in &mut response.parts {
        if let Content::ToolCall(call) = &mut part.content {
            call.arguments = value(&call.input()).to_string();
        }
    }
    response.usage.cache_read = response.usage.cache_read.filter(|count| *count > 0);
    response.usage.cache_write = response.usage.cache_write.filter(|count| *count > 0);
    response.usage.cache_write_hour = response.usage.cache_write_hour.filter(|count| *count > 0);
    let usage = &response.usage;
    json!([
        format!("{:?}", response.parts),
        format!("{:?}", response.stop),
        [
            usage.input,
            usage.output,
            usage.cache_read,
            usage.cache_write
        ],
    ])
}

#[test]
fn a_response_is_written_as_it_was_read() {
    let body: Value =
        serde_json::from_str(include_str!("../fixtures/thinking.response.json")).unwrap();
    let response = whole(&CODEC, body.to_string().as_bytes());
    let mut again = value(&(CODEC.write_response)(&streaming(), response));
    again["usage"] = body["usage"].clone();
    assert_eq!(again, body);
}

#[test]
fn why_a_model_stops() {
    for (reason, stop) in [
        ("end_turn", Stop::End),
        ("max_tokens", Stop::MaxTokens),
        ("refusal", Stop::Refused),
        ("pause_turn", Stop::Paused),
        ("stop_sequence", Stop::Sequence(Some("END".to_owned()))),
        ("model_context_window_exceeded", Stop::ContextFull),
        ("something_new", Stop::End),
    ] {
        let sequence = (reason == "stop_sequence").then_some("END");
        let body = json!({ "content": [], "stop_reason": reason, "stop_sequence": sequence });
        assert_eq!(
            whole(&CODEC, body.to_string().as_bytes()).stop,
            stop,
            "{reason}"
        );
    }
}

#[test]
fn an_error_of_the_provider_is_reported_with_its_status() {
    let stream = b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
    let failure = streamed(&CODEC, Framing::Text, stream).unwrap_err();
    assert_eq!(
        (failure.status, failure.message.as_str()),
        (Some(529), "busy")
    );
    let stream = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n";
    assert!(streamed(&CODEC, Framing::Text, stream).is_err());
}

#[test]
fn seals_of_other_formats_stay_closed() {
    let seal = Seal::new("openai_responses", SealKind::Encrypted, "blob");
    let body = json!({ "model": "m", "max_tokens": 1, "messages": [{ "role": "assistant", "content": [
        { "type": "redacted_thinking", "data": seal.closed() },
        { "type": "text", "text": "hi" },
    ] }] });
    let request = read(&CODEC, &body).unwrap();
    let Content::Reasoning(thought) = &request.turns[0].parts[0].content else {
        panic!()
    };
    assert_eq!(thought.seal.as_ref(), Some(&seal));
    let (sent, dropped) = translated(&CODEC, &CODEC, &body).unwrap();
    assert_eq!(
        sent["messages"][0]["content"],
        json!([{ "type": "text", "text": "hi" }])
    );
    assert_eq!(dropped, ["messages.content.thinking"]);
}

#[test]
fn a_budget_stays_below_the_bound_and_needs_the_thoughts_before() {
    let thinking = |max_tokens: u64, content: Value| {
        let body = json!({ "model": "m", "max_tokens": max_tokens, "thinking": { "type": "enabled", "budget_tokens": 4000 },
            "messages": [{ "role": "assistant", "content": content }] });
        translated(&CODEC, &CODEC, &body).unwrap().0["thinking"].clone()
    };
    let text = json!("hi");
    assert_eq!(thinking(9000, text.clone())["budget_tokens"], 4000);
    assert_eq!(thinking(3000, text.clone())["budget_tokens"], 2999);
    assert_eq!(thinking(500, text), Value::Null);
    let call = json!([{ "type": "tool_use", "id": "t", "name": "n", "input": {} }]);
    assert_eq!(thinking(9000, call), Value::Null);
}

#[test]
fn blank_texts_are_left_out() {
    let blank = json!({ "type": "text", "text": " \n" });
    let said = json!({ "type": "text", "text": "Hi. " });
    let body = json!({
        "model": "m", "max_tokens": 1, "system": [blank, said],
        "messages": [
            { "role": "user", "content": [said, blank] },
            { "role": "assistant", "content": "\t" },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "t", "content": [blank] },
            ] },
        ],
    });
    let (sent, _) = translated(&CODEC, &CODEC, &body).unwrap();
    assert_eq!(sent["system"], json!([said]));
    let result = json!({ "type": "tool_result", "tool_use_id": "t", "content": [] });
    assert_eq!(
        sent["messages"],
        json!([
            { "role": "user", "content": [said] },
            { "role": "user", "content": [result] },
        ])
    );
    let mut request = read(&CODEC, &body).unwrap();
    request.turns[2].parts[0].content = Content::Refusal(" ".to_owned());
    let written = value(&(CODEC.write_request)(&request).unwrap().body);
    assert_eq!(written["messages"], sent["messages"]);
}

/// What a provider gets for a request to one of its models.
fn sent_to(model: &str, body: &Value) -> Value {
    let mut request = read(&CODEC, body).unwrap();
    request.model = model.to_owned();
    value(&(CODEC.write_request)(&request).unwrap().body)
}

#[test]
fn claude_thinks_as_its_version_can() {
    let budget = json!({ "thinking": { "type": "enabled", "budget_tokens": 4000 } });
    let effort =
        json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": "high" } });
    let off = json!({ "thinking": { "type": "disabled" } });
    let enabled = |budget: u64| json!([{ "type": "enabled", "budget_tokens": budget }, null]);
    // The caller's API shows thoughts by default, and some of the models don't.
    let adaptive = |effort: &str| json!([{ "type": "adaptive", "display": "summarized" }, effort]);
    for (model, asked, expected) in [
        ("claude-haiku-4-5", &effort, enabled(16_384)),
        ("claude-sonnet-4-5-20250929", &budget, enabled(4_000)),
        ("claude-opus-4-7", &budget, adaptive("medium")),
        ("claude-sonnet-5", &effort, adaptive("high")),
        (
            "claude-sonnet-5",
            &off,
            json!([{ "type": "disabled" }, null]),
        ),
        // Other vendors get what was asked for.
        ("m", &budget, enabled(4_000)),
        ("m", &effort, adaptive("high")),
    ] {
        let mut body = asked.clone();
        body["model"] = json!("m");
        body["max_tokens"] = json!(50_000);
        body["messages"] = json!([]);
        let sent = sent_to(model, &body);
        let effort = &sent["output_config"]["effort"];
        assert_eq!(json!([sent["thinking"], effort]), expected, "{model}");
    }
}

#[test]
fn claude_gets_no_sampling_and_no_forced_call_where_it_thinks() {
    let kept = |model: &str, body: &Value| {
        let sent = sent_to(model, body);
        let keys = ["thinking", "temperature", "top_p", "top_k"];
        keys.map(|key| !sent[key].is_null())
    };
    let forced = everything();
    let mut free = everything();
    free["tool_choice"] = json!({ "type": "auto" });
    let mut still = free.clone();
    still["thinking"] = json!(null);
    let mut nucleus = still.clone();
    nucleus["temperature"] = json!(null);
    let sonnet = "claude-sonnet-4-5";
    for (model, body, expected) in [
        (sonnet, &forced, [false, true, false, true]),
        (sonnet, &free, [true, false, false, false]),
        (sonnet, &still, [false, true, false, true]),
        (sonnet, &nucleus, [false, false, true, true]),
        ("claude-sonnet-4-6", &free, [true, false, false, false]),
        ("claude-opus-4-7", &still, [false, false, false, false]),
        (
            "claude-sonnet-4-20250514",
            &still,
            [false, true, true, true],
        ),
        ("m", &forced, [true, true, true, true]),
    ] {
        assert_eq!(kept(model, body), expected, "{model}");
    }
}
