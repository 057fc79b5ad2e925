//! What the formats of Amazon Bedrock share.

pub(super) mod error;
pub(super) mod path;
pub(super) mod tools;
