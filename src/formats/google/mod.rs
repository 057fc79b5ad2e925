//! What the formats of Google's APIs share: Gemini's developer API and Vertex.

pub(super) mod error;
pub(super) mod path;
pub(super) mod vertex;
