//! A vendor with files and batches of its own, as OpenAI has them, and what can go wrong with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::provider::{Received, server};

/// Its model.
const MODEL: &str = "m";

/// What a vendor does with a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// It answers all lines.
    Completes,
    /// It runs for as long as the test wants.
    Waits,
    /// It makes the batch, and answers 500.
    LosesAnswer,
    /// It is asked too much, once.
    IsBusy,
    /// It fails the batch before it runs a line.
    Fails,
    /// It forgets the batch.
    Forgets,
    /// Its results are no results.
    Babbles,
    /// It answers only the first line, and says that the time is over.
    Expires,
    /// It takes no files.
    Refuses,
    /// Its results are long.
    Chatters,
}

pub struct State {
    pub does: Does,
    pub files: BTreeMap<String, String>,
    pub batches: BTreeMap<String, Value>,
    /// Method and path of each request.
    pub asked: Vec<String>,
    /// How many requests fail before one succeeds.
    pub failures: usize,
}

/// A vendor with files and batches of its own.
#[derive(Clone)]
pub struct Vendor(pub Arc<Mutex<State>>);

impl Vendor {
    pub async fn start(does: Does) -> (std::net::SocketAddr, Self) {
        let vendor = Self(Arc::new(Mutex::new(State {
            does,
            files: BTreeMap::new(),
            batches: BTreeMap::new(),
            asked: Vec::new(),
            failures: 0,
        })));
        let answers = vendor.clone();
        let answer = move |request: &Received| answers.0.lock().unwrap().answer(request);
        let (address, _) = server("127.0.0.1:0", answer).await;
        (address, vendor)
    }

    pub fn asked(&self, what: &str) -> usize {
        let state = self.0.lock().unwrap();
        state
            .asked
            .iter()
            .filter(|one| one.starts_with(what))
            .count()
    }

    pub fn set(&self, does: Does) {
        self.0.lock().unwrap().does = does;
    }

    /// Waits until it was asked something.
    pub async fn has(&self, what: &str) {
        for _ in 0..1_000 {
            if self.asked(what) > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{what} did not come");
    }
}

impl State {
    fn answer(&mut self, request: &Received) -> (&'static str, String) {
        let target = request.target();
        self.asked.push(target.clone());
        if self.failures > 0 {
            self.failures -= 1;
            return ("500 Internal Server Error", "{}".to_owned());
        }
        let (method, path) = target.split_once(' ').unwrap();
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let answer = match (method, &segments[1..]) {
            ("POST", ["chat", "completions"]) => chat("0"),
            ("POST", ["files"]) if self.does == Does::Refuses => {
                return ("403 Forbidden", "{}".to_owned());
            }
            ("POST", ["files"]) => {
                let text = String::from_utf8_lossy(&request.body);
                let lines = text.lines().filter(|line| line.starts_with('{'));
                let content = lines.collect::<Vec<_>>().join("\n");
                self.file(content)
            }
            ("POST", ["batches"]) if self.does == Does::IsBusy => {
                self.does = Does::Completes;
                return ("429 Too Many Requests", "{}".to_owned());
            }
            ("POST", ["batches"]) => {
                let made: Value = serde_json::from_slice(&request.body).unwrap();
                assert_eq!(made["completion_window"], "24h");
                let id = format!("batch_{}", self.batches.len());
                let batch = json!({
                    "id": id, "object": "batch", "status": "in_progress",
                    "input_file_id": made["input_file_id"], "metadata": made["metadata"],
                });
                self.batches.insert(id, batch.clone());
                if self.does == Does::LosesAnswer {
                    self.does = Does::Completes;
                    return ("500 Internal Server Error", "{}".to_owned());
                }
                batch
            }
            ("GET", ["batches"]) => {
                let all: Vec<_> = self.batches.values().cloned().collect();
                json!({ "object": "list", "data": all })
            }
            ("GET", ["batches", id]) => match self.looked_at(id) {
                Some(batch) => batch,
                None => return ("404 Not Found", "{}".to_owned()),
            },
            ("POST", ["batches", id, "cancel"]) => {
                let batch = self.batches.get_mut(*id).unwrap();
                batch["status"] = "cancelled".into();
                batch.clone()
            }
            ("GET", ["files", id, "content"]) => return ("200 OK", self.files[*id].clone()),
            ("DELETE", ["files", id]) => {
                self.files.remove(*id);
                json!({ "deleted": true })
            }
            _ => return ("404 Not Found", "{}".to_owned()),
        };
        ("200 OK", answer.to_string())
    }

    fn file(&mut self, content: String) -> Value {
        let id = format!("file-{}", self.files.len());
        self.files.insert(id.clone(), content);
        json!({ "id": id, "object": "file", "purpose": "batch" })
    }

    fn looked_at(&mut self, id: &str) -> Option<Value> {
        let batch = self.batches.get(id)?.clone();
        if self.does == Does::Forgets {
            return None;
        }
        if self.does == Does::Waits || batch["status"] != "in_progress" {
            return Some(batch);
        }
        if self.does == Does::Fails {
            let flaw = json!({ "code": "token_limit_exceeded", "message": "too many tokens" });
            let batch = self.batches.get_mut(id)?;
            (batch["status"], batch["errors"]) = ("failed".into(), json!({ "data": [flaw] }));
            return Some(batch.clone());
        }
        let input = self.files[batch["input_file_id"].as_str().unwrap()].clone();
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        for (nth, line) in input.lines().enumerate() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["body"]["model"], MODEL, "{line}");
            let name = &line["custom_id"];
            if self.does == Does::Expires && nth > 0 {
                let error = json!({ "code": "batch_expired", "message": "too late" });
                errors.push(json!({ "custom_id": name, "response": null, "error": error }));
                continue;
            }
            let text = match self.does {
                Does::Chatters => "x".repeat(20_000),
                _ => line["body"]["messages"][0]["content"].to_string(),
            };
            if text.contains("bad") {
                let body = json!({ "error": { "message": "no" } });
                let response = json!({ "status_code": 400, "body": body });
                errors.push(json!({ "custom_id": name, "response": response, "error": null }));
            } else {
                let response = json!({ "status_code": 200, "body": chat(&text) });
                output.push(json!({ "custom_id": name, "response": response, "error": null }));
            }
        }
        if self.does == Does::Babbles {
            errors.clear();
        }
        // Providers promise no order.
        output.reverse();
        let text = |lines: &[Value]| {
            let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
            lines.join("\n")
        };
        let output = match self.does {
            Does::Babbles => "{\"custom_id\":\"iris-0\"}\nnot JSON\n\u{0}\n[]".to_owned(),
            // Some line twice.
            _ => format!("{}\n{}", text(&output), text(&output)),
        };
        let output = self.file(output)["id"].clone();
        let errors = self.file(text(&errors))["id"].clone();
        let batch = self.batches.get_mut(id)?;
        let expires = self.does == Does::Expires;
        batch["status"] = if expires { "expired" } else { "completed" }.into();
        (batch["output_file_id"], batch["error_file_id"]) = (output, errors);
        Some(batch.clone())
    }
}

fn chat(text: &str) -> Value {
    let message = json!({ "role": "assistant", "content": format!("re: {text}") });
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL,
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 },
    })
}
