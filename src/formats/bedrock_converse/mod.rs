//! Bedrock's `Converse`: `POST /bedrock/model/MODEL/converse` and `/converse-stream`, one shape
//! for the models of all vendors
//! (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>).

mod block;
mod meter;
mod usage;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};

use super::bedrock_model_invoke::tools as vendor_tools;
use super::meter::Assembling;
use super::offer;
use super::{
    Api, ApiKind, Call, Destination, Head, Known, Meter, Offer, OpaquePlace, Outbound,
    bedrock_error, bedrock_path, body, known, opening,
};
use crate::wire::{Body, Rejection, json};

pub(in crate::formats) use meter::{Events, read};

/// Keys whose values only the model's vendor can read.
const OPAQUE: &[&str] = &["signature", "redactedContent"];
/// Where they stand in a request.
const OPAQUE_PLACES: &[OpaquePlace] = &[
    OpaquePlace {
        path: &[
            "messages",
            "*",
            "content",
            "*",
            "reasoningContent",
            "reasoningText",
            "signature",
        ],
        kinds: &[],
    },
    OpaquePlace {
        path: &[
            "messages",
            "*",
            "content",
            "*",
            "reasoningContent",
            "redactedContent",
        ],
        kinds: &[],
    },
];
/// The operation that answers with a stream.
const STREAM: &str = "converse-stream";

/// Bedrock's `Converse`.
#[derive(Debug)]
pub(super) struct BedrockConverse;

/// `inferenceConfig.maxTokens`.
fn answer_limit(config: &[u8]) -> Option<u64> {
    let inner = json::scan(config, &["maxTokens"]).ok()?;
    body::count(config, inner.get(0))
}

impl Api for BedrockConverse {
    fn kind(&self) -> ApiKind {
        ApiKind("bedrock_converse")
    }

    fn flags(&self) -> &'static [&'static str] {
        &["bedrock_converse"]
    }

    fn endpoint(&self) -> Option<&'static str> {
        Some("/bedrock/model/{model}/converse")
    }

    fn opaque(&self) -> &'static [&'static str] {
        OPAQUE
    }

    fn opaque_places(&self) -> &'static [OpaquePlace] {
        OPAQUE_PLACES
    }

    fn known(&self) -> &'static Known {
        &known::CONVERSE
    }

    fn recognises(&self, method: &Method, path: &str) -> bool {
        let operation = bedrock_path::split(path).map(|(_, operation)| operation);
        method == Method::POST && matches!(operation, Some("converse" | STREAM))
    }

    fn takes_untyped(&self, headers: &HeaderMap) -> bool {
        bedrock_path::takes_untyped(headers)
    }

    fn read(&self, head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
        let call = bedrock_path::call(self.kind(), head.path, head.query, body)?;
        let keys = [
            "system",
            "messages",
            "inferenceConfig",
            "additionalModelRequestFields",
        ];
        let fields = body::scan(&call.body, &keys)?;
        let value = |nth| fields.get(nth).map(|at| &call.body[at]);
        // They become top-level keys of the vendor's own request.
        let mut choices = call.choices;
        if let Some(more) = value(3).filter(|more| more.first() == Some(&b'{')) {
            let inner = body::scan(more, &[])?;
            choices.extend(known::choices(more, &inner.members));
            choices.extend(known::models_of_tools(more, &inner.members));
        }
        Ok(Call {
            choices,
            stream: head.path.ends_with(STREAM),
            answer_limit: value(2).and_then(answer_limit),
            opening: value(1).and_then(|messages| opening::of(value(0), messages)),
            ..call
        })
    }

    fn tools(&self, body: &[u8]) -> Offer {
        tools(body)
    }

    fn prepare(&self, call: &Call, to: &Destination<'_>) -> Result<Outbound, Rejection> {
        Ok(call.outbound(to.model))
    }

    fn meter(&self, call: &Call, room: usize) -> Box<dyn Meter> {
        Box::new(Assembling::new(
            Events::default(),
            read,
            call.text_bytes(),
            room,
        ))
    }

    fn refuse(&self, rejection: &Rejection) -> Response<Body> {
        bedrock_error::refuse(rejection)
    }

    fn stream_error(&self, _: &Call, rejection: &Rejection) -> Bytes {
        bedrock_error::event(rejection)
    }
}

/// Where Bedrock has tools, and where a model's vendor has some besides.
fn tools(body: &[u8]) -> Offer {
    let keys = ["toolConfig", "additionalModelRequestFields"];
    offer::request(body, &keys, |key, at| match key {
        "toolConfig" => tool_config(body, at),
        _ => vendor_tools(body, at),
    })
}

/// Tools of the caller and of the system.
pub(in crate::formats) fn tool_config(body: &[u8], at: std::ops::Range<usize>) -> Offer {
    offer::object(body, at, &["tools"], |_, at| {
        offer::tools(body, at, |tool| {
            tool.first(&[&["toolSpec", "name"], &["systemTool", "name"]])
        })
    })
}

#[cfg(test)]
mod tests;
