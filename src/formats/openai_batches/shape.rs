//! Files, batches and lines of results as OpenAI's clients read them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Flaw;

/// What clients see of a file.
#[derive(Clone, Copy, Debug)]
pub struct FileShape<'f> {
    pub id: &'f str,
    pub bytes: u64,
    /// Unix seconds.
    pub made: i64,
    /// Unix seconds.
    pub ends: Option<i64>,
    pub name: &'f str,
    pub purpose: &'f str,
}

/// A file.
#[must_use]
pub fn file(file: &FileShape<'_>) -> Value {
    json!({
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.made,
        "expires_at": file.ends,
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    })
}

/// The answer to the deletion of a file.
#[must_use]
pub fn deleted_file(id: &str) -> Value {
    json!({ "id": id, "object": "file", "deleted": true })
}

/// A page of a list.
#[must_use]
pub fn list(data: &[Value], has_more: bool) -> Value {
    let id = |one: Option<&Value>| one.map_or(Value::Null, |one| one["id"].clone());
    json!({
        "object": "list",
        "first_id": id(data.first()),
        "last_id": id(data.last()),
        "has_more": has_more,
        "data": data,
    })
}

/// How many lines of a batch have been run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub total: u64,
    pub completed: u64,
    pub failed: u64,
}

/// What clients see of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchShape<'b> {
    pub id: &'b str,
    pub endpoint: &'b str,
    pub input: &'b str,
    pub window: &'b str,
    pub status: &'b str,
    pub output: Option<&'b str>,
    pub errors_file: Option<&'b str>,
    /// What is wrong with its input, each with the number of its line.
    pub flaws: &'b [Value],
    pub metadata: &'b Value,
    pub counts: Counts,
    /// When it came to each of its statuses, in Unix seconds: `created_at` and its like.
    pub times: &'b Map<String, Value>,
}

const TIMES: [&str; 9] = [
    "created_at",
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
];

/// A batch.
#[must_use]
pub fn batch(batch: &BatchShape<'_>) -> Value {
    let errors = match batch.flaws {
        [] => Value::Null,
        flaws => json!({ "object": "list", "data": flaws }),
    };
    let mut shape = json!({
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": errors,
        "input_file_id": batch.input,
        "completion_window": batch.window,
        "status": batch.status,
        "output_file_id": batch.output,
        "error_file_id": batch.errors_file,
        "request_counts": batch.counts,
        "metadata": batch.metadata,
    });
    for name in TIMES {
        shape[name] = batch.times.get(name).cloned().unwrap_or_default();
    }
    shape
}

/// What is wrong with a line, as it stands in a batch.
#[must_use]
pub fn error_line(flaw: &Flaw, line: u64) -> Value {
    json!({ "code": flaw.code, "message": flaw.message, "param": flaw.param, "line": line })
}

/// The result of a line that was asked: `body` as it came.
#[must_use]
pub fn result_line(
    id: &str,
    custom_id: &str,
    status: u16,
    request_id: &str,
    body: &Value,
) -> Value {
    json!({
        "id": id,
        "custom_id": custom_id,
        "response": { "status_code": status, "request_id": request_id, "body": body },
        "error": null,
    })
}

/// The result of a line that was not asked.
#[must_use]
pub fn failed_line(id: &str, custom_id: &str, code: &str, message: &str) -> Value {
    json!({
        "id": id,
        "custom_id": custom_id,
        "response": null,
        "error": { "code": code, "message": message },
    })
}
