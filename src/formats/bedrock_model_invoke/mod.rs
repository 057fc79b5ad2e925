//! Bedrock's `InvokeModel`: `POST /bedrock/model/MODEL/invoke` and
//! `/invoke-with-response-stream`. Bodies and responses are those of the model's vendor
//! (<https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html>).

mod chunk;
mod read;
mod text;
mod vendor;

use bytes::Bytes;
use http::HeaderMap;

use super::Tokens;
use super::anthropic_messages as anthropic;
use super::{Call, Flag, Format, Head, ProviderState, bedrock, body, known, opening, tree};
use crate::base::money::CostBasis;
use crate::wire::Rejection;

#[cfg(test)]
pub(super) use read::read as read_response;
#[cfg(test)]
pub(super) use vendor::Vendor;

/// The operation that answers with a stream.
const STREAM: &str = "invoke-with-response-stream";

/// The last three are how vendors name the bound on a response.
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
    tools: |body| bedrock::tools::vendors(body, 0..body.len()),
    counts_in_head,
    refusals: bedrock::error::REFUSALS,
    state: ProviderState::Named,
    conversation: anthropic::CONVERSATION,
    turns: &["messages"],
    texts: &["prompt"],
    ..Format::new("bedrock_model_invoke", &known::INVOKE, read, |request| {
        Box::new(chunk::Chunks::new(request))
    })
};

fn read(head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let mut call = bedrock::path::call(head.path, head.query, body)?;
    let fields = body::scan(&call.body, &KEYS)?;
    call.add_models_of_tools(&fields);
    let value = |nth| call.value(&fields, nth);
    Ok(Call {
        stream: head.path.ends_with(STREAM),
        answer_limit: (3..KEYS.len()).find_map(|nth| body::count(value(nth))),
        session: value(2).and_then(anthropic::session),
        opening: opening::of(value(0), value(1)),
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

#[cfg(test)]
mod tests;
