//! Usage of the companions: responses are passed on and read for it alone.

use serde_json::{Map, Value};

use crate::formats::openai::usage::Usage;
use crate::formats::tree::{self, add_counts};
use crate::formats::{Density, Meter, Pass, Reading, failure};
use crate::wire::json::Part;
use crate::wire::sse;

/// A meter that looks for usage in the whole response, or in the events of a stream.
#[derive(Default)]
pub(in crate::formats) struct Whole {
    /// What a stream has told so far.
    reported: Map<String, Value>,
    reading: Reading,
    failure: Option<String>,
    spoke: bool,
    ends: bool,
    /// What its bytes stand for.
    density: Density,
}

impl Whole {
    pub(in crate::formats) fn new(density: Density) -> Self {
        Self {
            density,
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
        let reported = parts.filter(|(key, _)| REPORTED.contains(&key.as_str()));
        add_counts(&mut self.reported, reported.collect());
        if let Some(words) = failure::of_event(event) {
            self.failure.get_or_insert(words);
            self.ends = true;
        }
        Pass::Through
    }

    fn body(&mut self, body: &[u8]) {
        let density = self.density;
        self.reading =
            tree::read_reduced(body, |response| usage(response, density)).unwrap_or_default();
        self.reading.is_foreign = is_foreign(body, self.density);
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
        if !self.reported.is_empty() {
            let reported = std::mem::take(&mut self.reported);
            let reading = tree::read_object(&reported, |all| usage(all, self.density));
            self.reading = reading.unwrap_or_default();
        }
        Reading {
            failure: self.failure.take(),
            ..std::mem::take(&mut self.reading)
        }
    }
}

/// Members of an event that may count.
const REPORTED: [&str; 6] = [
    "usage",
    "meta",
    "timings",
    "x_groq",
    "prompt_eval_count",
    "eval_count",
];

/// Reads the usage of a response.
fn usage(response: Part<'_>, density: Density) -> Reading {
    let Usage {
        mut tokens,
        total,
        written,
    } = Usage::of_response(response);
    let total_alone = total.filter(|_| tokens.input.is_none() && tokens.output.is_none());
    let writes = density.answered.is_some();
    // What has no output tells its total alone, or beside a part of it: pictures that are embedded
    // count in the total only.
    if written.is_none() && !writes {
        tokens.input = tokens.input.max(total);
        tokens.output = None;
    }
    Reading {
        tokens,
        total: total_alone.filter(|_| writes),
        linked: if density == Density::PICTURES {
            linked(response)
        } else {
            0
        },
        model: response.word("model"),
        ..Reading::default()
    }
}

/// Pictures that a response links to.
fn linked(response: Part<'_>) -> u64 {
    let is_link = |one: &Part<'_>| {
        let place = ["url", "image_url", "uri", "gcsUri"]
            .iter()
            .find_map(|key| one.get(key));
        let text = place.unwrap_or(*one).text();
        let is_place = |text: &str| {
            ["http", "gs://", "s3://"]
                .iter()
                .any(|at| text.starts_with(at))
        };
        text.is_some_and(|text| is_place(&text))
    };
    let lists = ["data", "images", "output"];
    let all = lists.iter().flat_map(|key| tree::list(response, key));
    all.filter(is_link).count() as u64
}

/// Whether a body is nothing that such an API answers with. Sound, transcripts and pictures can be
/// as they are; a list of scores or vectors needs no object around it.
fn is_foreign(body: &[u8], density: Density) -> bool {
    let body = body.trim_ascii();
    let page = ["<!doctype html", "<html"];
    let is_page = page.iter().any(|start| {
        let begins = body.get(..start.len());
        begins.is_some_and(|begins| begins.eq_ignore_ascii_case(start.as_bytes()))
    });
    if is_page || body == b"{}" {
        return true;
    }
    let is_json_alone = density == Density::VECTORS || density == Density::PICTURES;
    let is_json = matches!(body.first(), Some(b'{' | b'['));
    is_json_alone && !is_json && std::str::from_utf8(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(body: &str) -> (Option<u64>, Option<u64>) {
        let mut meter = Whole::new(Density::VECTORS);
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
