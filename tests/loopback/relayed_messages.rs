//! Message batches that a provider of Anthropic's API runs itself.

use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::{Value, json};

use crate::Gateway;
use crate::batches::{ask, until};
use crate::message_batches::{messages, messages_ended, results};
use support::provider::{Received, server};

/// A vendor with message batches.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something that a test has the vendor do"
)]
struct Vendor {
    /// The requests of the batch that was made.
    requests: Option<Vec<Value>>,
    is_cancelled: bool,
    /// Whether it answers; else the batch runs.
    answers: bool,
    /// Whether the answer to the request that makes the batch is lost.
    loses: bool,
    /// Whether that request makes no batch, and the account has one of another's with as many lines.
    has_anothers: bool,
    asked: Vec<String>,
}

impl Vendor {
    fn answer(&mut self, request: &Received) -> (&'static str, String) {
        let target = request.target();
        self.asked.push(target.clone());
        if target == "POST /v1/messages" {
            return ("200 OK", message("live").to_string());
        }
        assert_eq!(request.header("anthropic-version"), Some("2023-06-01"));
        let answer = match target.split_at(target.find("/v1").unwrap()) {
            ("POST ", "/v1/messages/batches") => {
                let made: Value = serde_json::from_slice(&request.body).unwrap();
                self.requests = made["requests"].as_array().cloned();
                if std::mem::take(&mut self.loses) {
                    return ("502 Bad Gateway", "{}".to_owned());
                }
                self.batch()
            }
            ("GET ", "/v1/messages/batches") => {
                let made = self.requests.iter().map(|_| self.batch());
                json!({ "data": made.collect::<Vec<_>>(), "has_more": false })
            }
            ("GET ", "/v1/messages/batches/msgbatch_1") => self.batch(),
            ("POST ", "/v1/messages/batches/msgbatch_1/cancel") => {
                self.is_cancelled = true;
                self.batch()
            }
            ("GET ", "/v1/messages/batches/msgbatch_1/results") => {
                return ("200 OK", self.results());
            }
            ("DELETE ", "/v1/messages/batches/msgbatch_1") => json!({ "id": "msgbatch_1" }),
            _ => return ("404 Not Found", "{}".to_owned()),
        };
        ("200 OK", answer.to_string())
    }

    fn batch(&self) -> Value {
        let ended = self.answers || self.is_cancelled;
        let cancelled = self.is_cancelled.then_some("2026-01-01T00:00:00Z");
        let count = self.requests.as_ref().map_or(0, Vec::len);
        let made = iris::base::clock::unix_ms() / 1_000;
        let made = jiff::Timestamp::from_second(made).unwrap().to_string();
        json!({
            "id": "msgbatch_1", "type": "message_batch", "created_at": made,
            "processing_status": if ended { "ended" } else { "in_progress" },
            "cancel_initiated_at": cancelled,
            "request_counts": { "processing": count, "succeeded": 0, "expired": 0 },
        })
    }

    fn results(&self) -> String {
        let requests = self.requests.iter().flatten();
        let lines = requests.map(|request| {
            if self.has_anothers {
                let result = json!({ "type": "succeeded", "message": message("theirs") });
                return json!({ "custom_id": "theirs", "result": result }).to_string();
            }
            assert_eq!(request["params"]["model"], "m");
            let text = request["params"]["messages"][0]["content"]
                .as_str()
                .unwrap();
            let error = json!({ "type": "invalid_request_error", "message": "no" });
            let result = match text {
                _ if self.is_cancelled => json!({ "type": "canceled" }),
                "bad" => {
                    let error = json!({ "type": "error", "error": error });
                    json!({ "type": "errored", "error": error })
                }
                text => json!({ "type": "succeeded", "message": message(text) }),
            };
            json!({ "custom_id": request["custom_id"], "result": result }).to_string()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn message(text: &str) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn",
        "usage": { "input_tokens": 3, "output_tokens": 2 },
    })
}

async fn start(vendor: Vendor) -> (Gateway, Arc<Mutex<Vendor>>) {
    let vendor = Arc::new(Mutex::new(vendor));
    let answers = Arc::clone(&vendor);
    let answer = move |request: &Received| answers.lock().unwrap().answer(request);
    let (address, _) = server("127.0.0.1:0", answer).await;
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
