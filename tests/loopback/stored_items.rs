//! Items and conversations that a provider keeps: a request can name only its caller's own.

use http::StatusCode;
use serde_json::{Value, json};

use crate::Gateway;
use crate::stored::{RESPONSES, USAGE};
use support::http::{Reply, post};
use support::provider::{Log, Received, STREAM, answer, read_request, server, write};
use tokio::net::TcpListener;

/// A provider that keeps each response, with two items whose ids end as the request's input does.
fn keeper(request: &Received) -> (&'static str, String) {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let name = body["input"].as_str().unwrap_or("later");
    let store = body["store"] != false;
    let reply = format!(
        r#"{{"id":"resp_{name}","object":"response","status":"completed","model":"m","store":{store},
            "output":[{{"type":"reasoning","id":"rs_{name}","summary":[]}},
            {{"type":"message","id":"msg_{name}","role":"assistant","content":[]}}],{USAGE}}}"#
    );
    ("200 OK", reply)
}

async fn gateway(more: &Value) -> (Gateway, Log) {
    let (address, log) = server("127.0.0.1:0", keeper).await;
    let mut provider = json!({ "compatibility": { "openai_responses": true } });
    for (key, value) in more.as_object().unwrap() {
        provider[key] = value.clone();
    }
    let more = json!({
        "provider": provider,
        "grants": [
            { "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
                { "role": "admin" }, { "models": "**" }, { "may_speak_for": ["*@x.org"] },
            ] } },
            { "src": ["ann@x.org", "bob@x.org"], "app": { "tailscale.com/cap/aperture": [
                { "role": "user" }, { "models": "**" },
            ] } },
        ],
    });
    (Gateway::start(address, more).await, log)
}

async fn ask(gateway: &Gateway, who: &str, body: &Value) -> Reply {
    let mut request = post(RESPONSES, &body.to_string());
    request
        .headers_mut()
        .insert("x-iris-user", who.parse().unwrap());
    gateway.send(request).await
}

fn reference(id: &str) -> Value {
    json!({ "type": "item_reference", "id": id })
}

/// A request that names an item.
fn naming(item: &Value) -> Value {
    json!({ "model": "m", "input": [{ "role": "user", "content": "hi" }, item] })
}

#[tokio::test]
async fn a_request_names_only_items_of_its_own_caller() {
    let (mut gateway, log) = gateway(&json!({})).await;
    let first = json!({ "model": "m", "input": "a" });
    assert_eq!(ask(&gateway, "ann@x.org", &first).await.status, 200);
    let reasoning = json!({ "type": "reasoning", "id": "rs_a", "summary": [] });
    // At once, and once the process has written down what it knows.
    for _ in 0..2 {
        for item in [
            reference("msg_a"),
            json!({ "id": "msg_a" }),
            reasoning.clone(),
        ] {
            let reply = ask(&gateway, "ann@x.org", &naming(&item)).await;
            assert_eq!(reply.status, 200, "{item}: {}", reply.text());
            let before = log.lock().unwrap().len();
            let reply = ask(&gateway, "bob@x.org", &naming(&item)).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{item}");
            let error = reply.json()["error"].clone();
            assert_eq!(
                (&error["code"], &error["param"]),
                (&json!("item_not_found"), &json!("input"))
            );
            assert_eq!(log.lock().unwrap().len(), before, "it isn't sent");
        }
        gateway.stop().await;
        gateway = gateway.again().await;
    }
    // What the gateway knows nothing of may be another's.
    let reply = ask(&gateway, "ann@x.org", &naming(&reference("msg_z"))).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    // What comes with the request itself needs no provider that keeps it.
    for item in [
        json!({ "type": "reasoning", "id": "rs_z", "summary": [{ "type": "summary_text", "text": "so" }] }),
        json!({ "type": "message", "id": "msg_a", "role": "assistant", "content": "hi" }),
    ] {
        let reply = ask(&gateway, "bob@x.org", &naming(&item)).await;
        assert_eq!(reply.status, 200, "{item}: {}", reply.text());
    }
}

#[tokio::test]
async fn items_of_responses_that_are_not_kept_can_not_be_named() {
    let (gateway, _log) = gateway(&json!({})).await;
    let lost = json!({ "model": "m", "input": "b", "store": false });
    assert_eq!(ask(&gateway, "ann@x.org", &lost).await.status, 200);
    let reply = ask(&gateway, "ann@x.org", &naming(&reference("msg_b"))).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND, "{}", reply.text());
}

/// A provider that streams a response with an item, and answers any other request with one in a piece.
async fn streaming() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(request) = read_request(&mut stream).await {
                let (status, whole) = keeper(&request);
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                if body["stream"] != true {
                    answer(&mut stream, status, "", &whole).await;
                    continue;
                }
                let whole = whole.replace('\n', "");
                let event = r#"data: {"type":"response.completed","response":"#;
                write(&mut stream, &format!("{STREAM}{event}{whole}}}\n\n")).await;
                break;
            }
        }
    });
    address
}

#[tokio::test]
async fn items_of_a_stream_are_known() {
    let more = json!({ "provider": { "compatibility": { "openai_responses": true } } });
    let gateway = Gateway::start(streaming().await, more).await;
    let first = json!({ "model": "m", "input": "c", "stream": true });
    let reply = gateway.send(post(RESPONSES, &first.to_string())).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    gateway
        .record_where(|record| record["outcome"] == "complete")
        .await;
    let second = naming(&reference("msg_c")).to_string();
    let reply = gateway.send(post(RESPONSES, &second)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn conversations_are_refused_unless_the_caller_has_an_account_of_their_own() {
    let body =
        |conversation: Value| json!({ "model": "m", "input": "d", "conversation": conversation });
    let passes = json!({ "auth_mode": "passthrough", "apikey": "shared" });
    let (gateway, log) = gateway(&passes).await;
    for named in [json!("conv_1"), json!({ "id": "conv_1" }), json!(7)] {
        let reply = gateway
            .send(post(RESPONSES, &body(named).to_string()))
            .await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        let error = reply.json()["error"].clone();
        assert_eq!(
            (&error["code"], &error["param"]),
            (&json!("conversation_not_found"), &json!("conversation"))
        );
    }
    assert!(log.lock().unwrap().is_empty());
    let reply = gateway
        .send(post(RESPONSES, &body(Value::Null).to_string()))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for own in [body(json!("conv_1")), naming(&reference("msg_of_mine"))] {
        let mut request = post(RESPONSES, &own.to_string());
        let credential = "Bearer sk-own".parse().unwrap();
        request.headers_mut().insert("authorization", credential);
        let reply = gateway.send(request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}
