//! Bedrock's `InvokeModel`: `POST /bedrock/model/MODEL/invoke` and
//! `/invoke-with-response-stream`. Bodies and answers are those of the model's vendor
//! (<https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html>).

mod chunk;
mod read;
mod text;
mod vendor;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};

use super::Tokens;
use super::anthropic_messages as anthropic;
use super::bedrock_converse as converse;
use super::offer;
use super::openai_chat::{SWITCHES, TEMPLATES, switched, templated};
use super::{
    Api, ApiKind, Call, Destination, Head, Known, Meter, Offer, OpaquePlace, Outbound,
    bedrock_error, bedrock_path, body, known, opening, tree,
};
use crate::wire::{Body, Rejection};

/// The operation that answers with a stream.
const STREAM: &str = "invoke-with-response-stream";

/// Bedrock's `InvokeModel`.
#[derive(Debug)]
pub(super) struct BedrockModelInvoke;

/// The last three are how vendors name the bound on an answer.
const KEYS: [&str; 6] = [
    "system",
    "messages",
    "metadata",
    "max_tokens",
    "max_tokens_to_sample",
    "max_gen_len",
];

impl Api for BedrockModelInvoke {
    fn kind(&self) -> ApiKind {
        ApiKind("bedrock_model_invoke")
    }

    fn flags(&self) -> &'static [&'static str] {
        &["bedrock_model_invoke"]
    }

    fn endpoint(&self) -> Option<&'static str> {
        Some("/bedrock/model/{model}/invoke")
    }

    fn opaque(&self) -> &'static [&'static str] {
        anthropic::OPAQUE
    }

    fn opaque_places(&self) -> &'static [OpaquePlace] {
        anthropic::OPAQUE_PLACES
    }

    fn known(&self) -> &'static Known {
        &known::INVOKE
    }

    fn recognises(&self, method: &Method, path: &str) -> bool {
        let operation = bedrock_path::split(path).map(|(_, operation)| operation);
        method == Method::POST && matches!(operation, Some("invoke" | STREAM))
    }

    fn takes_untyped(&self, headers: &HeaderMap) -> bool {
        bedrock_path::takes_untyped(headers)
    }

    fn read(&self, head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
        let call = bedrock_path::call(self.kind(), head.path, head.query, body)?;
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

    /// Those of Anthropic's models and of OpenAI's stand in a list of the same name, those of
    /// Amazon's where `Converse` has them.
    fn tools(&self, body: &[u8]) -> Offer {
        tools(body, 0..body.len())
    }

    fn prepare(&self, call: &Call, to: &Destination<'_>) -> Result<Outbound, Rejection> {
        Ok(call.outbound(to.model))
    }

    /// Of some vendors' models only the head tells it
    /// (<https://docs.aws.amazon.com/bedrock/latest/userguide/count-tokens.html>).
    fn counts_in_head(&self, head: &HeaderMap) -> Tokens {
        let count = |name: &str| tree::count(&head.get(name)?.to_str().ok()?.into());
        Tokens {
            input: count("x-amzn-bedrock-input-token-count"),
            output: count("x-amzn-bedrock-output-token-count"),
            ..Tokens::default()
        }
    }

    fn meter(&self, call: &Call, room: usize) -> Box<dyn Meter> {
        Box::new(chunk::Chunks::new(call.text_bytes(), room))
    }

    fn refuse(&self, rejection: &Rejection) -> Response<Body> {
        bedrock_error::refuse(rejection)
    }

    fn stream_error(&self, _: &Call, rejection: &Rejection) -> Bytes {
        bedrock_error::event(rejection)
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
