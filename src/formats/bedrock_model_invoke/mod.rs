//! Bedrock's `InvokeModel`: `POST /bedrock/model/MODEL/invoke` and
//! `/invoke-with-response-stream`. Bodies and answers are those of the model's vendor
//! (<https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html>).

mod chunk;
mod read;
mod text;
mod vendor;

use bytes::Bytes;
use http::HeaderMap;

use super::Tokens;
use super::anthropic_messages as anthropic;
use super::bedrock_converse as converse;
use super::offer;
use super::openai_chat::{SWITCHES, TEMPLATES, switched, templated};
use super::{Call, Flag, Format, Head, Offer, ProviderState, bedrock, body, known, opening, tree};
use crate::base::money::CostBasis;
use crate::wire::Rejection;

/// The operation that answers with a stream.
const STREAM: &str = "invoke-with-response-stream";

/// The last three are how vendors name the bound on an answer.
const KEYS: [&str; 6] = [
    "system",
    "messages",
    "metadata",
    "max_tokens",
    "max_tokens_to_sample",
    "max_gen_len",
];

/// Requests as models' vendors have them.
pub(super) static FLAG: Flag = Flag {
    name: "bedrock_model_invoke",
    text: "Bedrock `InvokeModel`.",
    is_default: false,
    vendor: Some(CostBasis::Bedrock),
};

/// Bedrock's `InvokeModel`. Tools of Anthropic's models and of OpenAI's stand in a list of the same
/// name, those of Amazon's where `Converse` has them.
pub(super) static FORMAT: Format = Format {
    flags: &[&FLAG],
    endpoint: Some("/bedrock/model/{model}/invoke"),
    recognises: |path| matches!(bedrock::path::operation(path), Some("invoke" | STREAM)),
    opaque: anthropic::OPAQUE,
    opaque_places: anthropic::OPAQUE_PLACES,
    takes_untyped: bedrock::path::takes_untyped,
    tools: |body| tools(body, 0..body.len()),
    counts_in_head,
    refusals: bedrock::error::REFUSALS,
    state: ProviderState::Named,
    conversation: anthropic::CONVERSATION,
    ..Format::new("bedrock_model_invoke", &known::INVOKE, read, |request| {
        Box::new(chunk::Chunks::new(request))
    })
};

fn read(head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let call = bedrock::path::call(head.path, head.query, body)?;
    let fields = body::scan(&call.body, &KEYS)?;
    let value = |nth| fields.get(nth).map(|at| &call.body[at]);
    let mut choices = call.choices;
    choices.extend(known::models_of_tools(&call.body, &fields.members));
    Ok(Call {
        choices,
        stream: head.path.ends_with(STREAM),
        answer_limit: (3..KEYS.len()).find_map(|nth| body::count(&call.body, fields.get(nth))),
        session: value(2).and_then(anthropic::session),
        opening: value(1).and_then(|messages| opening::of(value(0), messages)),
        ..call
    })
}

/// Of some vendors' models only the head tells it
/// (<https://docs.aws.amazon.com/bedrock/latest/userguide/count-tokens.html>).
fn counts_in_head(head: &HeaderMap) -> Tokens {
    let count = |name: &str| tree::count(&head.get(name)?.to_str().ok()?.into());
    Tokens {
        input: count("x-amzn-bedrock-input-token-count"),
        output: count("x-amzn-bedrock-output-token-count"),
        ..Tokens::default()
    }
}

/// The tools of an object in the shape of a vendor's request.
pub(in crate::formats) fn tools(body: &[u8], at: std::ops::Range<usize>) -> Offer {
    let mut keys = vec![
        "tools",
        "functions",
        "mcp_servers",
        "toolConfig",
        "container",
        "messages",
    ];
    keys.extend(SWITCHES);
    keys.extend(TEMPLATES);
    let listed = |at| {
        offer::tools(body, at, |tool| match tool.text(&["type"])?.as_deref() {
            Some("function") => tool.text(&["function", "name"]),
            _ => tool.first(&[&["name"], &["function", "name"], &["type"]]),
        })
    };
    offer::object(body, at, &keys, |key, at| match key {
        key if TEMPLATES.contains(&key) => templated(body, at, listed),
        "toolConfig" => converse::tool_config(body, at),
        "container" => anthropic::container(body, at),
        "tools" | "functions" => listed(at),
        "messages" => offer::within(body, at, "tools", listed),
        "mcp_servers" => offer::tools(body, at, |one| one.text(&["name"])),
        key => switched(body, at, key),
    })
}

#[cfg(test)]
mod tests;
