//! Reads usage, finish and tool calls from chat completions and their chunks.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::api::{Meter, Pass, Reading, Tokens};
use crate::wire::sse;

/// Bytes of prompt that stand for a token when the provider never told.
const BYTES_PER_TOKEN: usize = 4;

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<Message>,
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default, deserialize_with = "says_something")]
    content: bool,
    #[serde(default, deserialize_with = "says_something")]
    reasoning_content: bool,
    #[serde(default, deserialize_with = "says_something")]
    refusal: bool,
    #[serde(default)]
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    #[serde(default)]
    index: Option<u32>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

/// True for a non-empty string or list; the text itself is not kept.
fn says_something<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Content<'a> {
        Borrowed(&'a str),
        Owned(String),
        Parts(Vec<IgnoredAny>),
        Other(IgnoredAny),
    }
    Ok(match Content::deserialize(from)? {
        Content::Borrowed(text) => !text.is_empty(),
        Content::Owned(text) => !text.is_empty(),
        Content::Parts(parts) => !parts.is_empty(),
        Content::Other(_) => false,
    })
}

/// Counts one answer.
pub(super) struct ChatMeter {
    hide_usage: bool,
    request_bytes: usize,
    usage: Option<Usage>,
    /// Chunks that carried output: at most a token each for servers that stream by token.
    output_chunks: u64,
    finish_reason: Option<String>,
    tool_calls: u32,
    done: bool,
}

impl ChatMeter {
    pub(super) fn new(hide_usage: bool, request_bytes: usize) -> Self {
        Self {
            hide_usage,
            request_bytes,
            usage: None,
            output_chunks: 0,
            finish_reason: None,
            tool_calls: 0,
            done: false,
        }
    }

    fn choice(&mut self, choice: Choice) -> bool {
        if choice.finish_reason.is_some() {
            self.finish_reason = choice.finish_reason;
        }
        let Some(message) = choice.delta.or(choice.message) else {
            return false;
        };
        let mut says = message.content || message.reasoning_content || message.refusal;
        if let Some(calls) = message.tool_calls {
            says |= !calls.is_empty();
            for (nth, call) in calls.iter().enumerate() {
                // Chunks of one call repeat its index; whole answers have none.
                let index = call.index.unwrap_or(u32::try_from(nth).unwrap_or(u32::MAX));
                self.tool_calls = self.tool_calls.max(index.saturating_add(1));
            }
        }
        says
    }
}

impl Meter for ChatMeter {
    fn event(&mut self, event: &sse::Event<'_>) -> Pass {
        if event.data == b"[DONE]" {
            self.done = true;
            return Pass::Through;
        }
        let Ok(chunk) = serde_json::from_slice::<Chunk>(event.data) else {
            return Pass::Through;
        };
        let mut says = false;
        let only_usage = chunk.usage.is_some() && chunk.choices.as_ref().is_none_or(Vec::is_empty);
        for choice in chunk.choices.into_iter().flatten() {
            says |= self.choice(choice);
        }
        self.output_chunks += u64::from(says);
        if chunk.usage.is_some() {
            self.usage = chunk.usage;
        }
        if only_usage && self.hide_usage {
            Pass::Hidden
        } else {
            Pass::Through
        }
    }

    fn body(&mut self, body: &[u8]) {
        let Ok(whole) = serde_json::from_slice::<Chunk>(body) else {
            return;
        };
        for choice in whole.choices.into_iter().flatten() {
            let says = self.choice(choice);
            self.output_chunks += u64::from(says);
        }
        self.usage = whole.usage;
        self.done = true;
    }

    fn has_output(&self) -> bool {
        self.output_chunks > 0
    }

    fn is_complete(&self) -> bool {
        // Not every server sends `[DONE]`.
        self.done || self.finish_reason.is_some()
    }

    fn finish(&mut self) -> Reading {
        let tokens = match self.usage.take() {
            Some(usage) => Tokens {
                input: usage.prompt_tokens,
                output: usage.completion_tokens,
                cached: usage.prompt_tokens_details.and_then(|d| d.cached_tokens),
                reasoning: usage
                    .completion_tokens_details
                    .and_then(|d| d.reasoning_tokens),
                ..Tokens::default()
            },
            None if self.output_chunks > 0 => Tokens {
                input: Some(self.request_bytes.div_ceil(BYTES_PER_TOKEN) as u64),
                output: Some(self.output_chunks),
                estimated: true,
                ..Tokens::default()
            },
            None => Tokens::default(),
        };
        Reading {
            tokens,
            finish_reason: self.finish_reason.take(),
            tool_calls: self.tool_calls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(hide: bool, events: &[&str]) -> (Vec<Pass>, Reading) {
        let mut meter = ChatMeter::new(hide, 400);
        let passed = events
            .iter()
            .map(|data| {
                meter.event(&sse::Event {
                    name: b"",
                    data: data.as_bytes(),
                })
            })
            .collect();
        (passed, meter.finish())
    }

    #[test]
    fn reads_the_usage_event_and_hides_it_when_asked() {
        let events = [
            r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#,
            r#"{"choices":[{"delta":{"content":"h\u00e9"}}],"usage":null}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,
                "prompt_tokens_details":{"cached_tokens":2}},"timings":{"x":1}}"#,
            "[DONE]",
        ];
        let (passed, reading) = run(true, &events);
        assert_eq!(
            passed.iter().filter(|pass| **pass == Pass::Hidden).count(),
            1
        );
        assert_eq!(passed[3], Pass::Hidden);
        assert_eq!(
            (reading.tokens.input, reading.tokens.output),
            (Some(7), Some(3))
        );
        assert_eq!(reading.tokens.cached, Some(2));
        assert!(!reading.tokens.estimated);
        assert_eq!(reading.finish_reason.as_deref(), Some("stop"));
        let (passed, _) = run(false, &events);
        assert!(passed.iter().all(|pass| *pass == Pass::Through));
    }

    #[test]
    fn an_interrupted_stream_is_estimated_and_says_so() {
        let (_, reading) = run(
            true,
            &[
                r#"{"choices":[{"delta":{"content":"a"}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"name":"f"}}]}}]}"#,
            ],
        );
        assert_eq!(
            (reading.tokens.input, reading.tokens.output),
            (Some(100), Some(2))
        );
        assert!(reading.tokens.estimated);
        assert_eq!(reading.tool_calls, 2);
    }

    #[test]
    fn an_explicit_zero_stays_zero_and_junk_is_unknown() {
        let mut meter = ChatMeter::new(false, 400);
        meter.body(br#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#);
        assert_eq!(meter.finish().tokens.output, Some(0));
        for junk in [
            r#"{"usage":{"prompt_tokens":-1}}"#,
            r#"{"usage":{"prompt_tokens":1e99}}"#,
        ] {
            let mut meter = ChatMeter::new(false, 400);
            meter.body(junk.as_bytes());
            assert_eq!(meter.finish().tokens, Tokens::default());
        }
    }
}
