//! Chunks of a stream: each packs one event of the model's vendor in base64. The last one also
//! tells what Bedrock itself has counted, which is all there is for vendors that count nothing.

use aws_smithy_types::base64;
use serde_json::{Map, Value};

use super::read::read;
use super::vendor::{METRICS, Vendor};
use crate::formats::assembly::Assembling;
use crate::formats::bedrock_converse::tokens;
use crate::formats::tree::{self, add_counts};
use crate::formats::{Meter, MeteredRequest, Pass, Reading};
use crate::wire::sse;

/// Meters a stream of chunks, or a response.
pub(super) struct Chunks {
    inner: Assembling<Vendor>,
    /// What Bedrock has counted.
    metrics: Map<String, Value>,
}

impl Chunks {
    pub(super) fn new(request: &MeteredRequest<'_>) -> Self {
        Self {
            inner: Assembling::new(Vendor::default(), read, request).with_message_output(),
            metrics: Map::new(),
        }
    }
}

/// Puts Bedrock's counts where the vendor has told none.
fn fill(reading: &mut Reading, metrics: &Map<String, Value>) {
    let counted = tree::read_object(metrics, tokens).unwrap_or_default();
    let tokens = &mut reading.tokens;
    if tokens.estimated && counted.output.is_some() {
        tokens.output = counted.output;
        tokens.input = counted.input.or(tokens.input);
        tokens.estimated = counted.input.is_none();
    }
    tokens.input = tokens.input.or(counted.input);
    tokens.output = tokens.output.or(counted.output);
    tokens.cached = tokens.cached.or(counted.cached);
    tokens.cache_write = tokens.cache_write.or(counted.cache_write);
}

impl Meter for Chunks {
    fn event(&mut self, event: &sse::Event<'_>) -> Pass {
        if event.name != b"chunk" {
            // An exception, which the inner meter finds.
            return self.inner.event(event);
        }
        let unpacked = tree::read(event.data, |packed| {
            base64::decode(&*packed.get("bytes")?.text()?).ok()
        });
        let Some(unpacked) = unpacked.flatten() else {
            return Pass::Through;
        };
        if memchr::memmem::find(&unpacked, METRICS.as_bytes()).is_some()
            && let Some(mut event) = tree::object(&unpacked)
            && let Some(Value::Object(metrics)) = event.remove(METRICS)
        {
            add_counts(&mut self.metrics, metrics);
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
        self.inner.is_complete() || !self.metrics.is_empty()
    }

    fn is_counted(&self) -> bool {
        !self.metrics.is_empty() || self.inner.is_counted()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn has_failed(&self) -> bool {
        self.inner.has_failed()
    }

    fn finish(&mut self) -> Reading {
        let mut reading = self.inner.finish();
        if !self.metrics.is_empty() {
            fill(&mut reading, &self.metrics);
        }
        reading
    }
}
