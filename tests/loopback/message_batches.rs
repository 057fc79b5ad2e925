//! Anthropic's message batches, which the gateway runs itself.

use http::Method;
use serde_json::{Value, json};

use crate::Gateway;
use crate::batches::{Provider, ask, get, until};
use support::http::{Reply, post};

/// A batch of Anthropic's, which is answered by a provider that speaks another format.
pub(crate) async fn messages(gateway: &Gateway, asked: &[(&str, &str, &str)]) -> Reply {
    let requests: Vec<_> = asked
        .iter()
        .map(|(id, model, text)| {
            let messages = json!([{ "role": "user", "content": text }]);
            let params = json!({ "model": model, "max_tokens": 9, "messages": messages });
            json!({ "custom_id": id, "params": params })
        })
        .collect();
    let body = json!({ "requests": requests }).to_string();
    gateway.send(post("/v1/messages/batches", &body)).await
}

pub(crate) async fn messages_ended(gateway: &Gateway, id: &str) -> Value {
    until(async || {
        let batch = get(gateway, &format!("/v1/messages/batches/{id}")).await;
        (batch["processing_status"] == "ended").then_some(batch)
    })
    .await
}

pub(crate) async fn results(gateway: &Gateway, batch: &Value) -> Vec<Value> {
    let url = batch["results_url"].as_str().unwrap();
    let origin = format!("http://{}", gateway.address);
    let reply = ask(gateway, Method::GET, url.strip_prefix(&origin).unwrap()).await;
    let text = reply.text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_message_batch_has_one_result_for_each_request() {
    let (address, _) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let made = messages(&gateway, &[("a", "m", "one"), ("b", "m", "bad")]).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let batch = messages_ended(&gateway, &id).await;
    let counts = json!({
        "processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 0,
    });
    assert_eq!(batch["request_counts"], counts);
    let all = results(&gateway, &batch).await;
    let types: Vec<_> = all.iter().map(|one| &one["result"]["type"]).collect();
    assert_eq!(types, ["succeeded", "errored"]);
    let message = &all[0]["result"]["message"];
    assert_eq!(message["content"][0]["text"], "re: one");
    assert_eq!(all[1]["result"]["error"]["type"], "error");
    // The lists of both APIs are apart, and so are their batches.
    let list = get(&gateway, "/v1/messages/batches").await;
    assert_eq!(list["data"][0]["id"], id.as_str());
    assert_eq!(get(&gateway, "/v1/batches").await["data"], json!([]));
    let other = ask(&gateway, Method::GET, &format!("/v1/batches/{id}")).await;
    assert_eq!(other.status, 404);
    assert_eq!(get(&gateway, "/v1/files").await["data"], json!([]));
    let path = format!("/v1/messages/batches/{id}");
    let deleted = ask(&gateway, Method::DELETE, &path).await;
    assert_eq!(deleted.json()["type"], "message_batch_deleted");
    assert_eq!(ask(&gateway, Method::GET, &path).await.status, 404);
}

#[tokio::test]
async fn a_cancelled_message_batch_says_which_requests_were_not_asked() {
    let (address, provider) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let asked = [("a", "m", "wait"), ("b", "m", "two"), ("c", "m", "three")];
    let made = messages(&gateway, &asked).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    provider.is_asked("wait").await;
    let path = format!("/v1/messages/batches/{id}/cancel");
    let cancelled = ask(&gateway, Method::POST, &path).await.json();
    assert_eq!(cancelled["processing_status"], "canceling");
    provider.gate.add_permits(1);
    let batch = messages_ended(&gateway, &id).await;
    assert_eq!(batch["request_counts"]["canceled"], 2, "{batch}");
    let all = results(&gateway, &batch).await;
    let types: Vec<_> = all.iter().map(|one| &one["result"]["type"]).collect();
    assert_eq!(types, ["succeeded", "canceled", "canceled"]);
    assert_eq!(provider.asked(), ["wait"]);
}

#[tokio::test]
async fn a_message_batch_with_a_request_that_may_not_be_asked_is_refused() {
    let (address, provider) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let refused = messages(&gateway, &[("a", "m", "one"), ("b", "secret", "two")]).await;
    assert_eq!(refused.status, 404);
    assert_eq!(refused.json()["error"]["type"], "not_found_error");
    let twice = messages(&gateway, &[("a", "m", "one"), ("a", "m", "two")]).await;
    assert_eq!(
        (twice.status.as_u16(), &twice.json()["type"]),
        (400, &json!("error"))
    );
    assert!(provider.asked().is_empty());
}
