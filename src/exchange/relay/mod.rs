//! Bytes back to the caller as they come, with a meter beside them and a record at the end.

mod begun;
mod blobs;
mod body;
mod charge;
mod ending;
mod live;
mod recording;
mod sniff;
mod tee;
mod whole;

pub use begun::Begun;
pub use body::{Form, Reader, RelayBody, Watch};
pub use ending::Ending;
pub use live::{REST_BYTES, REST_TIME, rest, rests_ended};
pub use recording::{Ended, Recording};
