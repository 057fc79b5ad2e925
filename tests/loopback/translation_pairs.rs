//! Each of the formats that are translated into each other, as the caller's and as the provider's.

use bytes::Bytes;
use http::StatusCode;
use iris::wire::event_stream::{Decoder, encode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::Gateway;
use support::http::{Reply, post};
use support::provider::{read_request, write};

/// A format as it is spoken at the wire.
struct Spoken {
    flag: &'static str,
    /// What the record calls it.
    short: &'static str,
    /// The path to which a request goes, streamed or not.
    path: fn(bool) -> &'static str,
    ask: fn(bool) -> Value,
    /// A response of "ahoy, sailor" for 10 tokens of input and 2 of output.
    answer: fn() -> Value,
    stream: fn() -> Vec<Bytes>,
    /// The text in a response.
    text: fn(&Value) -> Option<&str>,
    /// The text in an event of a stream.
    delta: fn(&Value) -> Option<&str>,
}

const ALL: [Spoken; 6] = [
    Spoken {
        flag: "openai_chat",
        short: "chat",
        path: |_| "/v1/chat/completions",
        ask: |stream| json!({ "model": "m", "stream": stream, "messages": [{ "role": "user", "content": "hi" }] }),
        answer: || {
            json!({
                "id": "c", "object": "chat.completion", "created": 1, "model": "x",
                "choices": [{ "index": 0, "message": { "role": "assistant", "content": "ahoy, sailor" }, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12 },
            })
        },
        stream: || {
            let chunk = |delta: Value, reason: Value| {
                data(&json!({
                    "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "x",
                    "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }],
                }))
            };
            let usage = json!({ "prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12 });
            vec![
                chunk(
                    json!({ "role": "assistant", "content": "ahoy" }),
                    Value::Null,
                ),
                chunk(json!({ "content": ", sailor" }), Value::Null),
                chunk(json!({}), json!("stop")),
                data(&json!({ "choices": [], "usage": usage })),
                Bytes::from_static(b"data: [DONE]\n\n"),
            ]
        },
        text: |body| body["choices"][0]["message"]["content"].as_str(),
        delta: |event| event["choices"][0]["delta"]["content"].as_str(),
    },
    Spoken {
        flag: "openai_responses",
        short: "responses",
        path: |_| "/v1/responses",
        ask: |stream| json!({ "model": "m", "stream": stream, "store": false, "input": "hi" }),
        answer: response,
        stream: || {
            let item = |text: &str| json!({ "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text });
            let created =
                json!({ "response": { "id": "resp_1", "status": "in_progress", "output": [] } });
            let message = json!({ "output_index": 0, "item": { "type": "message", "id": "msg_1", "role": "assistant", "content": [] } });
            vec![
                named("response.created", created),
                named("response.output_item.added", message),
                named("response.output_text.delta", item("ahoy")),
                named("response.output_text.delta", item(", sailor")),
                named("response.completed", json!({ "response": response() })),
            ]
        },
        text: |body| body["output"][0]["content"][0]["text"].as_str(),
        delta: |event| {
            let is_text = event["type"] == "response.output_text.delta";
            event["delta"].as_str().filter(|_| is_text)
        },
    },
    Spoken {
        flag: "anthropic_messages",
        short: "messages",
        path: |_| "/v1/messages",
        ask: |stream| json!({ "model": "m", "max_tokens": 50, "stream": stream, "messages": [{ "role": "user", "content": "hi" }] }),
        answer: || {
            json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "x",
                "content": [{ "type": "text", "text": "ahoy, sailor" }],
                "stop_reason": "end_turn", "stop_sequence": null,
                "usage": { "input_tokens": 10, "output_tokens": 2 },
            })
        },
        stream: || {
            let delta =
                |text: &str| json!({ "index": 0, "delta": { "type": "text_delta", "text": text } });
            let begun = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "x", "content": [],
                "usage": { "input_tokens": 10, "output_tokens": 1 } });
            vec![
                named("message_start", json!({ "message": begun })),
                named(
                    "content_block_start",
                    json!({ "index": 0, "content_block": { "type": "text", "text": "" } }),
                ),
                named("content_block_delta", delta("ahoy")),
                named("content_block_delta", delta(", sailor")),
                named("content_block_stop", json!({ "index": 0 })),
                named(
                    "message_delta",
                    json!({ "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 2 } }),
                ),
                named("message_stop", json!({})),
            ]
        },
        text: |body| body["content"][0]["text"].as_str(),
        delta: |event| event["delta"]["text"].as_str(),
    },
    Spoken {
        flag: "gemini_generate_content",
        short: "generate_content",
        path: |stream| {
            if stream {
                "/v1beta/models/m:streamGenerateContent?alt=sse"
            } else {
                "/v1beta/models/m:generateContent"
            }
        },
        ask: |_| json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] }),
        answer: || candidate("ahoy, sailor", true),
        stream: || {
            vec![
                data(&candidate("ahoy", false)),
                data(&candidate(", sailor", true)),
            ]
        },
        text: |body| body["candidates"][0]["content"]["parts"][0]["text"].as_str(),
        delta: |event| event["candidates"][0]["content"]["parts"][0]["text"].as_str(),
    },
    Spoken {
        flag: "bedrock_converse",
        short: "converse",
        path: |stream| {
            if stream {
                "/bedrock/model/m/converse-stream"
            } else {
                "/bedrock/model/m/converse"
            }
        },
        ask: |_| json!({ "messages": [{ "role": "user", "content": [{ "text": "hi" }] }] }),
        answer: || {
            json!({
                "output": { "message": { "role": "assistant", "content": [{ "text": "ahoy, sailor" }] } },
                "stopReason": "end_turn", "metrics": { "latencyMs": 5 }, "usage": amazon_usage(),
            })
        },
        stream: || {
            let delta = |text: &str| json!({ "contentBlockIndex": 0, "delta": { "text": text } });
            vec![
                message("messageStart", &json!({ "role": "assistant" })),
                message("contentBlockDelta", &delta("ahoy")),
                message("contentBlockDelta", &delta(", sailor")),
                message("contentBlockStop", &json!({ "contentBlockIndex": 0 })),
                message("messageStop", &json!({ "stopReason": "end_turn" })),
                message(
                    "metadata",
                    &json!({ "usage": amazon_usage(), "metrics": { "latencyMs": 5 } }),
                ),
            ]
        },
        text: |body| body["output"]["message"]["content"][0]["text"].as_str(),
        delta: |event| event["delta"]["text"].as_str(),
    },
    Spoken {
        flag: "ollama",
        short: "ollama",
        path: |_| "/api/chat",
        ask: |stream| json!({ "model": "m", "stream": stream, "messages": [{ "role": "user", "content": "hi" }] }),
        answer: || line("ahoy, sailor", true),
        stream: || {
            let lines = [line("ahoy", false), line(", sailor", false), line("", true)];
            let lines = lines.iter().map(|line| format!("{line}\n").into());
            lines.collect()
        },
        text: |body| body["message"]["content"].as_str(),
        delta: |event| event["message"]["content"].as_str(),
    },
];

fn line(text: &str, is_last: bool) -> Value {
    let message = json!({ "role": "assistant", "content": text });
    let mut line = json!({ "model": "m", "created_at": "2025-10-17T23:14:07Z", "message": message, "done": is_last });
    if is_last {
        line["done_reason"] = "stop".into();
        line["prompt_eval_count"] = 10.into();
        line["eval_count"] = 2.into();
    }
    line
}

fn data(event: &Value) -> Bytes {
    format!("data: {event}\n\n").into()
}

/// An event whose type stands in its data too.
fn named(kind: &str, mut event: Value) -> Bytes {
    event["type"] = kind.into();
    format!("event: {kind}\ndata: {event}\n\n").into()
}

fn message(name: &'static str, payload: &Value) -> Bytes {
    let headers = [(":message-type", "event"), (":event-type", name)];
    encode(&headers, payload.to_string())
}

fn response() -> Value {
    let text = json!({ "type": "output_text", "text": "ahoy, sailor", "annotations": [] });
    json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "x",
        "output": [{ "type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text] }],
        "usage": { "input_tokens": 10, "output_tokens": 2, "total_tokens": 12 },
    })
}

fn candidate(text: &str, is_last: bool) -> Value {
    let content = json!({ "role": "model", "parts": [{ "text": text }] });
    let mut body =
        json!({ "candidates": [{ "index": 0, "content": content }], "modelVersion": "x" });
    if is_last {
        body["candidates"][0]["finishReason"] = "STOP".into();
        body["usageMetadata"] =
            json!({ "promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 12 });
    }
    body
}

fn amazon_usage() -> Value {
    json!({ "inputTokens": 10, "outputTokens": 2, "totalTokens": 12 })
}

/// A provider that speaks one format, and a gateway in front of it.
async fn gateway(served: &'static Spoken, is_streamed: bool) -> Gateway {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if read_request(&mut stream).await.is_some() {
                answer(&mut stream, served, is_streamed).await;
            }
        }
    });
    let speaks = json!({ "provider": { "compatibility": { served.flag: true } } });
    Gateway::start(address, speaks).await
}

async fn answer(stream: &mut TcpStream, served: &Spoken, is_streamed: bool) {
    let kind = match served.flag {
        _ if !is_streamed => "application/json",
        "bedrock_converse" => "application/vnd.amazon.eventstream",
        "ollama" => "application/x-ndjson",
        _ => "text/event-stream",
    };
    let body = if is_streamed {
        (served.stream)()
    } else {
        vec![(served.answer)().to_string().into()]
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
    write(stream, &head).await;
    for part in body {
        let _ = stream.write_all(&part).await;
    }
}

/// The texts of a stream's events.
fn told(caller: &Spoken, reply: &Reply) -> String {
    let mut events: Vec<Value> = Vec::new();
    if caller.flag == "bedrock_converse" {
        Decoder::default().feed(&reply.body, |event| {
            events.extend(serde_json::from_slice(event.data));
        });
    } else {
        let text = reply.text();
        let lines = text.lines();
        let lines = lines.map(|line| line.strip_prefix("data: ").unwrap_or(line));
        events.extend(lines.filter_map(|line| serde_json::from_str(line).ok()));
    }
    events.iter().filter_map(caller.delta).collect()
}

#[tokio::test]
async fn every_caller_is_served_by_a_provider_of_every_other_format() {
    for served in &ALL {
        for is_streamed in [false, true] {
            let gateway = gateway(served, is_streamed).await;
            for caller in ALL.iter().filter(|caller| caller.flag != served.flag) {
                let pair = format!(
                    "{} → {}, streamed: {is_streamed}",
                    caller.short, served.short
                );
                let path = (caller.path)(is_streamed);
                let body = (caller.ask)(is_streamed).to_string();
                let reply = gateway.send(post(path, &body)).await;
                assert_eq!(reply.status, StatusCode::OK, "{pair}: {}", reply.text());
                let said = if is_streamed {
                    told(caller, &reply)
                } else {
                    (caller.text)(&reply.json()).unwrap_or_default().to_owned()
                };
                assert_eq!(said, "ahoy, sailor", "{pair}: {}", reply.text());
                let path = path.split('?').next().unwrap_or_default();
                let record = gateway.record_of(path).await;
                assert_eq!(record["api"], caller.flag, "{pair}");
                let usage = &record["usage"];
                assert_eq!(
                    (&usage["input_tokens"], &usage["output_tokens"]),
                    (&json!(10), &json!(2)),
                    "{pair}"
                );
            }
        }
    }
}
