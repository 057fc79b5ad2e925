//! Responses that the provider keeps: those in the background end when they are asked for the third time.

use std::collections::HashMap;

use http::Method;
use serde_json::{Value, json};

use super::responses;
use super::turn::Turn;
use super::usage::Usage;

/// What is kept, by id.
#[derive(Default)]
pub struct Stored(HashMap<String, Kept>);

struct Kept {
    asked: u32,
    running: Value,
    ended: Value,
}

impl Stored {
    /// Begins a response in the background.
    pub fn begin(&mut self, request: &Value, id: &str, turn: &Turn, usage: &Usage) -> Value {
        let of = |status: &str, turn: Option<&Turn>| {
            let mut response = responses::stored(request, id, status, turn, usage);
            response["background"] = json!(true);
            response["store"] = json!(true);
            response
        };
        let queued = of("queued", None);
        let kept = Kept {
            asked: 0,
            running: of("in_progress", None),
            ended: of("completed", Some(turn)),
        };
        self.0.insert(id.to_owned(), kept);
        queued
    }

    /// Answers a request for one by its id.
    pub fn answer(&mut self, method: &Method, path: &str) -> Option<Value> {
        let below = path.strip_prefix("/v1/responses/")?;
        let (id, action) = below.split_once('/').unwrap_or((below, ""));
        let kept = self.0.get_mut(id)?;
        match (method.as_str(), action) {
            ("GET", "") => {
                kept.asked += 1;
                Some(match kept.asked {
                    0..3 => kept.running.clone(),
                    _ => kept.ended.clone(),
                })
            }
            ("GET", "input_items") => Some(json!({
                "object": "list",
                "data": [{
                    "id": "msg_input", "type": "message", "role": "user",
                    "content": [{ "type": "input_text", "text": "Say hello." }],
                }],
                "first_id": "msg_input",
                "last_id": "msg_input",
                "has_more": false,
            })),
            ("POST", "cancel") => {
                kept.asked = 3;
                kept.running["status"] = json!("cancelled");
                kept.ended = kept.running.clone();
                Some(kept.ended.clone())
            }
            ("DELETE", "") => {
                self.0.remove(id);
                Some(json!({ "id": id, "object": "response", "deleted": true }))
            }
            _ => None,
        }
    }
}
