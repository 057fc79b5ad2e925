//! Azure's convention: deployments in the path, the version of the API in the query, and a key in
//! `api-key`; towards providers, and from its SDK.

use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::Reply;
use support::provider::{COMPLETION, Log, server};

/// A gateway whose provider `p` lists `m` and has these settings.
async fn gateway(provider: Value) -> (Gateway, Log) {
    let (address, log) = server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await;
    let mut settings = json!({ "apikey": "azure-key", "authorization": "api-key" });
    for (key, value) in provider.as_object().unwrap() {
        settings[key] = value.clone();
    }
    let gateway = Gateway::start(address, json!({ "provider": settings })).await;
    (gateway, log)
}

/// As Azure's SDK asks.
async fn ask(gateway: &Gateway, target: &str, body: &Value) -> Reply {
    let request = http::Request::post(target)
        .header("content-type", "application/json")
        .header("api-key", "the-callers-own")
        .body(Full::from(body.to_string()));
    gateway.send(request.unwrap()).await
}

#[tokio::test]
async fn a_provider_gets_deployments_a_version_and_its_key() {
    let flags = json!({ "openai_chat": true, "openai_responses": true });
    let azure = json!({ "api_version": "2024-10-21", "compatibility": flags });
    let (gateway, log) = gateway(azure).await;
    let body = json!({ "model": "m", "messages": [], "input": "x" });
    for (asked, sent) in [
        (
            "/v1/chat/completions",
            "/openai/deployments/m/chat/completions?api-version=2024-10-21",
        ),
        (
            "/v1/chat/completions?api-version=2023-05-15",
            "/openai/deployments/m/chat/completions?api-version=2024-10-21",
        ),
        (
            "/v1/embeddings",
            "/openai/deployments/m/embeddings?api-version=2024-10-21",
        ),
        ("/v1/responses", "/openai/responses?api-version=2024-10-21"),
    ] {
        let reply = ask(&gateway, asked, &body).await;
        assert_eq!(reply.status, 200, "{asked}: {}", reply.text());
        let received = log.lock().unwrap().pop().unwrap();
        assert_eq!(received.head.split(' ').nth(1), Some(sent), "{asked}");
        assert_eq!(received.header("api-key"), Some("azure-key"));
        assert_eq!(received.header("authorization"), None);
    }
}

#[tokio::test]
async fn the_deployment_of_azures_sdk_is_the_model() {
    let (gateway, log) = gateway(json!({})).await;
    let messages = json!([{ "role": "user", "content": "hello" }]);
    for (target, body) in [
        (
            "/openai/deployments/m/chat/completions",
            json!({ "model": "m", "messages": messages }),
        ),
        // The deployment counts, whatever the body calls it.
        (
            "/openai/deployments/m/chat/completions",
            json!({ "model": "gpt-4o", "messages": messages }),
        ),
        (
            "/openai/deployments/m/chat/completions",
            json!({ "messages": messages }),
        ),
        (
            "/openai/deployments/p/m/chat/completions",
            json!({ "model": "p/m", "messages": messages }),
        ),
        (
            "/openai/deployments/p%2Fm/completions",
            json!({ "prompt": "x" }),
        ),
        (
            "/openai/deployments/m/embeddings",
            json!({ "model": "m", "input": "x" }),
        ),
    ] {
        let target = format!("{target}?api-version=2024-10-21");
        let reply = ask(&gateway, &target, &body).await;
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        let received = log.lock().unwrap().pop().unwrap();
        let sent: Value = serde_json::from_slice(&received.body).unwrap();
        assert_eq!(sent["model"], "m", "{target} {sent}");
        assert_eq!(received.header("api-key"), Some("azure-key"));
        let row = gateway.record().await;
        assert_eq!(row["model"], "m", "{row}");
    }
}

#[tokio::test]
async fn a_deployment_needs_a_grant_like_any_model() {
    let (gateway, log) = gateway(json!({})).await;
    let target = "/openai/deployments/secret/chat/completions?api-version=2024-10-21";
    let reply = ask(&gateway, target, &json!({ "model": "m", "messages": [] })).await;
    assert_eq!(reply.status, 404, "{}", reply.text());
    assert!(log.lock().unwrap().is_empty());
}
