//! What callers, captures and hooks get of translated responses: errors, ids, pings, counts of tokens.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use serde_json::{Value, json};

use crate::Gateway;
use crate::hooks::{self, ASK};
use crate::sdk_routes::get;
use crate::translation::{CHAT, MESSAGES, data, gateway, provider, speaks, streaming};
use support::http::post;
use support::provider::{Received, answer, server};

fn ask(stream: bool) -> String {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    json!({ "model": "m", "max_tokens": 9, "stream": stream, "messages": messages }).to_string()
}

/// Some servers report errors with a status of success, streamed or not.
#[tokio::test]
async fn an_error_with_a_status_of_success_has_its_own_in_the_callers_format() {
    for (body, status, kind) in [
        (
            json!({ "error": { "message": "slow down", "code": 429 } }),
            429,
            "rate_limit_error",
        ),
        (
            json!({ "error": { "message": "too long", "code": 400 } }),
            400,
            "invalid_request_error",
        ),
        (json!({ "error": "broken" }), 502, "api_error"),
        (json!({ "nothing": 1 }), 502, "api_error"),
    ] {
        for stream in [false, true] {
            let (gateway, _received) = gateway(speaks("openai_chat"), "200 OK", &body).await;
            let reply = gateway.send(post(MESSAGES, &ask(stream))).await;
            assert_eq!(reply.status, status, "{body}: {}", reply.text());
            assert!(!reply.broken, "{body}");
            assert_eq!(reply.headers["content-type"], "application/json");
            let told = reply.json();
            assert_eq!(told["type"], "error", "{told}");
            assert_eq!(told["error"]["type"], kind, "{told}");
            let record = gateway.record_of(MESSAGES).await;
            let expected = (&json!("upstream_error"), &json!(status));
            assert_eq!((&record["outcome"], &record["status"]), expected);
            assert_eq!(record["error"], told["error"]["message"], "{record}");
            let id = record["id"].as_str().unwrap();
            let capture = get(&gateway, &format!("/api/requests/{id}/capture"), &[]).await;
            let capture = capture.json();
            assert_eq!(capture["response"]["body"], reply.text(), "{capture}");
        }
    }
}

#[tokio::test]
async fn after_an_error_with_a_status_of_success_another_provider_is_asked() {
    let broken = |_: &Received| ("200 OK", r#"{"error":{"message":"broken"}}"#.to_owned());
    let well = |_: &Received| ("200 OK", support::provider::COMPLETION.to_owned());
    let (first, asked) = server("127.0.0.1:0", broken).await;
    let (second, _log) = server("127.0.0.1:0", well).await;
    let mut config = speaks("openai_chat");
    config["others"] = json!({ "q": { "baseurl": format!("http://{second}"), "models": ["m"] } });
    let gateway = Gateway::start(first, config).await;
    for _ in 0..20 {
        let reply = gateway.send(post(MESSAGES, &ask(false))).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        assert_eq!(reply.json()["type"], "message");
        if !asked.lock().unwrap().is_empty() {
            let is_it = |record: &Value| record["reasons"].to_string().contains("broken");
            let record = gateway.record_where(is_it).await;
            assert_eq!(record["outcome"], "complete", "{record}");
            return;
        }
    }
    panic!("the broken provider was never asked");
}

/// Long bodies are translated beside the threads that serve others.
#[tokio::test]
async fn a_long_request_and_a_long_response_are_whole() {
    let text = "ahoy, »sailor« ".repeat(40_000);
    let message = json!({ "role": "assistant", "content": &text });
    let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
    let answer = json!({ "id": "c", "choices": [choice], "usage": { "prompt_tokens": 7 } });
    let (gateway, mut received) = gateway(speaks("openai_chat"), "200 OK", &answer).await;
    let messages = json!([{ "role": "user", "content": &text }]);
    let body = json!({ "model": "m", "max_tokens": 9, "messages": messages }).to_string();
    let reply = gateway.send(post(MESSAGES, &body)).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.json()["content"][0]["text"] == text);
    let got: Value = serde_json::from_slice(&received.recv().await.unwrap().body).unwrap();
    assert!(got["messages"][0]["content"] == text);
    let record = gateway.record_of(MESSAGES).await;
    assert_eq!(record["usage"]["input_tokens"], 7, "{record}");
}

/// A provider's stream without any ids.
fn without_ids() -> String {
    let chunk = |delta: Value, reason: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        format!("data: {}\n\n", json!({ "choices": [choice] }))
    };
    let call = json!({ "index": 0, "function": { "name": "look", "arguments": "{}" } });
    [
        chunk(json!({ "content": "I look" }), Value::Null),
        ": waiting\n\n".to_owned(),
        chunk(json!({ "tool_calls": [call] }), json!("tool_calls")),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat()
}

fn ids(of: &Value, found: &mut HashSet<String>) {
    match of {
        Value::Object(object) => {
            for (key, value) in object {
                match value.as_str().filter(|_| key == "id" || key == "call_id") {
                    Some(id) => drop(found.insert(id.to_owned())),
                    None => ids(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|one| ids(one, found)),
        _ => {}
    }
}

#[tokio::test]
async fn a_capture_has_the_ids_that_the_caller_got() {
    let responses = json!({ "model": "m", "stream": true, "store": false, "input": "hi" });
    for (path, body) in [
        (MESSAGES, ask(true)),
        ("/v1/responses", responses.to_string()),
    ] {
        let (gateway, _received) = streaming("openai_chat", &without_ids()).await;
        let reply = gateway.send(post(path, &body)).await;
        let (mut got, mut kept) = (HashSet::new(), HashSet::new());
        let events = data(&reply);
        ids(&json!(events), &mut got);
        let record = gateway.record_of(path).await;
        let id = record["id"].as_str().unwrap();
        let capture = get(&gateway, &format!("/api/requests/{id}/capture"), &[]).await;
        let body = capture.json()["response"]["body"].clone();
        let body: Value = serde_json::from_str(body.as_str().unwrap()).unwrap();
        ids(&body, &mut kept);
        assert!(kept.len() >= 2, "{body}");
        assert_eq!(got, kept, "{path}: {}", reply.text());
        if path != MESSAGES {
            let created = &events[0]["response"]["created_at"];
            assert_eq!(&body["created_at"], created);
        }
    }
}

/// A comment of the provider keeps the caller's connection alive.
#[tokio::test]
async fn pings_pass_as_the_caller_knows_them() {
    let (gateway, _received) = streaming("openai_chat", &without_ids()).await;
    let reply = gateway.send(post(MESSAGES, &ask(true))).await;
    let text = reply.text();
    let ping = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
    assert_eq!(text.matches(ping).count(), 1, "{text}");

    let events = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"content\":[]}}\n\n\
        event: ping\ndata: {\"type\":\"ping\"}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let (gateway, _received) = streaming("anthropic_messages", events).await;
    let reply = gateway.send(post(CHAT, &ask(true))).await;
    assert_eq!(
        reply.text().matches(": ping\n\n").count(),
        1,
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn hooks_get_what_the_caller_got_streamed_or_not() {
    for stream in [false, true] {
        let (hook, mut told) = support::provider::provider(|mut stream| {
            async move { answer(&mut stream, "204 No Content", "", "").await }.boxed()
        })
        .await;
        let send = json!(["response_body", "raw_responses"]);
        let wired = [("log", hook, json!({}))];
        let mut document = hooks::document(&wired, "entire_request", &send);
        document["provider"]["compatibility"] = json!({ "openai_chat": true });
        let response = if stream {
            let events = without_ids();
            let events = events.split_inclusive("\n\n").map(str::to_owned);
            let head = support::provider::STREAM.to_owned();
            std::iter::once(head).chain(events).collect()
        } else {
            let body = support::provider::COMPLETION;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
            let length = body.len();
            vec![format!(
                "{head}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )]
        };
        let (address, _received) = provider(response).await;
        let gateway = Gateway::start(address, document).await;
        let reply = gateway.send(post(MESSAGES, &ask(stream))).await;
        assert_eq!(reply.status, StatusCode::OK, "{ASK}: {}", reply.text());
        let told = tokio::time::timeout(Duration::from_secs(10), told.recv()).await;
        let told = hooks::body(&told.unwrap().unwrap());
        assert_eq!(told["response_body"]["type"], "message", "{told}");
        let expected = if stream {
            data(&reply)
        } else {
            vec![reply.json()]
        };
        assert_eq!(told["raw_responses"], json!(expected), "{told}");
    }
}

/// A provider of each format that counts, and of one that doesn't.
fn counting(request: &Received) -> (&'static str, String) {
    let target = request.target();
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let (count, text) = if target == "POST /v1/messages/count_tokens" {
        (
            json!({ "input_tokens": 14 }),
            &body["messages"][0]["content"][0]["text"],
        )
    } else if target == "POST /v1/responses/input_tokens" {
        let count = json!({ "object": "response.input_tokens", "input_tokens": 14 });
        (count, &body["input"][0]["content"])
    } else if target == "POST /v1beta/models/m:countTokens" {
        let asked = &body["generateContentRequest"];
        assert_eq!(asked["model"], "models/m");
        (
            json!({ "totalTokens": 14 }),
            &asked["contents"][0]["parts"][0]["text"],
        )
    } else if target == "POST /model/m/count-tokens" {
        let messages = &body["input"]["converse"]["messages"];
        (
            json!({ "inputTokens": 14 }),
            &messages[0]["content"][0]["text"],
        )
    } else {
        return ("404 Not Found", format!("no {target}"));
    };
    assert_eq!(text, "hi", "{body}");
    ("200 OK", count.to_string())
}

#[tokio::test]
async fn a_count_of_tokens_is_that_of_the_provider_where_it_has_one() {
    let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] });
    let callers = [
        (
            "anthropic_messages",
            "/v1/messages/count_tokens",
            json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] }),
            "input_tokens",
        ),
        (
            "openai_responses",
            "/v1/responses/input_tokens",
            json!({ "model": "m", "input": "hi" }),
            "input_tokens",
        ),
        (
            "gemini_generate_content",
            "/v1beta/models/m:countTokens",
            gemini,
            "totalTokens",
        ),
    ];
    for served in [
        "anthropic_messages",
        "openai_responses",
        "gemini_generate_content",
        "bedrock_converse",
        "openai_chat",
    ] {
        let (address, _log) = server("127.0.0.1:0", counting).await;
        let gateway = Gateway::start(address, speaks(served)).await;
        for (caller, path, body, key) in &callers {
            if *caller == served {
                continue;
            }
            let reply = gateway.send(post(path, &body.to_string())).await;
            let pair = format!("{caller} → {served}: {}", reply.text());
            assert_eq!(reply.status, StatusCode::OK, "{pair}");
            let is_estimated = reply.headers.contains_key("x-iris-estimated");
            assert_eq!(is_estimated, served == "openai_chat", "{pair}");
            let count = reply.json()[key].as_u64();
            assert!(
                count.is_some_and(|count| is_estimated || count == 14),
                "{pair}"
            );
            let record = gateway.record_of(path).await;
            assert_eq!(record["cost"], 0, "{pair}");
            assert_eq!(record["outcome"], "complete", "{pair}: {record}");
        }
    }
}
