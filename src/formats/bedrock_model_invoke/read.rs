//! What an answer of `InvokeModel` tells, by whose it is.

use serde_json::Value;

use crate::formats::anthropic_messages as anthropic;
use crate::formats::bedrock_converse as converse;
use crate::formats::meter::sum;
use crate::formats::openai_chat as chat;
use crate::formats::tree;
use crate::formats::{Density, Reading, Tokens, ToolCall};

/// Reads a response, by the keys that tell vendors apart.
pub(super) fn read(body: &[u8]) -> Reading {
    let Some(response) = tree::object(body) else {
        return Reading::foreign();
    };
    if response.is_empty() {
        return Reading::foreign();
    }
    let response = Value::Object(response);
    if response["type"] == "message" {
        return anthropic::read(body);
    }
    if response["output"].is_object() {
        return converse::read(body);
    }
    if response.pointer("/usage/prompt_tokens").is_some()
        || response.pointer("/choices/0/message").is_some()
    {
        let mut reading = chat::read(body);
        // Mistral's chat has OpenAI's shape, but for this word.
        let reason = response.pointer("/choices/0/stop_reason");
        reading.finish_reason = reading.finish_reason.or(reason.and_then(text));
        return reading;
    }
    other(&response)
}

/// What a response holds besides text, whatever the model is called.
fn density(answer: &Value) -> Option<Density> {
    let has = |place: &&str| answer.pointer(place).is_some();
    let vectors = [
        "/embedding",
        "/embeddings",
        "/embeddingsByType",
        "/results/0/relevance_score",
        "/results/0/relevanceScore",
    ];
    if vectors.iter().any(has) {
        return Some(Density::VECTORS);
    }
    let pictures = ["/images", "/artifacts", "/image", "/video"];
    pictures.iter().any(has).then_some(Density::PICTURES)
}

/// Llama, Titan, Cohere, and Mistral's completions.
fn other(answer: &Value) -> Reading {
    let first = |places: &[&str]| places.iter().find_map(|place| answer.pointer(place));
    let count = |places: &[&str]| first(places).and_then(tree::count);
    let results = answer["results"].as_array();
    let counts: Vec<Option<u64>> = results
        .into_iter()
        .flatten()
        .map(|result| tree::count(&result["tokenCount"]))
        .collect();
    let calls = answer["tool_calls"].as_array();
    Reading {
        tokens: Tokens {
            input: count(&[
                "/prompt_token_count",
                "/inputTextTokenCount",
                "/meta/billed_units/input_tokens",
                "/usage/billed_units/input_tokens",
                "/usage/input_tokens",
            ]),
            output: count(&[
                "/generation_token_count",
                "/meta/billed_units/output_tokens",
                "/usage/billed_units/output_tokens",
                "/usage/output_tokens",
            ])
            .or(sum(&counts)),
            ..Tokens::default()
        },
        finish_reason: first(&[
            "/stop_reason",
            "/finish_reason",
            "/results/0/completionReason",
            "/outputs/0/stop_reason",
            "/choices/0/stop_reason",
            "/generations/0/finish_reason",
        ])
        .and_then(text),
        tool_calls: calls.into_iter().flatten().filter_map(call).collect(),
        density: density(answer),
        ..Reading::default()
    }
}

/// A tool as Cohere's models call one.
fn call(call: &Value) -> Option<ToolCall> {
    Some(ToolCall {
        name: text(&call["name"])?,
        params: call["parameters"].to_string(),
    })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
