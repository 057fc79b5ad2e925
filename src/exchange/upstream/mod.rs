//! Towards the provider: a caller's request, with credential and headers, and the wait for its
//! first byte.

mod limits;
mod send;
mod socket;

pub(super) use limits::asked_wait;
pub use send::Upstream;
pub use socket::Socket;
pub(super) use socket::{Handshake, Unsent};
