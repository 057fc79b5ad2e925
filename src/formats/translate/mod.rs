//! Translation: where no provider that a caller may use speaks the caller's format, the request is
//! written in a format that one speaks, and its response in the caller's.
//!
//! ```text
//! caller's request  ─ read_request ─▶ Request ─ write_request ─▶ provider's request
//! caller's response ◀─ writer ─ Events ◀─ reader ─ provider's response
//! ```
//!
//! Each format brings a [`Codec`] to and from one small form in the middle, so that each pair of formats
//! is translated without code of its own. The form has what at least two formats can express. A reader of
//! requests takes each field out of the body and refuses by name what is left, so that no meaning is lost
//! in silence. What only some formats have is a [`Feature`]: each codec lists those of its callers and
//! those of its providers, and [`request()`] refuses or leaves out what doesn't fit, before anything is
//! written.

mod asks;
#[cfg(test)]
pub(in crate::formats) mod checks;
mod claude;
mod codec;
#[cfg(test)]
mod documented;
#[cfg(test)]
mod drops;
mod event;
mod feature;
mod fields;
mod freeform;
mod ids;
mod json;
mod part;
mod request;
#[cfg(test)]
mod round_trips;
mod seal;
mod strip;
#[cfg(test)]
mod tests;
mod translation;
mod usage;
mod vectors;

pub use claude::{Claude, ClaudeSettings};
pub use codec::{
    Codec, Count, EventReader, EventWriter, Failure, Inbound, Outbound, Sequence, hold, write_sse,
};
pub use event::{Collector, Delta, Event, Open, Response, Stop};
pub use feature::{Feature, Field, Need};
pub use fields::{Fields, Item, TextOrList, Untranslatable, note};
pub use ids::{fit as fit_id, new as new_id, now, or_new as id_or_new, shorten};
pub(in crate::formats) use json::object;
pub use json::{Json, Object};
pub use part::{
    CacheMark, Citation, Content, InDocument, LogProb, Media, MediaKind, Part, Source, Text,
    Thought, ToolCall, ToolResult, Unit,
};
pub use request::{Delivery, Effort, Output, Reasoning, Request, Role, Tool, ToolChoice, Turn};
pub use seal::{Seal, SealKind};
pub(in crate::formats) use strip::without_seals;
pub use translation::{LONGEST, ResponseTranslator, Translated, Translator, request};
pub use usage::Usage;
pub use vectors::{Texts, VectorCaller, VectorProvider, VectorTranslator, Vectors};
