//! What a response of `InvokeModel` tells, by whose it is.

use serde_json::{Map, Value};

use crate::formats::anthropic_messages as anthropic;
use crate::formats::bedrock_converse as converse;
use crate::formats::openai_chat as chat;
use crate::formats::tree::{self, at, list, sum, word};
use crate::formats::{Density, Reading, Tokens, ToolCall};

/// Reads a response, by the keys that tell vendors apart.
pub(super) fn read(response: &Map<String, Value>) -> Reading {
    if response.is_empty() {
        return Reading::foreign();
    }
    if response.get("type").is_some_and(|kind| kind == "message") {
        return anthropic::read(response);
    }
    if response.get("output").is_some_and(Value::is_object) {
        return converse::read(response);
    }
    if at(response, "usage/prompt_tokens").is_some() || at(response, "choices/0/message").is_some()
    {
        let mut reading = chat::read(response);
        // Mistral's chat has OpenAI's shape, but for this word.
        let reason = word(response, "choices/0/stop_reason");
        reading.finish_reason = reading.finish_reason.or(reason);
        return reading;
    }
    other(response)
}

/// What a response holds besides text, whatever the model is called.
fn density(response: &Map<String, Value>) -> Option<Density> {
    let has = |place: &&str| at(response, place).is_some();
    let vectors = [
        "embedding",
        "embeddings",
        "embeddingsByType",
        "results/0/relevance_score",
        "results/0/relevanceScore",
    ];
    if vectors.iter().any(has) {
        return Some(Density::VECTORS);
    }
    let pictures = ["images", "artifacts", "image", "video"];
    pictures.iter().any(has).then_some(Density::PICTURES)
}

/// Llama, Titan, Cohere, and Mistral's completions.
fn other(response: &Map<String, Value>) -> Reading {
    let first = |places: &[&str]| places.iter().find_map(|place| at(response, place));
    let count = |places: &[&str]| first(places).and_then(tree::count);
    let results = list(response, "results").iter();
    let of_results = results.map(|result| tree::count(&result["tokenCount"]));
    let reason = first(&[
        "stop_reason",
        "finish_reason",
        "results/0/completionReason",
        "outputs/0/stop_reason",
        "choices/0/stop_reason",
        "generations/0/finish_reason",
    ]);
    // Tools as Cohere's models call them.
    let calls = list(response, "tool_calls").iter();
    let calls =
        calls.filter_map(|call| ToolCall::of(call.get("name"), || call["parameters"].to_string()));
    Reading {
        tokens: Tokens {
            input: count(&[
                "prompt_token_count",
                "inputTextTokenCount",
                "meta/billed_units/input_tokens",
                "usage/billed_units/input_tokens",
                "usage/input_tokens",
            ]),
            output: count(&[
                "generation_token_count",
                "meta/billed_units/output_tokens",
                "usage/billed_units/output_tokens",
                "usage/output_tokens",
            ])
            .or_else(|| sum(of_results)),
            ..Tokens::default()
        },
        finish_reason: reason.and_then(Value::as_str).map(str::to_owned),
        tool_calls: calls.collect(),
        density: density(response),
        ..Reading::default()
    }
}
