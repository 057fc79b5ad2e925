//! The counts that the provider claims, different for each response, so that no two can be mixed up.

use serde_json::{Value, json};

/// Counts as the gateway has them: `input` holds what a cache took or served, `output` holds
/// reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    pub cached: u64,
    /// Prompt tokens that the cache took; only Anthropic and Bedrock count them.
    pub written: u64,
    pub reasoning: u64,
}

impl Usage {
    /// The counts of the `nth` answer.
    pub fn nth(nth: u64) -> Self {
        Self {
            input: 1000 + 13 * nth,
            output: 40 + nth,
            cached: 300 + nth,
            written: 0,
            reasoning: 7,
        }
    }

    /// As the nth answer of Anthropic counts.
    pub fn nth_of_anthropic(nth: u64) -> Self {
        Self {
            written: 20 + nth,
            reasoning: 0,
            ..Self::nth(nth)
        }
    }

    pub fn chat(&self) -> Value {
        json!({
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
            "prompt_tokens_details": { "cached_tokens": self.cached },
            "completion_tokens_details": { "reasoning_tokens": self.reasoning },
        })
    }

    pub fn responses(&self) -> Value {
        json!({
            "input_tokens": self.input,
            "input_tokens_details": { "cached_tokens": self.cached },
            "output_tokens": self.output,
            "output_tokens_details": { "reasoning_tokens": self.reasoning },
            "total_tokens": self.input + self.output,
        })
    }

    pub fn realtime(&self) -> Value {
        json!({
            "input_tokens": self.input,
            "input_token_details": {
                "text_tokens": self.input, "audio_tokens": 0, "cached_tokens": self.cached,
                "cached_tokens_details": { "text_tokens": self.cached, "audio_tokens": 0 },
            },
            "output_tokens": self.output,
            "output_token_details": { "text_tokens": self.output, "audio_tokens": 0 },
            "total_tokens": self.input + self.output,
        })
    }

    /// Anthropic counts apart what the cache took and what it served.
    pub fn anthropic(&self) -> Value {
        json!({
            "input_tokens": self.input - self.cached - self.written,
            "cache_creation_input_tokens": self.written,
            "cache_read_input_tokens": self.cached,
            "output_tokens": self.output,
        })
    }

    /// So does Bedrock.
    pub fn bedrock(&self) -> Value {
        json!({
            "inputTokens": self.input - self.cached - self.written,
            "cacheReadInputTokens": self.cached,
            "cacheWriteInputTokens": self.written,
            "outputTokens": self.output,
            "totalTokens": self.input + self.output,
        })
    }

    /// The live API has a word of its own for what is written.
    pub fn live(&self) -> Value {
        json!({
            "promptTokenCount": self.input,
            "cachedContentTokenCount": self.cached,
            "responseTokenCount": self.output - self.reasoning,
            "thoughtsTokenCount": self.reasoning,
            "totalTokenCount": self.input + self.output,
        })
    }

    /// Gemini counts thoughts apart.
    pub fn gemini(&self) -> Value {
        json!({
            "promptTokenCount": self.input,
            "cachedContentTokenCount": self.cached,
            "candidatesTokenCount": self.output - self.reasoning,
            "thoughtsTokenCount": self.reasoning,
            "totalTokenCount": self.input + self.output,
        })
    }
}
