//! Bytes back to the caller as they come, with a meter beside them and a record at the end.

mod begun;
mod body;
mod live;
mod shape;
mod sniff;
mod tee;
mod translating;
mod whole;

use std::time::Duration;

use crate::wire::Framing;

pub(super) use begun::{Begun, Unheld};
pub(super) use body::{Reader, RelayBody};
pub use live::rests_ended;
pub(super) use live::{REST_BYTES, REST_TIME, rest};
pub(super) use translating::Translating;

/// What is known of a response from its head, and the bounds on it.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Form {
    /// Its status is not that of a success.
    pub(super) is_error: bool,
    /// Its status says that no body follows.
    pub(super) is_bodiless: bool,
    /// It comes bit by bit, while the model works.
    pub(super) is_stream: bool,
    /// How it is cut into events, if it is.
    pub(super) framing: Option<Framing>,
    /// One of the events may be for the gateway alone.
    pub(super) hides: bool,
    /// Bytes of it that may be kept for a capture.
    pub(super) room: usize,
    /// Whether the capture has the bytes as they came, besides.
    pub(super) raw: bool,
    /// Longest wait between two pieces; zero waits without end.
    pub(super) idle: Duration,
    /// Longest time for the whole; zero for no bound.
    pub(super) total: Duration,
}
