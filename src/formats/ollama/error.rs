//! Errors as Ollama's clients read them: `error` is a string, in a response as in a line of a stream.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::formats::Refusals;
use crate::formats::refusal::PLAIN;
use crate::wire::Rejection;

/// How errors look to clients.
pub(in crate::formats) const REFUSALS: Refusals = Refusals {
    body,
    event: |rejection| Bytes::from(format!("{}\n", body(rejection))),
    missing_model: Some(missing_model),
    ..PLAIN
};

fn body(rejection: &Rejection) -> Value {
    json!({ "error": rejection.message })
}

/// Ollama's own words, which some clients look for before they offer to pull the model.
fn missing_model(model: &str) -> String {
    format!("model '{model}' not found")
}
