//! How a stream is cut into events.

use super::{event_stream, ndjson, sse};

/// How a stream is cut into events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Text,
    /// Amazon's event stream.
    Amazon,
    /// JSON line by line.
    Ndjson,
}

impl Framing {
    /// Calls `each` with the data of every whole event in `bytes` of at most `longest` bytes.
    pub fn data(self, bytes: &[u8], longest: usize, mut each: impl FnMut(&[u8])) {
        match self {
            Self::Text => sse::Decoder::new(longest).feed(bytes, |event| each(event.data)),
            Self::Amazon => event_stream::Decoder::default().feed(bytes, |event| each(event.data)),
            Self::Ndjson => ndjson::Decoder::new(longest).feed(bytes, |event| each(event.data)),
        };
    }
}
