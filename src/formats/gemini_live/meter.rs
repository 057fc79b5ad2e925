//! Meters one turn: its messages say what the parts of a streamed response say, in another envelope.

use serde_json::{Map, Value, json};

use crate::formats::gemini_generate_content as gemini;
use crate::formats::realtime::{Told, without_media};
use crate::formats::{Meter, MeteredRequest, Pass, Reading, tree};
use crate::wire::sse;

/// Bytes of a model's sound, in base64, that stand for a token: 25 a second, of 24,000 samples of 16 bits.
const SOUND: u64 = 2_560;

pub(super) fn new(request: &MeteredRequest<'_>) -> Box<dyn Meter> {
    Box::new(Turn {
        inner: gemini::meter(gemini::read, request),
        sound: 0,
        has_ended: false,
        is_counted: false,
        is_final: false,
    })
}

/// What a message is about; `None` for one that can't be read.
pub(super) fn told(message: &[u8]) -> Option<Told> {
    let message = tree::reduced(message)?;
    let content = message.get("serverContent");
    let has = |key: &str| content.is_some_and(|content| !content[key].is_null());
    let says = ["modelTurn", "outputTranscription"].into_iter().any(has);
    let ends = ["turnComplete", "generationComplete", "interrupted"]
        .into_iter()
        .any(has);
    Some(if says || message.contains_key("toolCall") {
        Told::Within
    } else if message.contains_key("usageMetadata") {
        Told::Counts
    } else if ends {
        Told::Rest
    } else {
        Told::Beside
    })
}

struct Turn {
    inner: Box<dyn Meter>,
    /// Bytes of sound in base64.
    sound: u64,
    has_ended: bool,
    is_counted: bool,
    /// The counts came with the end, or behind it: earlier ones are repeated, or grow.
    is_final: bool,
}

impl Meter for Turn {
    fn event(&mut self, event: &sse::Event<'_>) -> Pass {
        let Some(mut message) = tree::reduced(event.data) else {
            return Pass::Through;
        };
        let content = message.remove("serverContent").unwrap_or_default();
        let flag = |key: &str| content[key] == Value::Bool(true);
        let ends = flag("turnComplete");
        let was_interrupted = flag("interrupted");
        self.has_ended |= ends;
        let mut parts = Vec::new();
        if let Some(said) = content["modelTurn"]["parts"].as_array() {
            for part in said {
                let data = part["inlineData"]["data"].as_str().unwrap_or_default();
                self.sound += data.len() as u64;
                let mut part = part.clone();
                without_media(&mut part);
                parts.push(part);
            }
        }
        if let Some(text) = content["outputTranscription"]["text"].as_str() {
            parts.push(json!({ "text": text }));
        }
        if let Some(calls) = message
            .get("toolCall")
            .and_then(|of| of["functionCalls"].as_array())
        {
            parts.extend(calls.iter().map(|call| json!({ "functionCall": call })));
        }
        let mut response = Map::new();
        let reason = if was_interrupted {
            Some("INTERRUPTED")
        } else {
            ends.then_some("STOP")
        };
        if !parts.is_empty() || reason.is_some() {
            let mut candidate = json!({ "content": { "role": "model", "parts": parts } });
            if let Some(reason) = reason {
                candidate["finishReason"] = reason.into();
            }
            response.insert("candidates".to_owned(), json!([candidate]));
        }
        if let Some(usage) = message.remove("usageMetadata") {
            self.is_counted = true;
            self.is_final |= self.has_ended;
            response.insert("usageMetadata".to_owned(), usage);
        }
        if response.is_empty() {
            return Pass::Through;
        }
        let data = Value::Object(response).to_string();
        self.inner.event(&sse::Event {
            name: b"",
            data: data.as_bytes(),
        })
    }

    fn body(&mut self, body: &[u8]) {
        self.inner.body(body);
    }

    fn has_output(&self) -> bool {
        self.inner.has_output() || self.sound > 0
    }

    /// The counts can come behind the end.
    fn is_complete(&self) -> bool {
        self.has_ended && self.is_final
    }

    fn may_end(&self) -> bool {
        self.has_ended
    }

    fn finish(&mut self) -> Reading {
        let mut reading = self.inner.finish();
        if !self.is_counted && self.sound > 0 {
            let spoken = self.sound.div_ceil(SOUND);
            let tokens = &mut reading.tokens;
            tokens.output = Some(tokens.output.unwrap_or(0).saturating_add(spoken));
            tokens.audio_output = Some(spoken);
            tokens.estimated = true;
        }
        reading
    }
}
