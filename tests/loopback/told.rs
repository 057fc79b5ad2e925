//! What hooks get after a request: everything, once, and later if they fail.

use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::Gateway;
use crate::guardrails::{ALLOWS, drain, gateway, hook, model, told};
use crate::hooks::{ASK, body, document, gone, well};
use support::provider::{STREAM, answer, provider, write};

const TOOLS: &str = r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","tool_calls":[{"id":"t","type":"function","function":{"name":"bash","arguments":"{\"cmd\":\"ls\"}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":9,"completion_tokens":4}}"#;

#[tokio::test]
async fn who_is_told_afterwards_is_told_all_of_it_once() {
    let (hook, mut told) = provider(|mut stream| {
        async move { answer(&mut stream, "204 No Content", "", "").await }.boxed()
    })
    .await;
    let (upstream, _kept) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", TOOLS).await }.boxed()
    })
    .await;
    let send = json!([
        "tools",
        "request_body",
        "response_body",
        "raw_responses",
        "estimated_cost"
    ]);
    let mut document = document(&[("log", hook, json!({}))], "entire_request", &send);
    document["prices"] = json!({ "m": { "input": "1", "output": "1" } });
    // A second grant for the same hook: once, with both events.
    document["grants"].as_array_mut().unwrap().push(json!({ "src": ["(loopback)"], "app": {
        "tailscale.com/cap/aperture": [{ "send_hooks": [{ "name": "log", "events": ["entire_request", "tool_call_entire_request"] }] }] } }));
    let gateway = Gateway::start(upstream, document).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    for _ in 0..2 {
        let told = tokio::time::timeout(Duration::from_secs(10), told.recv()).await;
        let told = body(&told.unwrap().unwrap());
        assert_eq!(
            told["tool_calls"],
            json!([{ "name": "bash", "params": { "cmd": "ls" } }])
        );
        assert_eq!(told["response_body"]["id"], "c");
        assert_eq!(told["raw_responses"][0]["id"], "c");
        assert_eq!(told["request_body"]["model"], "m");
        let cost = &told["metadata"]["estimated_cost"];
        assert_eq!(
            cost["usage"],
            json!({ "input_tokens": 9, "output_tokens": 4 })
        );
        assert_eq!(cost["dollars"], 0.000_013);
    }
    // None must come.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(told.try_recv().is_err(), "told more than once");
}

#[tokio::test]
async fn of_a_budget_that_runs_low_they_are_told_once() {
    let (hook, mut told) =
        provider(|mut stream| async move { answer(&mut stream, "200 OK", "", "{}").await }.boxed())
            .await;
    let (upstream, _kept) = well().await;
    let mut document = document(&[("log", hook, json!({}))], "quota_warning", &json!([]));
    document["quotas"] = json!({ "all": { "capacity": "10 requests", "warn_below": "80%" } });
    document["grants"][0]["app"]["tailscale.com/cap/aperture"][1]["quotas"] =
        json!([{ "bucket": "all" }]);
    let gateway = Gateway::start(upstream, document).await;
    for nth in 1..=5 {
        let reply = gateway.chat(ASK).await;
        assert_eq!(reply.status, 200);
        let warned = reply.headers.contains_key("x-iris-quota-warning");
        assert_eq!(warned, nth > 2, "request {nth}");
    }
    let first = tokio::time::timeout(Duration::from_secs(10), told.recv()).await;
    let first = body(&first.unwrap().unwrap());
    let warnings = &first["metadata"]["quota_warnings"];
    assert_eq!(warnings, &json!(["all: 7 requests left of 10 requests"]));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(told.try_recv().is_err(), "told more than once");
}

#[tokio::test]
async fn a_budget_that_runs_low_is_told_of_though_another_provider_answers() {
    let (hook, mut told) =
        provider(|mut stream| async move { answer(&mut stream, "200 OK", "", "{}").await }.boxed())
            .await;
    let (first, _kept) = provider(|mut stream| {
        async move { answer(&mut stream, "503 Service Unavailable", "", "{}").await }.boxed()
    })
    .await;
    let (second, _also) = well().await;
    let mut document = document(&[("log", hook, json!({}))], "quota_warning", &json!([]));
    document["provider"]["preference"] = 9.into();
    document["others"] = json!({ "q": { "baseurl": format!("http://{second}"), "models": ["m"] } });
    document["quotas"] = json!({ "all": { "capacity": "10 requests", "warn_below": "100%" } });
    let capabilities = &mut document["grants"][0]["app"]["tailscale.com/cap/aperture"];
    capabilities[1]["models"] = "*/m".into();
    capabilities[1]["quotas"] = json!([{ "bucket": "all" }]);
    let gateway = Gateway::start(first, document).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    let first = tokio::time::timeout(Duration::from_secs(10), told.recv()).await;
    let first = body(&first.unwrap().unwrap());
    assert_eq!(first["metadata"]["provider"], "q", "{first}");
    let warnings = &first["metadata"]["quota_warnings"];
    assert_eq!(warnings, &json!(["all: 9 requests left of 10 requests"]));
}

#[tokio::test]
async fn the_events_of_a_stream_are_told_as_they_came() {
    let (hook, mut told) =
        provider(|mut stream| async move { answer(&mut stream, "200 OK", "", "{}").await }.boxed())
            .await;
    let (upstream, _kept) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            write(&mut stream, "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n").await;
            write(&mut stream, "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n").await;
            write(&mut stream, "data: [DONE]\n\n").await;
        }
        .boxed()
    })
    .await;
    let send = json!(["raw_responses", "response_body"]);
    let gateway = Gateway::start(
        upstream,
        document(&[("log", hook, json!({}))], "entire_request", &send),
    )
    .await;
    let streamed = r#"{"model":"m","stream":true,"messages":[]}"#;
    assert_eq!(gateway.chat(streamed).await.status, 200);
    let told = tokio::time::timeout(Duration::from_secs(10), told.recv()).await;
    let told = body(&told.unwrap().unwrap());
    assert_eq!(told["raw_responses"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(
        told["response_body"]["choices"][0]["message"]["content"],
        "hi"
    );
}

#[tokio::test]
async fn what_could_not_be_told_is_told_later_and_slows_nobody() {
    let address = gone().await;
    let (upstream, _kept) = well().await;
    let document = document(&[("log", address, json!({}))], "entire_request", &json!([]));
    let mut gateway = Gateway::start(upstream, document).await;
    let began = std::time::Instant::now();
    for _ in 0..5 {
        assert_eq!(gateway.chat(ASK).await.status, 200);
    }
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    gateway.stop().await;
    // Both come back.
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let gateway = gateway.again().await;
    let mut ids = std::collections::BTreeSet::new();
    while ids.len() < 5 {
        let accepted = tokio::time::timeout(Duration::from_secs(30), listener.accept()).await;
        let (mut stream, _) = accepted.unwrap().unwrap();
        let received = support::provider::read_request(&mut stream).await.unwrap();
        ids.insert(body(&received)["metadata"]["request_id"].to_string());
        answer(&mut stream, "200 OK", "connection: close\r\n", "{}").await;
    }
    drop(gateway);
}

#[tokio::test]
async fn a_hook_is_told_everything_even_where_nothing_is_kept() {
    let (model, _asked) = provider(|mut stream| {
        async move {
            write(&mut stream, STREAM).await;
            for event in [
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"bash","arguments":"{\"cmd\":\"ls\"}"}}]}}]}"#,
                r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}"#,
                "[DONE]",
            ] {
                write(&mut stream, &format!("data: {event}\n\n")).await;
            }
        }
        .boxed()
    })
    .await;
    let (log, mut inbox) = provider(ALLOWS).await;
    let mut more = hook(log, &json!({}));
    more["limits"] = json!({ "capture": 0 });
    let objects = json!([{ "models": "**", "send_hooks": [{ "name": "h", "events": ["entire_request"],
        "send": ["response_body", "raw_responses", "tools"] }] }]);
    let gateway = gateway(model, objects, more).await;
    gateway
        .chat(r#"{"model":"m","stream":true,"messages":[]}"#)
        .await;
    let told = told(&mut inbox).await;
    assert_eq!(told["raw_responses"].as_array().unwrap().len(), 3, "{told}");
    let message = &told["response_body"]["choices"][0]["message"];
    assert_eq!(
        message["tool_calls"][0]["function"]["name"], "bash",
        "{told}"
    );
    // The capture is cut to its limit as well.
    let record = gateway.record_where(|row| row["status"] == 200).await;
    let path = format!("/api/requests/{}/capture", record["id"].as_str().unwrap());
    let kept = gateway
        .send(Request::get(path).body(Full::default()).unwrap())
        .await;
    assert!(!kept.text().contains("bash"), "{}", kept.text());
}

#[tokio::test]
async fn who_is_told_is_who_looks_after_the_provider_that_answered() {
    let (broken, _asked) = provider(|mut stream| {
        async move { answer(&mut stream, "503 Busy", "", "{}").await }.boxed()
    })
    .await;
    let (other, _others) = model().await;
    let (log, mut inbox) = provider(ALLOWS).await;
    let wired = |name| json!([{ "name": name, "events": ["entire_request"] }]);
    let objects = json!([
        { "models": "p/**", "send_hooks": wired("of-p") },
        { "models": "q/**", "send_hooks": wired("of-q") },
    ]);
    let more = json!({
        "hooks": { "of-p": { "url": format!("http://{log}/p") }, "of-q": { "url": format!("http://{log}/q") } },
        "others": { "q": { "baseurl": format!("http://{other}"), "models": ["m"] } },
    });
    let gateway = gateway(broken, objects, more).await;
    assert_eq!(gateway.chat(ASK).await.status, StatusCode::OK);
    let received = tokio::time::timeout(Duration::from_secs(10), inbox.recv()).await;
    let received = received.expect("a hook is told").unwrap();
    assert!(received.head.starts_with("POST /q "), "{}", received.head);
    // No other must come.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(drain(&mut inbox).len(), 0);
}
