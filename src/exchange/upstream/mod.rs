//! Towards the provider: a caller's request, with credential and headers, and the wait for its
//! first byte.

mod limits;
mod send;
mod socket;

pub use limits::asked_wait;
pub use send::{Failure, Upstream};
pub use socket::{Handshake, Socket, Unsent};
