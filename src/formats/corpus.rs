//! Recorded exchanges: what each format's tests have in common. A stream must read the same
//! however it is cut, and as the response that would have come unstreamed.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Call, Format, Head, Meter, MeteredRequest, Pass, Path, Reading};
use crate::wire::{Rejection, event_stream, ndjson, sse};

/// One exchange; each part is a file beside the format.
pub(super) struct Exchange {
    pub name: &'static str,
    /// What the caller sends.
    pub request: &'static str,
    /// The response unstreamed; empty for a stream that broke off.
    pub response: &'static str,
    /// The same response as server-sent events or lines; empty for methods without streams. In Amazon's
    /// framing it is a list of messages in JSON: name and payload.
    pub stream: &'static str,
    pub framing: Framing,
    /// `tokens` without those that are unknown, `finish_reason`, `tool_calls`, `tier`, `complete`,
    /// and `failure` where there is one.
    pub expected: &'static str,
}

/// A request as a format understands it.
pub(super) fn ask(format: &Format, path: &str, body: &str) -> Result<Call, Rejection> {
    let head = Head {
        path,
        query: None,
        headers: &http::HeaderMap::new(),
    };
    format.read(&head, Bytes::copy_from_slice(body.as_bytes()))
}

/// A request of so many bytes, whose meter may hold `room` bytes.
pub(super) fn metered(text_bytes: u64, room: usize) -> MeteredRequest<'static> {
    static PATH: Path = Path::Fixed(Cow::Borrowed(""));
    MeteredRequest {
        path: &PATH,
        billed: true,
        hide_usage: false,
        text_bytes,
        room,
    }
}

/// Feeds a meter one event.
pub(super) fn feed(meter: &mut dyn Meter, name: &str, data: &str) -> Pass {
    meter.event(&sse::Event {
        name: name.as_bytes(),
        data: data.as_bytes(),
    })
}

/// How a stream is cut into events.
#[derive(Clone, Copy)]
pub(super) enum Framing {
    Text,
    /// Amazon's, whose payloads are the events.
    Amazon,
    /// Amazon's, with the events packed in chunks.
    AmazonChunks,
    /// JSON line by line.
    Ndjson,
}

/// Lists exchanges of the folder `fixtures` beside a format's tests by their names.
macro_rules! exchanges {
    ($($name:literal),* $(,)?) => {
        $crate::formats::corpus::exchanges!(Text ".stream.txt": $($name),*)
    };
    ($framing:ident $ending:literal: $($name:literal),* $(,)?) => {
        [$($crate::formats::corpus::Exchange {
            name: $name,
            framing: $crate::formats::corpus::Framing::$framing,
            request: include_str!(concat!("fixtures/", $name, ".request.json")),
            response: include_str!(concat!("fixtures/", $name, ".response.json")),
            stream: include_str!(concat!("fixtures/", $name, $ending)),
            expected: include_str!(concat!("fixtures/", $name, ".expected.json")),
        }),*]
    };
}
pub(super) use exchanges;

/// Checks an exchange; `meter` makes a new one each time, which has so much room.
pub(super) fn check(exchange: &Exchange, meter: impl Fn(usize) -> Box<dyn Meter>) {
    let name = exchange.name;
    scarce(exchange, &meter);
    let meter = || meter(1 << 20);
    let expected = value(exchange.expected);
    let stream = bytes(exchange);
    let stream = stream.as_slice();
    let streamed = |pieces: &[&[u8]]| streamed(exchange.framing, &meter, pieces);
    let whole = streamed(&[stream]);
    if !stream.is_empty() {
        assert_eq!(reported(&whole), expected, "{name}: the stream");
        if !exchange.response.is_empty() {
            let response = whole.0.response.as_deref().unwrap_or_default();
            let response: Value = serde_json::from_slice(response).unwrap();
            assert_eq!(response, value(exchange.response), "{name}: put together");
        }
        for at in 0..=stream.len() {
            let (first, second) = stream.split_at(at);
            assert_eq!(streamed(&[first, second]), whole, "{name}: cut at {at}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(streamed(&bytes), whole, "{name}: byte by byte");
    }
    bent(exchange, &meter);
    if !exchange.response.is_empty() {
        let mut meter = meter();
        meter.body(exchange.response.as_bytes());
        let read = reported(&(meter.finish(), true));
        for key in ["tokens", "finish_reason", "tool_calls", "tier"] {
            assert_eq!(read[key], expected[key], "{name}: {key} of the answer");
        }
    }
}

/// What was used is read where little of the response is held.
fn scarce(exchange: &Exchange, meter: &impl Fn(usize) -> Box<dyn Meter>) {
    let stream = bytes(exchange);
    let used = |room: usize| {
        let (reading, complete) = streamed(exchange.framing, &|| meter(room), &[&stream]);
        (
            reading.tokens,
            reading.finish_reason,
            reading.tier,
            complete,
        )
    };
    for room in [1 << 10, 2 << 10, 4 << 10] {
        assert_eq!(used(room), used(1 << 20), "{}: {room} bytes", exchange.name);
    }
}

/// Whatever a provider puts in the place of a value, a meter goes on: each value of each event
/// and of the response is replaced in turn.
fn bent(exchange: &Exchange, meter: &impl Fn() -> Box<dyn Meter>) {
    let mut events: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    decode(exchange.framing, &[&bytes(exchange)], |event| {
        events.push((event.name.to_vec(), event.data.to_vec()));
    });
    for nth in 0..events.len() {
        for data in variants(exchange.framing, &events[nth].1) {
            let mut meter = meter();
            for (at, (name, original)) in events.iter().enumerate() {
                let data = if at == nth { &data } else { original };
                meter.event(&sse::Event { name, data });
            }
            meter.finish();
        }
    }
    for response in variants(Framing::Text, exchange.response.as_bytes()) {
        let mut meter = meter();
        meter.body(&response);
        meter.finish();
    }
}

/// JSON text with one of its values replaced, in all ways.
pub(super) fn variants(framing: Framing, data: &[u8]) -> Vec<Vec<u8>> {
    let Ok(mut whole) = serde_json::from_slice::<Value>(data) else {
        return Vec::new();
    };
    let mut packed = None;
    if let (Framing::AmazonChunks, Some(bytes)) = (framing, whole["bytes"].as_str()) {
        let bytes = aws_smithy_types::base64::decode(bytes).unwrap();
        packed = Some(serde_json::from_slice(&bytes).unwrap());
    }
    let event: &Value = packed.as_ref().unwrap_or(&whole);
    let mut places = vec![String::new()];
    let mut next = 0;
    while let Some(place) = places.get(next).cloned() {
        next += 1;
        match event.pointer(&place) {
            Some(Value::Object(fields)) => {
                places.extend(fields.keys().map(|key| format!("{place}/{key}")));
            }
            Some(Value::Array(list)) => {
                places.extend((0..list.len()).map(|at| format!("{place}/{at}")));
            }
            _ => {}
        }
    }
    let odd = [
        json!(null),
        json!(-1),
        json!("odd"),
        json!([[]]),
        json!({ "a": {} }),
    ];
    let mut bent = Vec::new();
    for place in &places {
        for value in &odd {
            let mut copy = event.clone();
            if let Some(held) = copy.pointer_mut(place) {
                *held = value.clone();
            }
            bent.push(copy.to_string());
        }
    }
    if packed.is_none() {
        return bent.into_iter().map(String::into_bytes).collect();
    }
    bent.into_iter()
        .map(|event| {
            whole["bytes"] = aws_smithy_types::base64::encode(event).into();
            whole.to_string().into_bytes()
        })
        .collect()
}

/// The stream as it would cross the wire.
fn bytes(exchange: &Exchange) -> Vec<u8> {
    let messages: Vec<(String, Value)> = match exchange.framing {
        Framing::Text | Framing::Ndjson => return exchange.stream.as_bytes().to_vec(),
        _ if exchange.stream.is_empty() => Vec::new(),
        _ => serde_json::from_str(exchange.stream).unwrap(),
    };
    let encoded = messages.into_iter().map(|(name, payload)| {
        let (kind, header) = match name.as_str() {
            name if name.ends_with("Exception") => ("exception", ":exception-type"),
            _ => ("event", ":event-type"),
        };
        let payload = match exchange.framing {
            Framing::AmazonChunks if kind == "event" => {
                let packed = aws_smithy_types::base64::encode(payload.to_string());
                json!({ "bytes": packed, "p": "abc" })
            }
            _ => payload,
        };
        let headers = [(":message-type", kind), (header, name.as_str())];
        event_stream::encode(&headers, payload.to_string())
    });
    encoded.flatten().collect()
}

fn streamed(
    framing: Framing,
    meter: &impl Fn() -> Box<dyn Meter>,
    pieces: &[&[u8]],
) -> (Reading, bool) {
    let mut meter = meter();
    decode(framing, pieces, |event| {
        meter.event(&event);
    });
    let complete = meter.is_complete();
    (meter.finish(), complete)
}

fn decode(framing: Framing, pieces: &[&[u8]], mut each: impl FnMut(sse::Event<'_>)) {
    let (mut text, mut amazon) = (sse::Decoder::default(), event_stream::Decoder::default());
    let mut lines = ndjson::Decoder::new(sse::MAX_EVENT);
    for piece in pieces {
        match framing {
            Framing::Text => text.feed(piece, &mut each),
            Framing::Amazon | Framing::AmazonChunks => amazon.feed(piece, &mut each),
            Framing::Ndjson => lines.feed(piece, &mut each),
        };
    }
}

/// A reading as `expected` has it.
fn reported((reading, complete): &(Reading, bool)) -> Value {
    let mut tokens = serde_json::to_value(reading.tokens).unwrap();
    let fields = tokens.as_object_mut().unwrap();
    fields.retain(|_, value| !value.is_null() && *value != false);
    let mut reported = json!({
        "tokens": tokens,
        "finish_reason": reading.finish_reason,
        "tool_calls": reading.tool_calls,
        "tier": reading.tier,
        "complete": complete,
    });
    if let Some(failure) = &reading.failure {
        reported["failure"] = failure.as_str().into();
    }
    reported
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
