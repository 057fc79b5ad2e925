//! Bedrock's `CountTokens`: `POST /bedrock/model/MODEL/count-tokens`, the companion of its two
//! ways to ask a model (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html>).

use bytes::Bytes;
use serde_json::json;

use super::{
    Call, Format, Head, Meter, Pass, Reading, Refusals, bedrock_converse, bedrock_error,
    bedrock_model_invoke, bedrock_path, failure, known,
};
use crate::wire::{Rejection, sse};

/// Bedrock's `CountTokens`.
pub(super) static FORMAT: Format = Format {
    flags: &[&bedrock_model_invoke::FLAG, &bedrock_converse::FLAG],
    recognises: |path| bedrock_path::operation(path) == Some("count-tokens"),
    takes_untyped: bedrock_path::takes_untyped,
    count_response: Some(|count| json!({ "inputTokens": count })),
    refusals: Refusals {
        event: |_| Bytes::new(),
        ..bedrock_error::REFUSALS
    },
    ..Format::new("bedrock_count_tokens", &known::COUNT_TOKENS, read, |_| {
        Box::new(Unmetered::default())
    })
};

fn read(head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    Ok(Call {
        billed: false,
        ..bedrock_path::call(head.path, head.query, body)?
    })
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
    use http::{HeaderMap, Method};

    use super::*;

    #[test]
    fn counting_is_free_and_no_usage() {
        let path = "/bedrock/model/anthropic.claude-v2%3A1/count-tokens";
        let api = &FORMAT;
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
        let mut meter = api.meter(&call.metered(100));
        meter.body(br#"{"inputTokens":14}"#);
        assert_eq!(meter.finish(), Reading::default());
    }
}
