//! Usage as `Converse` and Nova report it: like Anthropic, they count tokens of the prompt apart
//! from those that the cache served or took.

use serde_json::{Map, Value};

use crate::formats::Tokens;
use crate::formats::tree::{count, highest, list, sum};

/// Both spellings of the cache's counts are in use, sometimes side by side.
const CACHED: [&str; 2] = ["cacheReadInputTokens", "cacheReadInputTokenCount"];
const WRITTEN: [&str; 2] = ["cacheWriteInputTokens", "cacheWriteInputTokenCount"];

/// Reads an object `usage`.
pub(in crate::formats) fn tokens(usage: &Map<String, Value>) -> Tokens {
    let cached = highest(usage, &CACHED);
    let (five, hour) = (written_for(usage, "5m"), written_for(usage, "1h"));
    let written = highest(usage, &WRITTEN).or(sum([five, hour]));
    Tokens {
        input: highest(usage, &["inputTokens", "inputTokenCount"])
            .and_then(|own| sum([Some(own), cached, written])),
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
    let details = list(usage, "cacheDetails").iter();
    let details = details.filter(|detail| detail["ttl"] == life);
    sum(details.map(|detail| count(&detail["inputTokens"])))
}
