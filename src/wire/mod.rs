//! HTTP toolkit that knows nothing of models: bodies, header rules, streams of events,
//! the strict JSON scan and the shape of a refusal.

pub mod body;
pub mod decode;
pub mod event_stream;
mod framing;
mod header_list;
pub mod headers;
pub mod hops;
pub mod json;
mod mask;
pub mod multipart;
pub mod ndjson;
pub mod rejection;
mod revocation;
pub mod sse;
pub mod text;
pub mod unpack;

pub use body::Body;
pub use framing::Framing;
pub use header_list::HeaderList;
pub use mask::Mask;
pub use rejection::{Code, Rejection};
pub use revocation::{Revocation, revocation};
pub use text::harmless;
