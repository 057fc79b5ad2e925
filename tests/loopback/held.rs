//! Conversations that providers keep: which provider gets the next turn.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::Gateway;
use support::http::post;
use support::provider::{Log, server};

const RESPONSES: &str = "/v1/responses";

/// Creates responses with ids of its own, and knows no others.
async fn maker(name: &'static str) -> (SocketAddr, Log) {
    let count = AtomicUsize::new(0);
    server("127.0.0.1:0", move |request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let previous = body["previous_response_id"].as_str();
        if previous.is_some_and(|id| !id.starts_with(&format!("resp_{name}"))) {
            let text = r#"{"error":{"code":"previous_response_not_found","message":"unknown"}}"#;
            return ("400 Bad Request", text.to_owned());
        }
        if body["input"] == format!("fail {name}") {
            return ("500 Internal Server Error", "{}".to_owned());
        }
        let nth = count.fetch_add(1, Ordering::Relaxed);
        let response = json!({ "id": format!("resp_{name}{nth}"), "object": "response",
            "status": "completed",
            "output": [{ "type": "reasoning", "id": format!("rs_{name}{nth}"), "summary": [],
                "encrypted_content": format!("secret-of-{name}/{nth}") }],
            "usage": { "input_tokens": 1, "output_tokens": 1, "total_tokens": 2 } });
        ("200 OK", response.to_string())
    })
    .await
}

async fn gateway(p: SocketAddr, q: SocketAddr, routing: Value) -> Gateway {
    let speaks = json!({ "openai_responses": true });
    let other =
        json!({ "baseurl": format!("http://{q}"), "models": ["m"], "compatibility": speaks });
    let more = json!({ "provider": { "compatibility": speaks }, "others": { "q": other },
        "routing": routing });
    Gateway::start(p, more).await
}

async fn ask(gateway: &Gateway, body: Value) -> (u16, Value) {
    let mut body = body;
    body["model"] = "m".into();
    let reply = gateway.send(post(RESPONSES, &body.to_string())).await;
    (reply.status.as_u16(), reply.json())
}

#[tokio::test]
async fn a_turn_goes_where_the_one_before_was_made() {
    for share in ["affinity", "round_robin"] {
        let (p, q) = (maker("p").await, maker("q").await);
        let gateway = gateway(p.0, q.0, json!({ "equal": share })).await;
        for talk in 0..10 {
            let (status, first) = ask(&gateway, json!({ "input": format!("talk {talk}") })).await;
            assert_eq!(status, 200);
            let next =
                json!({ "input": format!("more {talk}"), "previous_response_id": first["id"] });
            assert_eq!(ask(&gateway, next).await.0, 200, "{share}");
            let reasoning = &first["output"][0];
            let next =
                json!({ "input": [reasoning, { "role": "user", "content": format!("x {talk}") }] });
            let (_, third) = ask(&gateway, next).await;
            // Each provider numbers its own.
            let maker = |of: &Value| of["id"].as_str().unwrap()[..6].to_owned();
            assert_eq!(maker(&third), maker(&first), "{share}");
        }
        let asked = [p.1.lock().unwrap().len(), q.1.lock().unwrap().len()];
        assert!(asked[0] > 0 && asked[1] > 0, "{asked:?}");
    }
}

#[tokio::test]
async fn what_only_one_provider_knows_is_not_sent_to_another() {
    let (p, q) = (maker("p").await, maker("q").await);
    let routing = json!({ "equal": "first", "eject_after": 1, "eject_for": "60s" });
    let gateway = gateway(p.0, q.0, routing).await;
    let (_, first) = ask(&gateway, json!({ "input": "hi" })).await;
    assert_eq!(first["id"], "resp_p0");
    // It fails and is paused, and others take its requests.
    assert_eq!(ask(&gateway, json!({ "input": "fail p" })).await.0, 200);
    let (_, second) = ask(&gateway, json!({ "input": "hi" })).await;
    assert_eq!(second["id"].as_str().unwrap()[..6], *"resp_q");
    // Requests for what it has created still go to it alone.
    let next = json!({ "input": "more", "previous_response_id": "resp_p0" });
    let (status, third) = ask(&gateway, next).await;
    assert_eq!((status, &third["id"]), (200, &json!("resp_p1")));
    let before = q.1.lock().unwrap().len();
    let next = json!({ "input": "fail p", "previous_response_id": "resp_p0" });
    assert_eq!(ask(&gateway, next).await.0, 500);
    assert_eq!(q.1.lock().unwrap().len(), before);
    let row = gateway
        .record_where(|row| row["status"] == 500 && row["reasons"].to_string().contains("holds"))
        .await;
    assert_eq!(row["provider"], "p");
}

#[tokio::test]
async fn the_session_of_the_record_is_the_one_that_routing_keeps() {
    let (p, q) = (maker("p").await, maker("q").await);
    let gateway = gateway(p.0, q.0, json!({})).await;
    let mut makers = std::collections::BTreeSet::new();
    for session in 0..12 {
        let mut of_one = std::collections::BTreeSet::new();
        for turn in 0..3 {
            // Nothing in the body shows that they belong together.
            let body = json!({ "model": "m", "input": format!("{session} {turn}") });
            let mut request = post(RESPONSES, &body.to_string());
            let id = format!("conversation-{session}").parse().unwrap();
            request.headers_mut().insert("x-session-id", id);
            let made = gateway.send(request).await.json();
            of_one.insert(made["id"].as_str().unwrap()[..6].to_owned());
        }
        assert_eq!(of_one.len(), 1, "{of_one:?}");
        makers.extend(of_one);
    }
    assert_eq!(makers.len(), 2, "both are used");
}
