//! Message batches that a provider of Anthropic's API runs itself.

use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::json;

use crate::Gateway;
use crate::batches::{ask, until};
use crate::message_batches::{messages, messages_ended, results};
use support::message_vendor::Vendor;

async fn start(vendor: Vendor) -> (Gateway, Arc<Mutex<Vendor>>) {
    let made = iris::base::clock::unix_ms() / 1_000;
    let made = jiff::Timestamp::from_second(made).unwrap().to_string();
    let (address, vendor) = Vendor { made, ..vendor }.start().await;
    let config = json!({
        "provider": { "compatibility": { "anthropic_messages": true, "anthropic_batches": true } },
        "prices": { "p/m": { "input": "1", "output": "10" } },
    });
    (Gateway::start(address, config).await, vendor)
}

#[tokio::test]
async fn a_message_batch_is_relayed_and_made_once() {
    let (gateway, vendor) = start(Vendor {
        answers: true,
        loses: true,
        ..Vendor::default()
    })
    .await;
    let made = messages(&gateway, &[("a", "m", "one"), ("b", "p/m", "bad")]).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let batch = messages_ended(&gateway, &id).await;
    let counts = json!({
        "processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 0,
    });
    assert_eq!(batch["request_counts"], counts);
    let all = results(&gateway, &batch).await;
    let find = |id: &str| all.iter().find(|one| one["custom_id"] == id).unwrap();
    assert_eq!(find("a")["result"]["message"]["content"][0]["text"], "one");
    let error = &find("b")["result"]["error"];
    assert_eq!(error["error"]["type"], "invalid_request_error");
    // A half of 3 and 20 thousandths of a cent.
    let record = gateway.record_where(|row| row["session"] == id.as_str() && row["cost"] == 11_500);
    record.await;
    assert_eq!(vendor.lock().unwrap().version, "2023-06-01");
    let asked = vendor.lock().unwrap().asked.clone();
    let count = |what: &str| asked.iter().filter(|one| *one == what).count();
    assert_eq!(count("POST /v1/messages/batches"), 1, "{asked:?}");
    assert_eq!(count("DELETE /v1/messages/batches/msgbatch_1"), 1);
    assert_eq!(count("POST /v1/messages"), 0);
}

#[tokio::test]
async fn anothers_batch_is_not_taken_for_one_whose_answer_was_lost() {
    let (gateway, vendor) = start(Vendor {
        answers: true,
        loses: true,
        has_anothers: true,
        ..Vendor::default()
    })
    .await;
    let made = messages(&gateway, &[("a", "m", "one")]).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let count = |what: &str| {
        let asked = vendor.lock().unwrap().asked.clone();
        asked.iter().filter(|one| *one == what).count()
    };
    until(async || (count("GET /v1/messages/batches") > 1).then_some(())).await;
    assert_eq!(count("GET /v1/messages/batches/msgbatch_1/results"), 1);
    let path = format!("/v1/messages/batches/{id}");
    let batch = ask(&gateway, Method::GET, &path).await.json();
    assert_eq!(batch["processing_status"], "in_progress", "{batch}");
    // While it isn't known whether one was made, none is made again, and what is another's stays as it is.
    ask(&gateway, Method::POST, &format!("{path}/cancel")).await;
    let lists = count("GET /v1/messages/batches");
    until(async || (count("GET /v1/messages/batches") > lists).then_some(())).await;
    assert_eq!(count("POST /v1/messages/batches"), 1);
    assert_eq!(count("DELETE /v1/messages/batches/msgbatch_1"), 0);
}

#[tokio::test]
async fn a_relayed_message_batch_is_cancelled() {
    let (gateway, vendor) = start(Vendor::default()).await;
    let made = messages(&gateway, &[("a", "m", "one"), ("b", "m", "two")]).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    until(async || vendor.lock().unwrap().requests.is_some().then_some(())).await;
    let path = format!("/v1/messages/batches/{id}/cancel");
    assert_eq!(ask(&gateway, Method::POST, &path).await.status, 200);
    let batch = messages_ended(&gateway, &id).await;
    assert_eq!(batch["request_counts"]["canceled"], 2, "{batch}");
    let all = results(&gateway, &batch).await;
    assert!(
        all.iter().all(|one| one["result"]["type"] == "canceled"),
        "{all:?}"
    );
}
