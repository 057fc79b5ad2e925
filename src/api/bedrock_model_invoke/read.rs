//! What an answer of `InvokeModel` tells, by whose it is.

use serde::Deserialize;
use serde_json::Value;

use crate::api::anthropic_messages as anthropic;
use crate::api::bedrock_converse as converse;
use crate::api::meter::sum;
use crate::api::openai_chat as chat;
use crate::api::{Reading, Tokens, ToolCall};

/// Keys that tell vendors apart.
#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    output: Value,
    #[serde(default)]
    choices: Value,
    #[serde(default, rename = "type")]
    kind: Value,
}

/// Reads an answer.
pub(super) fn read(body: &[u8]) -> Reading {
    let Ok(probe) = serde_json::from_slice::<Probe>(body) else {
        return Reading::default();
    };
    if probe.kind == "message" {
        return anthropic::read(body);
    }
    if probe.output.is_object() {
        return converse::read(body);
    }
    if probe.usage.get("prompt_tokens").is_some() || probe.choices.pointer("/0/message").is_some() {
        let mut reading = chat::read(body);
        // Mistral's chat has OpenAI's shape, but for this word.
        let reason = probe.choices.pointer("/0/stop_reason");
        reading.finish_reason = reading.finish_reason.or(reason.and_then(text));
        return reading;
    }
    serde_json::from_slice(body).map_or_else(|_| Reading::default(), |answer| other(&answer))
}

/// Llama, Titan, Cohere, and Mistral's completions.
fn other(answer: &Value) -> Reading {
    let first = |places: &[&str]| places.iter().find_map(|place| answer.pointer(place));
    let count = |places: &[&str]| first(places).and_then(Value::as_u64);
    let results = answer["results"].as_array();
    let counts: Vec<Option<u64>> = results
        .into_iter()
        .flatten()
        .map(|result| result["tokenCount"].as_u64())
        .collect();
    let calls = answer["tool_calls"].as_array();
    Reading {
        tokens: Tokens {
            input: count(&[
                "/prompt_token_count",
                "/inputTextTokenCount",
                "/meta/billed_units/input_tokens",
            ]),
            output: count(&[
                "/generation_token_count",
                "/meta/billed_units/output_tokens",
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
