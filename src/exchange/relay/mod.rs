//! Bytes back to the caller as they come, with a meter beside them and a record at the end.

mod begun;
mod body;
mod live;
mod sniff;
mod tee;
mod whole;

pub use begun::Begun;
pub use body::{Form, Reader, RelayBody, Watch};
pub use live::{REST_BYTES, REST_TIME, rest, rests_ended};
