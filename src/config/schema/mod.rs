//! The declared keys as others read them: as JSON Schema, which editors use, and as the reference in
//! `docs/CONFIGURATION.md`.

mod json;
mod markdown;

pub use json::json_schema;
pub use markdown::reference;

use super::File;
use super::declare::{Key, Kind, Section};

/// The keys of the document.
fn document() -> Vec<Key> {
    File::keys()
}

#[cfg(test)]
pub(crate) mod tests;
