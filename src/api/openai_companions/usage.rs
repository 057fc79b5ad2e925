//! Usage of the companions: answers are passed on and read for it alone.

use serde_json::{Map, Value};

use crate::api::openai_usage::Usage;
use crate::api::tree::{self, add_counts};
use crate::api::{Meter, Pass, Reading, failure};
use crate::wire::sse;

/// A meter that looks for usage in the whole answer, or in the events of a stream.
#[derive(Default)]
pub(super) struct Whole {
    /// What a stream has told so far.
    told: Map<String, Value>,
    reading: Reading,
    failure: Option<String>,
    spoke: bool,
    ends: bool,
    /// The model writes tokens, not only vectors or scores.
    writes: bool,
}

impl Whole {
    pub(super) fn new(writes: bool) -> Self {
        Self {
            writes,
            ..Self::default()
        }
    }
}

impl Meter for Whole {
    fn event(&mut self, event: &sse::Event<'_>) -> Pass {
        self.spoke = true;
        let event_of = tree::reduced(event.data).unwrap_or_default();
        let kind = event_of.get("type").and_then(Value::as_str);
        // `image_generation.completed`, `transcript.text.done`, `speech.audio.done`.
        self.ends |= event.data == b"[DONE]"
            || kind.is_some_and(|kind| {
                let last = kind.rsplit('.').next();
                matches!(last, Some("completed" | "done"))
            });
        let parts = event_of.into_iter();
        let told = parts.filter(|(key, _)| TOLD.contains(&key.as_str()));
        add_counts(&mut self.told, told.collect());
        if let Some(words) = failure::of_event(event) {
            self.failure.get_or_insert(words);
            self.ends = true;
        }
        Pass::Through
    }

    fn body(&mut self, body: &[u8]) {
        self.reading = tree::reduced(body)
            .map(|response| usage(&response, self.writes))
            .unwrap_or_default();
        self.failure = failure::of_body(body);
    }

    fn has_output(&self) -> bool {
        self.spoke
    }

    fn is_complete(&self) -> bool {
        self.ends
    }

    /// Not every server has an event of its own for the end.
    fn may_end(&self) -> bool {
        true
    }

    fn finish(&mut self) -> Reading {
        if !self.told.is_empty() {
            self.reading = usage(&std::mem::take(&mut self.told), self.writes);
        }
        Reading {
            failure: self.failure.take(),
            ..std::mem::take(&mut self.reading)
        }
    }
}

/// Members of an event that may count.
const TOLD: [&str; 6] = [
    "usage",
    "meta",
    "timings",
    "x_groq",
    "prompt_eval_count",
    "eval_count",
];

/// Reads the usage of a response.
fn usage(response: &Map<String, Value>, writes: bool) -> Reading {
    let Usage {
        mut tokens,
        total,
        written,
    } = Usage::of_response(response);
    // What has no output tells its total alone, or beside a part of it: pictures that are embedded
    // count in the total only.
    if written.is_none() && !writes {
        tokens.input = tokens.input.max(total);
        tokens.output = None;
    }
    Reading {
        tokens,
        ..Reading::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(body: &str) -> (Option<u64>, Option<u64>) {
        let mut meter = Whole::default();
        meter.body(body.as_bytes());
        let tokens = meter.finish().tokens;
        (tokens.input, tokens.output)
    }

    #[test]
    fn each_companions_words_are_understood() {
        for (body, expected) in [
            (
                r#"{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#,
                (Some(8), None),
            ),
            // An embedded picture.
            (
                r#"{"data":[],"usage":{"prompt_tokens":5,"total_tokens":3576}}"#,
                (Some(3576), None),
            ),
            (
                r#"{"usage":{"input_tokens":50,"output_tokens":4160,"total_tokens":4210}}"#,
                (Some(50), Some(4160)),
            ),
            (
                r#"{"text":"x","usage":{"type":"tokens","input_tokens":14,"output_tokens":101}}"#,
                (Some(14), Some(101)),
            ),
            (
                r#"{"text":"x","usage":{"type":"duration","seconds":27}}"#,
                (None, None),
            ),
            (
                r#"{"results":[],"usage":{"total_tokens":30}}"#,
                (Some(30), None),
            ),
            (
                r#"{"results":[],"meta":{"billed_units":{"search_units":1},"tokens":{"input_tokens":12}}}"#,
                (Some(12), None),
            ),
            // Ollama's embeddings, Voyage, Cohere's embeddings.
            (
                r#"{"embeddings":[[0.5]],"prompt_eval_count":8}"#,
                (Some(8), None),
            ),
            (
                r#"{"data":[],"model":"voyage-3","usage":{"total_tokens":10}}"#,
                (Some(10), None),
            ),
            (
                r#"{"embeddings":{},"meta":{"billed_units":{"input_tokens":4.0},"tokens":{"input_tokens":9}}}"#,
                (Some(4), None),
            ),
            ("not json", (None, None)),
        ] {
            assert_eq!(counts(body), expected, "{body}");
        }
    }
}
