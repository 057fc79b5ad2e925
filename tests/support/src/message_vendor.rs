//! A vendor with message batches of its own, as Anthropic has them, and what can go wrong with it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::provider::{Received, server};

/// A vendor with message batches.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something that a test has the vendor do"
)]
pub struct Vendor {
    /// The requests of the batch that was made.
    pub requests: Option<Vec<Value>>,
    pub is_cancelled: bool,
    /// Whether it answers; else the batch runs.
    pub answers: bool,
    /// Whether the answer to the request that makes the batch is lost.
    pub loses: bool,
    /// Whether that request makes no batch, and the account has one of another's with as many lines.
    pub has_anothers: bool,
    /// Method and path of each request.
    pub asked: Vec<String>,
    /// When it has made its batch, as RFC 3339 has it.
    pub made: String,
    /// The version of the API that all requests for batches have had.
    pub version: String,
}

impl Vendor {
    pub async fn start(self) -> (SocketAddr, Arc<Mutex<Self>>) {
        let vendor = Arc::new(Mutex::new(self));
        let answers = Arc::clone(&vendor);
        let answer = move |request: &Received| answers.lock().unwrap().answer(request);
        let (address, _) = server("127.0.0.1:0", answer).await;
        (address, vendor)
    }

    fn answer(&mut self, request: &Received) -> (&'static str, String) {
        let target = request.target();
        self.asked.push(target.clone());
        if target == "POST /v1/messages" {
            return ("200 OK", message("live").to_string());
        }
        let version = request.header("anthropic-version").unwrap_or_default();
        assert!(
            self.version.is_empty() || version == self.version,
            "{version}"
        );
        version.clone_into(&mut self.version);
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
        json!({
            "id": "msgbatch_1", "type": "message_batch", "created_at": self.made,
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
