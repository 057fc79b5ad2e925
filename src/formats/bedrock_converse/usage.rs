//! Usage as `Converse` and Nova report it: like Anthropic, they count tokens of the prompt apart
//! from those that the cache served or took.

use serde_json::{Map, Value};

use crate::formats::Tokens;
use crate::formats::meter::sum;
use crate::formats::tree::{count, highest};

/// Both spellings of the cache's counts are in use, sometimes side by side.
const CACHED: [&str; 2] = ["cacheReadInputTokens", "cacheReadInputTokenCount"];
const WRITTEN: [&str; 2] = ["cacheWriteInputTokens", "cacheWriteInputTokenCount"];

/// Reads an object `usage`.
pub(super) fn tokens(usage: &Map<String, Value>) -> Tokens {
    let cached = highest(usage, &CACHED);
    let (five, hour) = (written_for(usage, "5m"), written_for(usage, "1h"));
    let written = highest(usage, &WRITTEN).or(sum(&[five, hour]));
    Tokens {
        input: highest(usage, &["inputTokens", "inputTokenCount"])
            .and_then(|own| sum(&[Some(own), cached, written])),
        output: highest(usage, &["outputTokens", "outputTokenCount"]),
        cached,
        cache_write: written,
        cache_write_5m: five,
        cache_write_1h: hour,
        ..Tokens::default()
    }
}

/// Tokens written to live for so long.
fn written_for(usage: &Map<String, Value>, life: &str) -> Option<u64> {
    let details = usage.get("cacheDetails")?.as_array()?;
    let counts: Vec<Option<u64>> = details
        .iter()
        .filter(|detail| detail["ttl"] == life)
        .map(|detail| count(&detail["inputTokens"]))
        .collect();
    sum(&counts)
}
