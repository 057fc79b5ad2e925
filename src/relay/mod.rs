//! Bytes back to the caller as they come, with a meter beside them and a record at the end.

mod body;
mod recording;

pub use body::{Form, RelayBody, Watch};
pub use recording::Recording;
