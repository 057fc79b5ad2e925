//! Callers whose format their provider doesn't speak.

use std::fmt::Write as _;
use std::net::SocketAddr;

use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, Receiver};

use crate::Gateway;
use support::http::{Reply, post};
use support::provider::{Received, STREAM, read_request, write};

pub const CHAT: &str = "/v1/chat/completions";
pub const MESSAGES: &str = "/v1/messages";
const CHAT_HEAD: &str = "POST /v1/chat/completions HTTP/1.1\r\n";
const MESSAGES_HEAD: &str = "POST /v1/messages HTTP/1.1\r\n";

pub fn speaks(format: &str) -> Value {
    json!({ "provider": { "compatibility": { format: true } } })
}

/// A provider that writes this to everyone, and what it receives.
pub async fn provider(response: Vec<String>) -> (SocketAddr, Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(request) = read_request(&mut stream).await else {
                continue;
            };
            sender.send(request).await.unwrap();
            for part in &response {
                write(&mut stream, part).await;
            }
        }
    });
    (address, received)
}

/// A gateway whose provider gives this response, and what the provider receives.
pub async fn gateway(config: Value, status: &str, body: &Value) -> (Gateway, Receiver<Received>) {
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n");
    let length = body.len();
    let head = format!("{head}content-length: {length}\r\nconnection: close\r\n\r\n");
    let (address, received) = provider(vec![head, body]).await;
    (Gateway::start(address, config).await, received)
}

/// A gateway whose provider gives this stream.
pub async fn streaming(format: &str, events: &str) -> (Gateway, Receiver<Received>) {
    let events = events.split_inclusive("\n\n").map(str::to_owned);
    let response = std::iter::once(STREAM.to_owned()).chain(events);
    let (address, received) = provider(response.collect()).await;
    (Gateway::start(address, speaks(format)).await, received)
}

pub fn sent(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

/// The data of each event.
pub fn data(reply: &Reply) -> Vec<Value> {
    let text = reply.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let data = lines.filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn message(content: &Value, stop: &str) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-1", "content": content,
        "stop_reason": stop, "stop_sequence": null,
        "usage": { "input_tokens": 4, "cache_read_input_tokens": 6, "output_tokens": 2 },
    })
}

#[tokio::test]
async fn chat_goes_to_a_provider_of_messages_and_its_record_says_so() {
    let reply = message(&json!([{ "type": "text", "text": "ahoy" }]), "end_turn");
    let (gateway, mut received) = gateway(speaks("anthropic_messages"), "200 OK", &reply).await;
    let body = json!({
        "model": "p/m", "seed": 7, "stop": "x",
        "messages": [{ "role": "system", "content": "s" }, { "role": "user", "content": "hi" }],
    });
    let reply = gateway.send(post(CHAT, &body.to_string())).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(reply.headers["content-type"], "application/json");
    let told = reply.json();
    assert_eq!(told["object"], "chat.completion");
    assert_eq!(told["choices"][0]["message"]["content"], "ahoy");
    assert_eq!(told["choices"][0]["finish_reason"], "stop");
    assert_eq!(told["usage"]["prompt_tokens"], 10);
    assert_eq!(told["usage"]["prompt_tokens_details"]["cached_tokens"], 6);
    let got = received.recv().await.unwrap();
    assert!(got.head.starts_with(MESSAGES_HEAD), "{}", got.head);
    assert!(
        got.head.contains("anthropic-version: 2023-06-01"),
        "{}",
        got.head
    );
    let expected = json!({
        "model": "m", "max_tokens": 8192, "system": [{ "type": "text", "text": "s" }],
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }],
        "stop_sequences": ["x"],
    });
    assert_eq!(sent(&got), expected);
    let record = gateway.record_of(CHAT).await;
    assert_eq!(record["api"], "openai_chat");
    assert_eq!(record["usage"]["input_tokens"], 10, "{record}");
    let id = record["id"].as_str().unwrap();
    let request = Request::get(format!("/api/requests/{id}")).body(Full::default());
    let said = gateway.send(request.unwrap()).await.text();
    assert!(said.contains("chat → messages; left out: seed"), "{said}");
}

/// A stream of chat in which the model thinks, speaks and calls a tool.
fn call_of_a_tool() -> String {
    let chunk = |delta: Value, reason: Value| {
        json!({
            "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }],
        })
    };
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 9, "completion_tokens": 5 } });
    let function = |arguments: &str| json!({ "name": "look", "arguments": arguments });
    let call = |call: Value| json!({ "tool_calls": [call] });
    let events = [
        chunk(
            json!({ "role": "assistant", "reasoning_content": "hm" }),
            Value::Null,
        ),
        chunk(json!({ "content": "I look" }), Value::Null),
        chunk(
            call(
                json!({ "index": 0, "id": "call_1", "type": "function", "function": function("") }),
            ),
            Value::Null,
        ),
        chunk(
            call(json!({ "index": 0, "function": { "arguments": "{\"at\":1}" } })),
            Value::Null,
        ),
        chunk(json!({}), json!("tool_calls")),
        usage,
    ];
    let mut text = String::new();
    for event in events {
        write!(text, "data: {event}\n\n").unwrap();
    }
    text.push_str("data: [DONE]\n\n");
    text
}

#[tokio::test]
async fn messages_go_to_a_provider_of_chat_and_come_back_as_a_stream() {
    let function = |arguments: &str| json!({ "name": "look", "arguments": arguments });
    let text = call_of_a_tool();
    let (gateway, mut received) = streaming("openai_chat", &text).await;
    let body = json!({
        "model": "m", "max_tokens": 9, "stream": true, "messages": [{ "role": "user", "content": "hi" }],
        "tools": [{ "name": "look", "input_schema": { "type": "object" } }],
    });
    let reply = gateway.send(post(MESSAGES, &body.to_string())).await;
    assert_eq!(reply.headers["content-type"], "text/event-stream");
    let data = data(&reply);
    let kinds: Vec<&str> = data
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let block = [
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    ];
    let thought = [
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
    ];
    let expected = [
        &["message_start"][..],
        &thought,
        &block,
        &block,
        &["message_delta", "message_stop"],
    ];
    assert_eq!(kinds, expected.concat());
    assert_eq!(data[data.len() - 2]["delta"]["stop_reason"], "tool_use");
    assert_eq!(data[data.len() - 2]["usage"]["input_tokens"], 9);
    let signature = data
        .iter()
        .find_map(|event| event["delta"]["signature"].as_str())
        .unwrap();
    assert!(signature.starts_with("iris.openai_chat."), "{signature}");
    let got = received.recv().await.unwrap();
    assert!(got.head.starts_with(CHAT_HEAD), "{}", got.head);
    assert_eq!(sent(&got)["stream_options"]["include_usage"], true);
    assert_eq!(sent(&got)["max_completion_tokens"], 9);
    let record = gateway.record_of(MESSAGES).await;
    assert_eq!(record["usage"]["output_tokens"], 5, "{record}");

    // The tool's result goes back, and the thought with it.
    let body = json!({
        "model": "m", "max_tokens": 9, "stream": true,
        "messages": [
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": signature },
                { "type": "text", "text": "I look" },
                { "type": "tool_use", "id": "call_1", "name": "look", "input": { "at": 1 } },
            ] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "call_1", "content": "sea" }] },
        ],
    });
    gateway.send(post(MESSAGES, &body.to_string())).await;
    let got = received.recv().await.unwrap();
    let call = json!({ "id": "call_1", "type": "function", "function": function("{\"at\":1}") });
    assert_eq!(
        sent(&got)["messages"],
        json!([
            { "role": "user", "content": "hi" },
            { "role": "assistant", "reasoning_content": "hm", "content": "I look", "tool_calls": [call] },
            { "role": "tool", "tool_call_id": "call_1", "content": "sea" },
        ])
    );
}

#[tokio::test]
async fn an_error_of_the_provider_is_told_in_the_callers_format() {
    let error =
        json!({ "error": { "message": "too many words", "type": "invalid_request_error" } });
    let (gateway, _received) = gateway(speaks("openai_chat"), "400 Bad Request", &error).await;
    let body =
        json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
    let reply = gateway.send(post(MESSAGES, &body.to_string())).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let expected = json!({
        "type": "error",
        "error": { "type": "invalid_request_error", "message": "too many words" },
    });
    assert_eq!(reply.json(), expected);
}

#[tokio::test]
async fn an_error_within_a_stream_is_told_in_the_callers_format() {
    let events = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"content\":[],\"usage\":{\"input_tokens\":1}}}\n\n\
        event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
    let (gateway, _received) = streaming("anthropic_messages", events).await;
    let body =
        json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let reply = gateway.send(post(CHAT, &body.to_string())).await;
    let text = reply.text();
    let last = text.trim_end().rsplit("data: ").next().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["error"]["message"], "busy", "{text}");
    let record = gateway.record_of(CHAT).await;
    assert_eq!(
        (&record["outcome"], &record["error"]),
        (&json!("upstream_error"), &json!("busy"))
    );
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_in_the_callers_format() {
    let events = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"content\":[],\"usage\":{\"input_tokens\":1}}}\n\n";
    let (gateway, _received) = streaming("anthropic_messages", events).await;
    let body =
        json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let reply = gateway.send(post(CHAT, &body.to_string())).await;
    assert!(reply.broken);
    assert!(
        reply
            .text()
            .contains("the provider's stream ended before its end"),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn what_the_other_format_lacks_is_refused_by_name() {
    let reply = message(&json!([]), "end_turn");
    let (gateway, mut received) = gateway(speaks("anthropic_messages"), "200 OK", &reply).await;
    for (field, value) in [
        ("logit_bias", json!({ "1": 2 })),
        ("logprobs", json!(true)),
        ("n", json!(2)),
        ("presence_penalty", json!(1)),
        ("temperature", json!(1.5)),
        ("web_search_options", json!({})),
    ] {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        body[field] = value;
        let reply = gateway.send(post(CHAT, &body.to_string())).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{field}");
        assert_eq!(reply.headers["x-iris-error"], "untranslatable");
        let told = reply.json()["error"]["message"].to_string();
        assert!(told.contains(&format!("`{field}")), "{told}");
    }
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn nothing_is_translated_where_the_configuration_forbids_it() {
    let reply = message(&json!([]), "end_turn");
    let mut provider = speaks("anthropic_messages");
    provider["provider"]["translate"] = false.into();
    let mut grant = speaks("anthropic_messages");
    grant["grants"] = json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
        { "role": "user" },
        { "models": "**", "translate": false },
    ] } }]);
    for config in [provider, grant] {
        let (gateway, _received) = gateway(config, "200 OK", &reply).await;
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        let reply = gateway.send(post(CHAT, &body.to_string())).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{}", reply.text());
        let told = reply.text();
        assert!(
            told.contains("available through anthropic_messages"),
            "{told}"
        );
    }
}
