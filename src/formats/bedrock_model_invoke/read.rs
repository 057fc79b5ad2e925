//! What a response of `InvokeModel` tells, by whose it is.

use std::borrow::Cow;

use crate::formats::anthropic_messages as anthropic;
use crate::formats::bedrock_converse as converse;
use crate::formats::openai_chat as chat;
use crate::formats::tree::{counted, list, sum};
use crate::formats::{Density, Reading, Tokens, ToolCall};
use crate::wire::json::Part;

/// Reads a response, by the keys that tell vendors apart.
pub(in crate::formats) fn read(response: Part<'_>) -> Reading {
    if response.members().next().is_none() {
        return Reading::foreign();
    }
    if response.get("type").is_some_and(|kind| kind.is("message")) {
        return anthropic::read(response);
    }
    if response.get("output").is_some_and(Part::is_object) {
        return converse::read(response);
    }
    let has = |path: &str| response.at(path).is_some();
    if has("usage/prompt_tokens") || has("choices/0/message") {
        let mut reading = chat::read(response);
        // Mistral's chat has OpenAI's shape, but for this word.
        let reason = response.word("choices/0/stop_reason");
        reading.finish_reason = reading.finish_reason.or(reason);
        return reading;
    }
    other(response)
}

/// What a response holds besides text, whatever the model is called.
fn density(response: Part<'_>) -> Option<Density> {
    let has = |place: &&str| response.at(place).is_some();
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
fn other(response: Part<'_>) -> Reading {
    let first = |places: &[&str]| places.iter().find_map(|place| response.at(place));
    let count = |places: &[&str]| first(places).and_then(counted);
    let results = list(response, "results");
    let of_results = results.map(|result| counted(result.get("tokenCount")?));
    let reason = first(&[
        "stop_reason",
        "finish_reason",
        "results/0/completionReason",
        "outputs/0/stop_reason",
        "choices/0/stop_reason",
        "generations/0/finish_reason",
    ]);
    // Tools as Cohere's models call them.
    let calls = list(response, "tool_calls").filter_map(|call| {
        ToolCall::of(call.get("name"), || {
            ToolCall::params(call.get("parameters"))
        })
    });
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
        finish_reason: reason.and_then(Part::text).map(Cow::into_owned),
        tool_calls: calls.collect(),
        density: density(response),
        ..Reading::default()
    }
}
