//! Recorded exchanges: what each format's tests have in common. A stream must read the same
//! however it is cut, and as the answer that would have come unstreamed.

use serde_json::{Value, json};

use super::{Meter, Reading};
use crate::wire::sse;

/// One exchange; each part is a file beside the format.
pub(super) struct Exchange {
    pub name: &'static str,
    /// What the caller sends.
    pub request: &'static str,
    /// The answer unstreamed; empty where a stream has none, because it broke off.
    pub response: &'static str,
    /// The same answer as server-sent events; empty for methods without streams.
    pub stream: &'static str,
    /// `tokens` without those that are unknown, `finish_reason`, `tool_calls`, `tier`, `complete`.
    pub expected: &'static str,
}

/// Lists exchanges of the folder `fixtures` beside a format's tests by their names.
macro_rules! exchanges {
    ($($name:literal),* $(,)?) => {
        [$($crate::api::corpus::Exchange {
            name: $name,
            request: include_str!(concat!("fixtures/", $name, ".request.json")),
            response: include_str!(concat!("fixtures/", $name, ".response.json")),
            stream: include_str!(concat!("fixtures/", $name, ".stream.txt")),
            expected: include_str!(concat!("fixtures/", $name, ".expected.json")),
        }),*]
    };
}
pub(super) use exchanges;

/// Checks an exchange; `meter` makes a new one each time.
pub(super) fn check(exchange: &Exchange, meter: impl Fn() -> Box<dyn Meter>) {
    let name = exchange.name;
    let expected = value(exchange.expected);
    let stream = exchange.stream.as_bytes();
    let whole = streamed(&meter, &[stream]);
    if !stream.is_empty() {
        assert_eq!(told(&whole), expected, "{name}: the stream");
        if !exchange.response.is_empty() {
            let answer = whole.0.response.as_deref().unwrap_or_default();
            let answer: Value = serde_json::from_slice(answer).unwrap();
            assert_eq!(answer, value(exchange.response), "{name}: put together");
        }
        for at in 0..=stream.len() {
            let (first, second) = stream.split_at(at);
            assert_eq!(
                streamed(&meter, &[first, second]),
                whole,
                "{name}: cut at {at}"
            );
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(streamed(&meter, &bytes), whole, "{name}: byte by byte");
    }
    if !exchange.response.is_empty() {
        let mut meter = meter();
        meter.body(exchange.response.as_bytes());
        let read = told(&(meter.finish(), true));
        for key in ["tokens", "finish_reason", "tool_calls", "tier"] {
            assert_eq!(read[key], expected[key], "{name}: {key} of the answer");
        }
    }
}

fn streamed(meter: &impl Fn() -> Box<dyn Meter>, pieces: &[&[u8]]) -> (Reading, bool) {
    let (mut meter, mut decoder) = (meter(), sse::Decoder::default());
    for piece in pieces {
        decoder.feed(piece, |event| {
            meter.event(&event);
        });
    }
    let complete = meter.is_complete();
    (meter.finish(), complete)
}

/// A reading as `expected` has it.
fn told((reading, complete): &(Reading, bool)) -> Value {
    let mut tokens = serde_json::to_value(reading.tokens).unwrap();
    let fields = tokens.as_object_mut().unwrap();
    fields.retain(|_, value| !value.is_null() && *value != false);
    json!({
        "tokens": tokens,
        "finish_reason": reading.finish_reason,
        "tool_calls": reading.tool_calls,
        "tier": reading.tier,
        "complete": complete,
    })
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
