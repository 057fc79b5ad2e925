//! Bedrock's `Converse`: `POST /bedrock/model/MODEL/converse` and `/converse-stream`, one shape
//! for the models of all vendors
//! (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>).

mod block;
mod meter;
mod transcript;
mod translate;
mod usage;

use bytes::Bytes;

use super::assembly::Assembling;
use super::bedrock::tools::{tool_config, vendors};
use super::offer;
use super::{
    Call, Flag, Format, Goes, Head, Offer, OpaquePlace, ProviderState, bedrock, body, known,
    opening,
};
use crate::base::money::CostBasis;
use crate::wire::{Rejection, json};

pub(in crate::formats) use meter::{Events, read};
use transcript::CONVERSATION;
pub(in crate::formats) use usage::tokens;

/// Keys whose values only the model's vendor can read.
const OPAQUE: &[&str] = &["signature", "redactedContent"];
/// Stands for what a model said, where nothing is left of it: the API wants roles in turn, and no empty message.
const EMPTY: &str = r#"{"text":"(no text)"}"#;
/// Where they stand in a request.
const OPAQUE_PLACES: &[OpaquePlace] = &[
    OpaquePlace {
        path: "messages.*.content.*.reasoningContent.reasoningText.signature",
        kinds: &[],
        goes: Goes::Filled(EMPTY),
    },
    OpaquePlace {
        path: "messages.*.content.*.reasoningContent.redactedContent",
        kinds: &[],
        goes: Goes::Filled(EMPTY),
    },
];
/// The operation that answers with a stream.
const STREAM: &str = "converse-stream";

/// `inferenceConfig.maxTokens`.
fn answer_limit(config: &[u8]) -> Option<u64> {
    let inner = json::scan(config, &["maxTokens"]).ok()?;
    body::count(inner.get(0).map(|at| &config[at]))
}

/// One shape for all models.
pub(super) static FLAG: Flag = Flag {
    name: "bedrock_converse",
    text: "Bedrock `Converse`.",
    is_default: false,
    vendor: Some(CostBasis::Bedrock),
};

/// Bedrock's `Converse`.
pub(super) static FORMAT: Format = Format {
    flags: &[&FLAG],
    endpoint: Some("/bedrock/model/{model}/converse"),
    recognises: |path| matches!(bedrock::path::operation(path), Some("converse" | STREAM)),
    opaque: OPAQUE,
    opaque_places: OPAQUE_PLACES,
    takes_untyped: bedrock::path::takes_untyped,
    tools,
    refusals: bedrock::error::REFUSALS,
    state: ProviderState::Named,
    conversation: CONVERSATION,
    turns: &["messages"],
    codec: Some(&translate::CODEC),
    ..Format::new(
        "bedrock_converse",
        &known::CONVERSE,
        understand,
        |request| Box::new(Assembling::new(Events::default(), read, request)),
    )
};

fn understand(head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let mut call = bedrock::path::call(head.path, head.query, body)?;
    let keys = [
        "system",
        "messages",
        "inferenceConfig",
        "additionalModelRequestFields",
    ];
    let fields = body::scan(&call.body, &keys)?;
    // They become top-level keys of the vendor's own request.
    let more = call
        .value(&fields, 3)
        .filter(|more| more.first() == Some(&b'{'));
    if let Some(more) = more {
        let inner = body::scan(more, &[])?;
        let mut choices = known::choices(more, &inner.members);
        choices.extend(known::models_of_tools(more, &inner.members));
        call.choices.extend(choices);
    }
    let value = |nth| call.value(&fields, nth);
    Ok(Call {
        stream: head.path.ends_with(STREAM),
        answer_limit: value(2).and_then(answer_limit),
        opening: opening::of(value(0), value(1)),
        ..call
    })
}

/// Where Bedrock has tools, and where a model's vendor has some besides.
fn tools(body: &[u8]) -> Offer {
    let keys = ["toolConfig", "additionalModelRequestFields"];
    offer::request(body, &keys, |key, at| match key {
        "toolConfig" => tool_config(body, at),
        _ => vendors(body, at),
    })
}

#[cfg(test)]
mod tests;
