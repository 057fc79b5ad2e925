//! What the fuzz targets share: a request of each format, and its meter fed in two ways that
//! must come to the same.

pub mod translated;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use iris::formats::{ALL, Call, Destination, Format, Head, Reading};
use iris::wire::{event_stream, ndjson, sse};

/// Room that a meter gets: small, so that running out of it is tried too.
const ROOM: usize = 4096;

/// A format by its name.
#[must_use]
pub fn api(kind: &str) -> &'static Format {
    ALL.iter()
        .copied()
        .find(|api| api.name == kind)
        .unwrap_or_else(|| panic!("no format is called {kind}"))
}

/// Reads a request as JSON.
///
/// # Errors
/// When the format refuses it.
pub fn read(api: &Format, path: &str, body: &[u8]) -> Result<Call, iris::wire::Rejection> {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let head = Head {
        path,
        query: Some("alt=sse"),
        headers: &headers,
    };
    api.read(&head, Bytes::copy_from_slice(body))
}

/// A request body for a format: whatever is accepted must be sendable, as JSON.
pub fn request(kind: &str, path: &str, body: &[u8]) {
    let api = api(kind);
    let Ok(call) = read(api, path, body) else {
        return;
    };
    let to = Destination {
        model: "other-model",
        project: Some("project"),
        region: Some("region"),
        flags: &[],
    };
    if let Ok(out) = api.prepare(&call, &to) {
        serde_json::from_slice::<serde_json::Value>(&out.body).expect("JSON stays JSON");
    }
}

/// An answer to a request: as a whole, and as a stream in pieces of two sizes.
pub fn answer(kind: &str, path: &str, body: &str, data: &[u8]) {
    let api = api(kind);
    let call = read(api, path, body.as_bytes()).expect("the sample is a request");
    let mut meter = api.meter(&call.metered(ROOM));
    meter.body(data);
    plausible(&meter.finish());
    let whole = stream(api, &call, data, usize::MAX);
    plausible(&whole);
    assert_eq!(stream(api, &call, data, 7), whole);
}

fn stream(api: &Format, call: &Call, data: &[u8], size: usize) -> Reading {
    let mut meter = api.meter(&call.metered(ROOM));
    let amazon = api.name.starts_with("bedrock");
    let (mut text, mut frames) = (sse::Decoder::default(), event_stream::Decoder::default());
    let mut lines = ndjson::Decoder::new(sse::MAX_EVENT);
    // A mutated message has no right checksums: its payloads are given as lines of text.
    for piece in data.chunks(size.min(data.len().max(1))) {
        if amazon && data.first() == Some(&0) {
            frames.feed(piece, |event| {
                meter.event(&event);
            });
        } else if api.has_lines {
            lines.feed(piece, |event| {
                meter.event(&event);
            });
        } else {
            text.feed(piece, |event| {
                meter.event(&event);
            });
        }
    }
    meter.finish()
}

fn plausible(reading: &Reading) {
    if let Some(response) = &reading.response {
        assert!(
            response.len() < 64 * ROOM + (2 << 20),
            "a stream without end"
        );
    }
}
