//! Events of another format than the one that was asked for, as a provider behind a wrong adapter
//! sends them. Nobody can put them together, but what they count or say is charged.

use serde_json::{Map, Value};

use super::Tokens;
use super::openai::usage::Usage;
use super::tokens::{roughly, spoken};
use super::tree::{self, add_counts, count};
use crate::wire::sse;

/// Where formats have their usage: at the top, or in one of these.
const PLACES: [&str; 3] = ["message", "response", "result"];
/// Words of Google and Amazon, and OpenAI's for the same.
const WORDS: [(&str, &str); 8] = [
    ("promptTokenCount", "prompt_tokens"),
    ("candidatesTokenCount", "completion_tokens"),
    ("thoughtsTokenCount", "thinking_tokens"),
    ("cachedContentTokenCount", "cached_tokens"),
    ("totalTokenCount", "total_tokens"),
    ("inputTokens", "input_tokens"),
    ("outputTokens", "output_tokens"),
    ("totalTokens", "total_tokens"),
];

/// What such events have told.
#[derive(Default)]
pub(super) struct Foreign {
    reported: Map<String, Value>,
    /// Bytes of text since the provider last counted.
    bytes: u64,
}

impl Foreign {
    /// Takes an event, unless a key, its type or its name starts with one of the format's `marks`.
    pub(super) fn add(&mut self, event: &sse::Event<'_>, marks: &[&str]) {
        let is_own = |word: &str| marks.iter().any(|mark| word.starts_with(mark));
        let name = std::str::from_utf8(event.name).unwrap_or_default();
        let Some(fields) = tree::reduced(event.data) else {
            if !is_own(name) && event.data != b"[DONE]" {
                self.bytes += event.data.len() as u64;
            }
            return;
        };
        let kind = fields.get("type").and_then(Value::as_str);
        if is_own(name) || kind.is_some_and(is_own) || fields.keys().any(|key| is_own(key)) {
            return;
        }
        let value = Value::Object(fields);
        self.bytes = self.bytes.saturating_add(spoken(&value) as u64);
        let inner = PLACES.iter().filter_map(|place| value.get(*place));
        for part in inner.chain([&value]) {
            for key in ["usage", "usageMetadata"] {
                if let Some(Value::Object(usage)) = part.get(key) {
                    self.counted(usage);
                }
            }
        }
    }

    fn counted(&mut self, usage: &Map<String, Value>) {
        let mut usage = usage.clone();
        for (word, known) in WORDS {
            if let Some(value) = usage.remove(word) {
                usage.insert(known.to_owned(), value);
            }
        }
        // The start of a stream counts the prompt, and at most a token of the output.
        let output = ["completion_tokens", "output_tokens"];
        let output = output.iter().filter_map(|key| count(usage.get(*key)?));
        if output.max() > Some(1) {
            self.bytes = 0;
        }
        add_counts(&mut self.reported, usage);
    }

    /// Adds its counts where the format has none, and an estimate of what wasn't counted.
    pub(super) fn fill(&mut self, tokens: &mut Tokens, request_bytes: u64) {
        let reported = std::mem::take(&mut self.reported);
        if tokens.input.is_some() || (reported.is_empty() && self.bytes == 0) {
            return;
        }
        let usage = Map::from_iter([("usage".to_owned(), Value::Object(reported))]);
        let reported = tree::read_object(&usage, Usage::of_response).unwrap_or_default();
        let reported = reported.tokens;
        let uncounted = if tokens.output.is_some() {
            // The format has read the rest.
            tokens.input = reported.input;
            0
        } else {
            *tokens = reported;
            self.bytes
        };
        tokens.estimated |= uncounted > 0 || tokens.input.is_none();
        tokens.input = tokens.input.or(Some(roughly(request_bytes)));
        let output = tokens.output.unwrap_or(0);
        tokens.output = Some(output.saturating_add(roughly(uncounted)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(marks: &[&str], events: &[&str]) -> (Option<u64>, Option<u64>, bool) {
        let mut foreign = Foreign::default();
        for data in events {
            let data = data.as_bytes();
            foreign.add(&sse::Event { name: b"", data }, marks);
        }
        let mut tokens = Tokens::default();
        foreign.fill(&mut tokens, 400);
        (tokens.input, tokens.output, tokens.estimated)
    }

    #[test]
    fn what_another_formats_events_count_or_say_is_charged() {
        for (events, expected) in [
            (
                &[
                    r#"{"choices":[{"delta":{"content":"twelve bytes"}}]}"#,
                    r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1000}}"#,
                ][..],
                (Some(5), Some(1000), false),
            ),
            (
                &[
                    r#"{"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1}}}"#,
                    r#"{"type":"content_block_delta","delta":{"text":"twelve bytes"}}"#,
                    r#"{"type":"message_delta","usage":{"output_tokens":1000}}"#,
                ],
                (Some(5), Some(1000), false),
            ),
            (
                &[
                    r#"{"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":900,"thoughtsTokenCount":100,"totalTokenCount":1005}}"#,
                ],
                (Some(5), Some(1000), false),
            ),
            (
                &[r#"{"usage":{"inputTokens":5,"outputTokens":1000,"totalTokens":1005}}"#],
                (Some(5), Some(1000), false),
            ),
            (
                &[
                    r#"{"type":"response.completed","response":{"usage":{"input_tokens":5,"output_tokens":1000}}}"#,
                ],
                (Some(5), Some(1000), false),
            ),
            // Without a count, the text counts.
            (
                &[r#"{"words":"twelve bytes"}"#, "four"],
                (Some(100), Some(4), true),
            ),
            (&[r#"{"type":"ping"}"#], (None, None, false)),
            (
                &[r#"{"own":"twelve bytes"}"#, r#"{"type":"own.x","a":"b"}"#],
                (None, None, false),
            ),
        ] {
            assert_eq!(read(&["own"], events), expected, "{events:?}");
        }
    }
}
