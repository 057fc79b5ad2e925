//! Usage as `Converse` and Nova tell it: like Anthropic, they count tokens of the prompt apart
//! from those that the cache served or took.

use serde::Deserialize;
use serde_json::Value;

use crate::api::Tokens;
use crate::api::meter::{count, sum};

/// Both spellings of the cache's counts are in use, sometimes side by side.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Usage {
    #[serde(deserialize_with = "count")]
    input_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    output_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    cache_read_input_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    cache_read_input_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    cache_write_input_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    cache_write_input_token_count: Option<u64>,
    cache_details: Value,
}

impl Usage {
    pub(super) fn tokens(&self) -> Tokens {
        let cached = self
            .cache_read_input_tokens
            .or(self.cache_read_input_token_count);
        let (five, hour) = (self.written_for("5m"), self.written_for("1h"));
        let written = self
            .cache_write_input_tokens
            .or(self.cache_write_input_token_count)
            .or(sum(&[five, hour]));
        Tokens {
            input: self
                .input_tokens
                .and_then(|own| sum(&[Some(own), cached, written])),
            output: self.output_tokens,
            cached,
            cache_write: written,
            cache_write_5m: five,
            cache_write_1h: hour,
            ..Tokens::default()
        }
    }

    /// Tokens written to live for so long.
    fn written_for(&self, life: &str) -> Option<u64> {
        let counts: Vec<Option<u64>> = self
            .cache_details
            .as_array()?
            .iter()
            .filter(|detail| detail["ttl"] == life)
            .map(|detail| detail["inputTokens"].as_u64())
            .collect();
        sum(&counts)
    }
}
