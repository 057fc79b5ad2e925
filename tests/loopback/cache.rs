//! Responses that are given again to the same request.

use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::Reply;
use support::provider::{Log, server};

/// A gateway whose grants keep responses as `cache` says, and the requests that its provider gets. Each
/// response has its number.
async fn gateway(cache: Value, more: Value) -> (Gateway, Log) {
    let nth = std::sync::atomic::AtomicU32::new(0);
    let (address, log) = server("127.0.0.1:0", move |request| {
        let nth = nth.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        ("200 OK", answer(nth, &asked))
    })
    .await;
    let mut document = json!({
        "prices": { "m": { "input": "1250", "output": "1250" } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**" }, { "models": "p/m", "cache": cache }] } }],
    });
    for (key, value) in more.as_object().unwrap() {
        document[key] = value.clone();
    }
    (Gateway::start(address, document).await, log)
}

fn answer(nth: u32, asked: &Value) -> String {
    let mut message = json!({ "role": "assistant", "content": format!("number {nth}") });
    if !asked["tools"].is_null() {
        message["tool_calls"] = json!([{ "id": "1", "type": "function",
            "function": { "name": "f", "arguments": "{}" } }]);
    }
    let body = json!({
        "id": format!("c{nth}"), "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8 },
    });
    body.to_string()
}

fn asking(text: &str) -> Value {
    json!({ "model": "m", "messages": [{ "role": "user", "content": text }] })
}

async fn ask(gateway: &Gateway, body: &Value) -> Reply {
    gateway.chat(&body.to_string()).await
}

fn mark(reply: &Reply) -> Option<&str> {
    let mark = reply.headers.get("x-iris-cache")?;
    mark.to_str().ok()
}

/// Asks until the response is one that was kept: it is written beside the request.
async fn hit(gateway: &Gateway, body: &Value) -> Reply {
    for _ in 0..100 {
        let before = kept(gateway);
        let reply = ask(gateway, body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        if mark(&reply) == Some("hit") {
            return reply;
        }
        until_kept(gateway, before + 1).await;
    }
    panic!("nothing was kept for {body}");
}

/// Waits for so many responses, but not for ever: one may be kept in place of another.
async fn until_kept(gateway: &Gateway, count: usize) {
    for _ in 0..50 {
        if kept(gateway) >= count {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // It can be given once its file is named.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
}

fn kept(gateway: &Gateway) -> usize {
    let folder = gateway.config().with_file_name("state").join("cache");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test]
async fn the_same_request_is_answered_again_for_nothing() {
    let (gateway, log) = gateway(json!({ "for": "1h" }), json!({})).await;
    let first = ask(&gateway, &asking("hello")).await;
    assert_eq!(mark(&first), Some("miss"));
    until_kept(&gateway, 1).await;
    let again = hit(&gateway, &asking("hello")).await;
    assert!(again.headers.contains_key("age"));
    let asked = log.lock().unwrap().len();
    assert_eq!(asked, 1);
    assert!(again.text().contains("number 0"), "{}", again.text());
    // In another order, with blanks, and by its full name.
    let text = r#"{ "messages": [{ "content": "hello", "role": "user" }],  "model": "p/m" }"#;
    let reply = gateway.chat(text).await;
    assert_eq!((mark(&reply), reply.text()), (Some("hit"), again.text()));
    assert_eq!(log.lock().unwrap().len(), asked);
    let row = gateway
        .record_where(|row| row["reasons"].to_string().contains("was kept"))
        .await;
    assert_eq!(
        (&row["cost"], &row["provider"], &row["model"]),
        (&json!(0), &json!("p"), &json!("m"))
    );
    assert_eq!(row["usage"]["input_tokens"], Value::Null, "{row}");
    // Another question is another request.
    assert_eq!(mark(&ask(&gateway, &asking("hello!")).await), Some("miss"));
}

#[tokio::test]
async fn a_stream_is_made_of_what_was_kept_in_one_piece() {
    let (gateway, log) = gateway(json!({ "for": "1h" }), json!({})).await;
    hit(&gateway, &asking("hello")).await;
    let asked = log.lock().unwrap().len();
    let mut streamed = asking("hello");
    streamed["stream"] = true.into();
    let reply = ask(&gateway, &streamed).await;
    assert_eq!(
        (mark(&reply), log.lock().unwrap().len()),
        (Some("hit"), asked)
    );
    assert_eq!(reply.headers["content-type"], "text/event-stream");
    let text = reply.text();
    assert!(
        text.contains("data: {") && text.contains("number"),
        "{text}"
    );
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[tokio::test]
async fn tools_and_keys_that_only_the_provider_knows_are_asked_of_it() {
    let (gateway, log) = gateway(json!({ "for": "1h" }), json!({})).await;
    let mut tools = asking("hello");
    tools["tools"] = json!([{ "type": "function", "function": { "name": "f" } }]);
    let mut odd = asking("hello");
    odd["only_this_server_knows"] = true.into();
    for body in [&tools, &odd] {
        for _ in 0..3 {
            assert_eq!(mark(&ask(&gateway, body).await), None, "{body}");
        }
    }
    assert_eq!((log.lock().unwrap().len(), kept(&gateway)), (6, 0));
}

#[tokio::test]
async fn what_is_not_to_be_retained_is_not_kept() {
    let more = json!({ "database": { "retention": { "duration": "0" } } });
    let (gateway, _log) = gateway(json!({ "for": "1h" }), more).await;
    for _ in 0..3 {
        assert_eq!(mark(&ask(&gateway, &asking("hello")).await), None);
    }
    assert_eq!(kept(&gateway), 0);
    let (gateway, _log) =
        self::gateway(json!({ "for": "1h" }), json!({ "limits": { "cache": 0 } })).await;
    assert_eq!(mark(&ask(&gateway, &asking("hello")).await), None);
}

/// The file of a response is named by the time at which it goes.
#[tokio::test]
async fn a_response_is_kept_no_longer_than_captures() {
    let more = json!({ "database": { "retention": { "duration": "1h" } } });
    let (gateway, _log) = gateway(json!({ "for": "24h" }), more).await;
    hit(&gateway, &asking("hello")).await;
    let folder = gateway.config().with_file_name("state").join("cache");
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    let name = file.file_name().into_string().unwrap();
    let until: u128 = name.rsplit_once('-').unwrap().1.parse().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    assert!(until <= now.as_millis() + 3_600_000, "{name}");
}

#[tokio::test]
async fn headers_that_pass_make_another_request() {
    let provider = json!({ "pass_headers": ["x-tenant"] });
    let (gateway, _log) = gateway(json!({ "for": "1h" }), json!({ "provider": provider })).await;
    hit(&gateway, &asking("hello")).await;
    let with = |name: &'static str, value: &'static str| {
        let request = http::Request::post("/v1/chat/completions")
            .header("content-type", "application/json")
            .header(name, value)
            .body(Full::from(asking("hello").to_string()));
        gateway.send(request.unwrap())
    };
    assert_eq!(mark(&with("user-agent", "another").await), Some("hit"));
    assert_eq!(mark(&with("x-tenant", "blue").await), Some("miss"));
}

/// What a budget can't pay for is still given again.
#[tokio::test]
async fn a_hit_takes_nothing_of_a_budget() {
    let grants = json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
        { "role": "admin" },
        { "models": "**", "cache": { "for": "1h" }, "quotas": [{ "bucket": "b" }] }] } }]);
    let more = json!({ "quotas": { "b": { "capacity": "2 requests" } }, "grants": grants });
    let (gateway, _log) = gateway(json!({ "for": "1h" }), more).await;
    assert_eq!(ask(&gateway, &asking("one")).await.status, 200);
    assert_eq!(ask(&gateway, &asking("two")).await.status, 200);
    assert_eq!(ask(&gateway, &asking("three")).await.status, 429);
    for _ in 0..3 {
        assert_eq!(mark(&hit(&gateway, &asking("one")).await), Some("hit"));
    }
}

/// What an application asks for one person isn't given to another one, or to itself.
#[tokio::test]
async fn a_person_who_is_spoken_for_has_their_own_responses() {
    let object = |object: Value| json!({ "tailscale.com/cap/aperture": object });
    let models = json!({ "models": "**", "cache": { "for": "1h" } });
    let grants = json!([
        { "src": ["(loopback)"], "app": object(json!([{ "role": "admin" }, models,
            { "may_speak_for": ["*@example.com"] }])) },
        { "src": ["alice@example.com", "carol@example.com"],
            "app": object(json!([{ "role": "user" }, models])) },
    ]);
    let (gateway, _log) = gateway(json!({}), json!({ "grants": grants })).await;
    let asked = async |person: &str| {
        let request = http::Request::post("/v1/chat/completions")
            .header("content-type", "application/json")
            .header("x-iris-user", person)
            .body(Full::from(asking("hello").to_string()));
        let reply = gateway.send(request.unwrap()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply
    };
    assert_eq!(mark(&asked("alice@example.com").await), Some("miss"));
    let mut tries = 0;
    while mark(&asked("alice@example.com").await) != Some("hit") {
        tries += 1;
        assert!(tries < 100, "nothing was kept");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(mark(&asked("carol@example.com").await), Some("miss"));
    assert_eq!(mark(&ask(&gateway, &asking("hello")).await), Some("miss"));
}
