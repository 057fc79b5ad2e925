//! What the formats of OpenAI's API share.

pub(super) mod error;
pub(super) mod logprobs;
pub(super) mod transcript;
pub(super) mod usage;
