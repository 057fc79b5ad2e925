//! Chunks of a stream: each packs one event of the model's vendor in base64. The last one also
//! tells what Bedrock itself has counted, which is all there is for vendors that count nothing.

use aws_smithy_types::base64;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::read::read;
use super::vendor::Vendor;
use crate::api::meter::{Assembling, count, part, sum};
use crate::api::{Meter, Pass, Reading};
use crate::wire::sse;

/// Meters a stream of chunks, or an answer.
pub(super) struct Chunks {
    inner: Assembling<Vendor>,
    metrics: Option<Metrics>,
}

impl Chunks {
    pub(super) fn new(request_bytes: usize, room: usize) -> Self {
        Self {
            inner: Assembling::new(Vendor::default(), read, request_bytes, room),
            metrics: None,
        }
    }
}

#[derive(Deserialize)]
struct Packed<'a> {
    #[serde(borrow)]
    bytes: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "amazon-bedrock-invocationMetrics")]
    metrics: Option<&'a RawValue>,
}

/// What Bedrock has counted. As with Anthropic, the prompt is told without what the cache
/// served or took.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct Metrics {
    #[serde(deserialize_with = "count")]
    input_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    output_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    cache_read_input_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    cache_write_input_token_count: Option<u64>,
}

impl Metrics {
    /// Puts the counts where the vendor has told none.
    fn fill(&self, reading: &mut Reading) {
        let tokens = &mut reading.tokens;
        let (cached, written) = (
            self.cache_read_input_token_count,
            self.cache_write_input_token_count,
        );
        let input = self
            .input_token_count
            .and_then(|own| sum(&[Some(own), cached, written]));
        if tokens.estimated && self.output_token_count.is_some() {
            tokens.output = self.output_token_count;
            tokens.input = input.or(tokens.input);
            tokens.estimated = input.is_none();
        }
        tokens.input = tokens.input.or(input);
        tokens.output = tokens.output.or(self.output_token_count);
        tokens.cached = tokens.cached.or(cached);
        tokens.cache_write = tokens.cache_write.or(written);
    }
}

impl Meter for Chunks {
    fn event(&mut self, event: &sse::Event<'_>) -> Pass {
        if event.name != b"chunk" {
            // An exception, which the inner meter finds.
            return self.inner.event(event);
        }
        let Some(unpacked) = serde_json::from_slice::<Packed<'_>>(event.data)
            .ok()
            .and_then(|packed| base64::decode(&*packed.bytes).ok())
        else {
            return Pass::Through;
        };
        if let Ok(told) = serde_json::from_slice::<Event<'_>>(&unpacked) {
            self.metrics = part(told.metrics).or(self.metrics.take());
        }
        self.inner.event(&sse::Event {
            name: b"",
            data: &unpacked,
        })
    }

    fn body(&mut self, body: &[u8]) {
        self.inner.body(body);
    }

    fn has_output(&self) -> bool {
        self.inner.has_output()
    }

    fn is_complete(&self) -> bool {
        // Bedrock counts once all is said, whatever the vendor's own end looks like.
        self.inner.is_complete() || self.metrics.is_some()
    }

    fn is_counted(&self) -> bool {
        self.metrics.is_some() || self.inner.is_counted()
    }

    fn finish(&mut self) -> Reading {
        let mut reading = self.inner.finish();
        if let Some(metrics) = &self.metrics {
            metrics.fill(&mut reading);
        }
        reading
    }
}
