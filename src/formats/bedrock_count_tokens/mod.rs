//! Bedrock's `CountTokens`: `POST /bedrock/model/MODEL/count-tokens`, the companion of its two
//! ways to ask a model (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html>).

use bytes::Bytes;
use http::{HeaderMap, Method, Response};

use super::{
    Api, ApiKind, Call, Destination, Head, Known, Meter, Outbound, Pass, Reading, bedrock_error,
    bedrock_path, estimate, failure, known,
};
use crate::wire::{Body, Rejection, sse};

/// Bedrock's `CountTokens`.
#[derive(Debug)]
pub(super) struct BedrockCountTokens;

impl Api for BedrockCountTokens {
    fn kind(&self) -> ApiKind {
        ApiKind("bedrock_count_tokens")
    }

    fn flags(&self) -> &'static [&'static str] {
        &["bedrock_model_invoke", "bedrock_converse"]
    }

    fn endpoint(&self) -> Option<&'static str> {
        None
    }

    fn known(&self) -> &'static Known {
        &known::COUNT_TOKENS
    }

    fn recognises(&self, method: &Method, path: &str) -> bool {
        let operation = bedrock_path::split(path).map(|(_, operation)| operation);
        method == Method::POST && operation == Some("count-tokens")
    }

    fn takes_untyped(&self, headers: &HeaderMap) -> bool {
        bedrock_path::takes_untyped(headers)
    }

    fn read(&self, head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
        Ok(Call {
            billed: false,
            ..bedrock_path::call(self.kind(), head.path, head.query, body)?
        })
    }

    fn prepare(&self, call: &Call, to: &Destination<'_>) -> Result<Outbound, Rejection> {
        Ok(call.outbound(to.model))
    }

    fn estimated_count(&self, call: &Call) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "inputTokens": estimate::tokens(&call.body) }))
    }

    fn meter(&self, _: &Call, _: usize) -> Box<dyn Meter> {
        Box::new(Unmetered::default())
    }

    fn refuse(&self, rejection: &Rejection) -> Response<Body> {
        bedrock_error::refuse(rejection)
    }

    fn stream_error(&self, _: &Call, _: &Rejection) -> Bytes {
        Bytes::new()
    }
}

/// What it answers is a forecast, not usage.
#[derive(Default)]
struct Unmetered {
    failure: Option<String>,
}

impl Meter for Unmetered {
    fn event(&mut self, _: &sse::Event<'_>) -> Pass {
        Pass::Through
    }

    fn body(&mut self, body: &[u8]) {
        self.failure = failure::of_body(body);
    }

    fn has_output(&self) -> bool {
        false
    }

    fn is_complete(&self) -> bool {
        true
    }

    fn finish(&mut self) -> Reading {
        Reading {
            failure: self.failure.take(),
            ..Reading::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_is_free_and_no_usage() {
        let path = "/bedrock/model/anthropic.claude-v2%3A1/count-tokens";
        let api = BedrockCountTokens;
        assert!(api.recognises(&Method::POST, path));
        assert!(!api.recognises(&Method::POST, "/model/m/invoke"));
        let head = Head {
            path,
            query: None,
            headers: &HeaderMap::new(),
        };
        let body = Bytes::from_static(br#"{"input":{"invokeModel":{"body":"e30="}}}"#);
        let call = api.read(&head, body).unwrap();
        assert!(!call.billed && !call.stream);
        let sent = call.outbound("m:0");
        assert_eq!(sent.path, "/model/m%3A0/count-tokens");
        assert_eq!(sent.body, call.body);
        let mut meter = api.meter(&call, 100);
        meter.body(br#"{"inputTokens":14}"#);
        assert_eq!(meter.finish(), Reading::default());
    }
}
