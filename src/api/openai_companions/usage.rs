//! Usage of the companions: answers are passed on and read for it alone.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::meter::part;
use crate::api::openai_usage::Usage;
use crate::api::{Meter, Pass, Reading, Tokens, failure};
use crate::wire::sse;

/// A meter that looks for usage in the whole answer, or in the events of a stream.
#[derive(Default)]
pub(super) struct Whole {
    reading: Reading,
    failure: Option<String>,
    spoke: bool,
    ends: bool,
}

impl Meter for Whole {
    fn event(&mut self, event: &sse::Event<'_>) -> Pass {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(default, rename = "type")]
            kind: Option<&'a str>,
        }
        self.spoke = true;
        let kind = serde_json::from_slice::<Kind<'_>>(event.data)
            .ok()
            .and_then(|event| event.kind);
        // `image_generation.completed`, `transcript.text.done`, `speech.audio.done`.
        self.ends |= event.data == b"[DONE]"
            || kind.is_some_and(|kind| {
                let last = kind.rsplit('.').next();
                matches!(last, Some("completed" | "done"))
            });
        let reading = usage(event.data);
        if reading != Reading::default() {
            self.reading = reading;
        }
        if let Some(words) = failure::of_event(event) {
            self.failure.get_or_insert(words);
            self.ends = true;
        }
        Pass::Through
    }

    fn body(&mut self, body: &[u8]) {
        self.reading = usage(body);
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
        Reading {
            failure: self.failure.take(),
            ..std::mem::take(&mut self.reading)
        }
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    meta: Option<&'a RawValue>,
}

/// Reads the usage of an answer.
fn usage(body: &[u8]) -> Reading {
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else {
        return Reading::default();
    };
    let tokens = match Usage::read(answer.usage) {
        // What has no output may tell its total alone.
        Some(Usage { tokens, total }) => Tokens {
            input: tokens.input.or(total.filter(|_| tokens.output.is_none())),
            ..tokens
        },
        None => billed(part(answer.meta)),
    };
    Reading {
        tokens,
        ..Reading::default()
    }
}

/// The units of Cohere's `meta.tokens` or `meta.billed_units`.
fn billed(meta: Option<Value>) -> Tokens {
    let meta = meta.unwrap_or_default();
    let count = |key: &str| {
        ["/tokens/", "/billed_units/"].iter().find_map(|units| {
            meta.pointer(&format!("{units}{key}"))
                .and_then(Value::as_u64)
        })
    };
    Tokens {
        input: count("input_tokens"),
        output: count("output_tokens"),
        ..Tokens::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(body: &str) -> (Option<u64>, Option<u64>) {
        let tokens = usage(body.as_bytes()).tokens;
        (tokens.input, tokens.output)
    }

    #[test]
    fn each_companions_words_are_understood() {
        for (body, expected) in [
            (
                r#"{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#,
                (Some(8), None),
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
            ("not json", (None, None)),
        ] {
            assert_eq!(counts(body), expected, "{body}");
        }
    }
}
