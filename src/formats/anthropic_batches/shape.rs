//! Message batches and their results as Anthropic's clients read them.

use http::StatusCode;
use serde_json::{Value, json};

/// How many requests of a batch came to what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub processing: u64,
    pub succeeded: u64,
    pub errored: u64,
    pub canceled: u64,
    pub expired: u64,
}

/// What clients see of a message batch. Times are Unix seconds.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'b> {
    pub id: &'b str,
    pub status: &'static str,
    pub counts: Counts,
    pub created: Option<i64>,
    pub expires: Option<i64>,
    pub cancelled: Option<i64>,
    pub ended: Option<i64>,
    /// Where its results are, once it has ended.
    pub results: Option<&'b str>,
}

/// A message batch.
#[must_use]
pub fn batch(batch: &Shape<'_>) -> Value {
    let counts = batch.counts;
    json!({
        "id": batch.id,
        "type": "message_batch",
        "processing_status": batch.status,
        "request_counts": {
            "processing": counts.processing,
            "succeeded": counts.succeeded,
            "errored": counts.errored,
            "canceled": counts.canceled,
            "expired": counts.expired,
        },
        "created_at": time(batch.created),
        "expires_at": time(batch.expires),
        "cancel_initiated_at": time(batch.cancelled),
        "ended_at": time(batch.ended),
        "archived_at": null,
        "results_url": batch.results,
    })
}

fn time(seconds: Option<i64>) -> Option<String> {
    let time = jiff::Timestamp::from_second(seconds?).ok()?;
    Some(time.to_string())
}

/// A page of a list.
#[must_use]
pub fn list(data: &[Value], has_more: bool) -> Value {
    let id = |one: Option<&Value>| one.map_or(Value::Null, |one| one["id"].clone());
    json!({
        "first_id": id(data.first()),
        "last_id": id(data.last()),
        "has_more": has_more,
        "data": data,
    })
}

/// The answer to the deletion of a batch.
#[must_use]
pub fn deleted(id: &str) -> Value {
    json!({ "id": id, "type": "message_batch_deleted" })
}

/// The result of a request that was asked.
#[must_use]
pub fn result_line(custom_id: &str, status: u16, body: &Value) -> Value {
    let is_success = StatusCode::from_u16(status).is_ok_and(|status| status.is_success());
    let result = if is_success {
        json!({ "type": "succeeded", "message": body })
    } else {
        json!({ "type": "errored", "error": body })
    };
    json!({ "custom_id": custom_id, "result": result })
}

/// The result of a request that was not asked: `kind` is that of the result.
#[must_use]
pub fn failed_line(custom_id: &str, kind: &str, message: &str) -> Value {
    let mut result = json!({ "type": kind });
    if kind == "errored" {
        let error = json!({ "type": "api_error", "message": message });
        result["error"] = json!({ "type": "error", "error": error });
    }
    json!({ "custom_id": custom_id, "result": result })
}
