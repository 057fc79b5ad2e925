//! Token counts of one request, as the provider reports them.

use serde::Serialize;

/// Counts by kind; `None` where the provider said nothing, which is not the same as zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Prompt tokens, cached ones included.
    pub input: Option<u64>,
    /// Tokens that the model wrote, reasoning included.
    pub output: Option<u64>,
    /// Prompt tokens served from the provider's cache.
    pub cache_read: Option<u64>,
    /// Prompt tokens written to the provider's cache.
    pub cache_write: Option<u64>,
    /// Tokens of reasoning that the caller doesn't see.
    pub reasoning: Option<u64>,
    /// Counted by the gateway from what passed, because the provider's count never came.
    pub estimated: bool,
}
