//! Usage as OpenAI's APIs and their look-alikes tell it. There are two sets of words, an older one
//! (`prompt_tokens`, `completion_tokens`) and a newer one (`input_tokens`, `output_tokens`).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Tokens;
use super::meter::{count, part};

/// What an object `usage` tells.
#[derive(Default)]
pub(super) struct Usage {
    pub tokens: Tokens,
    /// All tokens, which some APIs tell alone.
    pub total: Option<u64>,
}

/// The object, its parts read apart from each other: a surprise in one must not lose the rest.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(default, deserialize_with = "count")]
    prompt_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    completion_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    output_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    total_tokens: Option<u64>,
    /// The word of `DeepSeek` for cached tokens.
    #[serde(default, deserialize_with = "count")]
    prompt_cache_hit_tokens: Option<u64>,
    #[serde(borrow, default)]
    prompt_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    completion_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_tokens_details: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct Details {
    #[serde(default, deserialize_with = "count")]
    cached_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    cache_write_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    reasoning_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    image_tokens: Option<u64>,
}

impl Usage {
    /// Reads it; `None` if there is none.
    pub(super) fn read(usage: Option<&RawValue>) -> Option<Self> {
        let usage = usage?.get();
        // A list would be taken for the members in their order.
        let told: Told<'_> = serde_json::from_str(usage)
            .ok()
            .filter(|_| usage.starts_with('{'))?;
        let input: Details = part(told.prompt_tokens_details)
            .or_else(|| part(told.input_tokens_details))
            .unwrap_or_default();
        let output: Details = part(told.completion_tokens_details)
            .or_else(|| part(told.output_tokens_details))
            .unwrap_or_default();
        Some(Self {
            tokens: Tokens {
                input: told.prompt_tokens.or(told.input_tokens),
                output: told.completion_tokens.or(told.output_tokens),
                cached: input.cached_tokens.or(told.prompt_cache_hit_tokens),
                cache_write: input.cache_write_tokens,
                reasoning: output.reasoning_tokens,
                image_input: input.image_tokens,
                image_output: output.image_tokens,
                ..Tokens::default()
            },
            total: told.total_tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(usage: &str) -> Option<Tokens> {
        let raw = RawValue::from_string(usage.to_owned()).unwrap();
        Usage::read(Some(&raw)).map(|usage| usage.tokens)
    }

    #[test]
    fn both_sets_of_words_say_the_same() {
        let older = r#"{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4},
            "completion_tokens_details":{"reasoning_tokens":2}}"#;
        let newer = older
            .replace("prompt", "input")
            .replace("completion", "output");
        let told = tokens(older).unwrap();
        assert_eq!((told.input, told.cached), (Some(9), Some(4)));
        assert_eq!((told.output, told.reasoning), (Some(5), Some(2)));
        assert_eq!(tokens(&newer), Some(told));
    }

    #[test]
    fn a_surprise_loses_only_itself() {
        for odd in ["7", "null", "[]", r#"{"cached_tokens":-1}"#, r#""x""#] {
            let usage = format!(r#"{{"prompt_tokens":9,"prompt_tokens_details":{odd}}}"#);
            let told = tokens(&usage).unwrap();
            assert_eq!((told.input, told.cached), (Some(9), None), "{odd}");
        }
        assert_eq!(tokens("[1]"), None);
    }
}
