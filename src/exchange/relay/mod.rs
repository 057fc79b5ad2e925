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

use http::{HeaderMap, header};

use crate::formats::Format;
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

/// How a response of a format is cut into events, if its head says so.
pub(super) fn framing(headers: &HeaderMap, format: &Format) -> Option<Framing> {
    let kind = headers.get(header::CONTENT_TYPE)?;
    if kind == "application/json" {
        return None;
    }
    let kind = kind.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let framings = [
        ("text/event-stream", Framing::Text),
        ("application/vnd.amazon.eventstream", Framing::Amazon),
        ("application/x-ndjson", Framing::Ndjson),
    ];
    let mut framings = framings.into_iter();
    let (_, framing) = framings.find(|(name, _)| kind.eq_ignore_ascii_case(name))?;
    // A format with events of text has no error that could stand in a line.
    (framing != Framing::Ndjson || format.has_lines).then_some(framing)
}
