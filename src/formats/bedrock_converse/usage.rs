//! Usage as `Converse` and Nova report it: like Anthropic, they count tokens of the prompt apart
//! from those that the cache served or took.

use crate::formats::Tokens;
use crate::formats::tree::{counted, highest, list, sum};
use crate::wire::json::Part;

/// Both spellings of the cache's counts are in use, sometimes side by side.
const CACHED: [&str; 2] = ["cacheReadInputTokens", "cacheReadInputTokenCount"];
const WRITTEN: [&str; 2] = ["cacheWriteInputTokens", "cacheWriteInputTokenCount"];

/// Reads an object `usage`.
pub(in crate::formats) fn tokens(usage: Part<'_>) -> Tokens {
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
fn written_for(usage: Part<'_>, life: &str) -> Option<u64> {
    let lives = |detail: &Part<'_>| detail.get("ttl").is_some_and(|ttl| ttl.is(life));
    let details = list(usage, "cacheDetails").filter(lives);
    sum(details.map(|detail| counted(detail.get("inputTokens")?)))
}
